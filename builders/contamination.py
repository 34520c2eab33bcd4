"""Finds the problems of benchmarks that a text is a copy of, with the evidence.

In: benchmark problems, once, and texts, one by one. Out: for each text its Hits. There are five tests, and a
pair of texts is told by the first that it passes: `exact` (after normalisation), `renumbered` (nothing but
numbers differs), `ngram` (words in a row, as in GPT-3), `fuzzy` (rapidfuzz), `minhash` (datasketch). The last two
look only at candidates from an LSH index, and only at texts of eight different words or more: shorter ones are
alike by chance.
"""

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from mixdistill.builders.benchmarks import BenchmarkProblem
from mixdistill.builders.similarity import NUMBER, Text, jaccard, shared_runs, shingles
from mixdistill.decontamination import Decontaminate
from mixdistill.records import HitKind

if TYPE_CHECKING:
    import datasketch

# Problems that share no more than what contests always say ("m and n are relatively prime positive integers", what
# an arithmetic sequence is) share up to 0.47 of the shorter one; the same set-up with another question has 0.55 or
# more, a copy that is cut nearly all. Counted in MATH-500, AIME24, AMC23, OlympiadBench and GSM8K.
_COVERED = 0.5
_SHORTEST_RUN = 8
# "What is the sum of 0 and 0?" and "Solve for x: 0 * x + 0 = 0" are forms, not problems: a shape has to have seven
# different words, names and operators. One in forty problems of these benchmarks has fewer.
_SIGNS_OF_A_SHAPE = 7
_WORDS_OF_A_RUN = 6  # more than "What is the value of 2 ^ 3 - 1"
_WORDS_OF_A_LIKENESS = 8
_PERMUTATIONS = 128
_CANDIDATE_JACCARD = 0.3  # half of what is a hit: what is alike by letters may share few pairs of words
_SHARED_CHARS = 500


class Hit(NamedTuple):
    """A benchmark problem that a text is a copy of."""

    problem: BenchmarkProblem
    kind: HitKind
    score: float
    "From 0 to 1: share of the shorter text that is covered (ngram), likeness (fuzzy), Jaccard (minhash), else 1."
    shared: str
    "The words that both have, in order."


class Contamination:
    """An index of benchmark problems."""

    def __init__(self, problems: Sequence[BenchmarkProblem], settings: Decontaminate) -> None:
        self._problems = problems
        self._settings = settings
        self._texts = [Text(problem.text) for problem in problems]
        self._keys = _index((_bare(text.all_tokens), n) for n, text in enumerate(self._texts))
        self._shapes = _index((_bare(text.shape), n) for n, text in enumerate(self._texts) if _has_shape(text))
        self._runs = _index(
            (run, n)
            for n, text in enumerate(self._texts)
            for size in {settings.ngram, _SHORTEST_RUN}
            if len(text.tokens) >= size
            for run in shingles(text.tokens, size)
        )
        self._whole: dict[int, dict[str, list[int]]] = defaultdict(dict)  # short problems, by their length
        for n, text in enumerate(self._texts):
            if _SHORTEST_RUN <= len(text.tokens) < settings.ngram:
                self._whole[len(text.tokens)].setdefault(" ".join(text.tokens), []).append(n)
        self._candidates = lsh(_CANDIDATE_JACCARD)
        for n, text in enumerate(self._texts):
            if text.n_words >= _WORDS_OF_A_LIKENESS:
                self._candidates.insert(n, sketch(shingles(text.masked_words, 2)))

    def hits(self, text: str) -> list[Hit]:
        """The benchmark problems that a text is a copy of, the surest first; each stands here once."""
        if not self._problems:
            return []
        of = Text(text)
        found: dict[int, Hit] = {}
        for test in (self._exact, self._renumbered, self._ngram, self._alike):
            for n, kind, score in test(of):
                if n not in found:
                    found[n] = Hit(self._problems[n], kind, round(score, 4), _shared(of, self._texts[n]))
        return list(found.values())

    def _exact(self, of: Text) -> list[tuple[int, HitKind, float]]:
        key = _bare(of.all_tokens)
        return [(n, "exact", 1.0) for n in self._keys.get(key, ())] if key else []

    def _ngram(self, of: Text) -> list[tuple[int, HitKind, float]]:
        size, words = self._settings.ngram, of.tokens
        covered: dict[int, float] = {}
        if len(words) >= size:
            runs = shingles(words, size)
            shared = Counter(n for run in runs for n in self._runs.get(run, ()))
            for n, n_shared in shared.items():
                shorter = min(len(runs), len(self._texts[n].tokens) - size + 1)
                if n_shared >= _COVERED * shorter:
                    covered[n] = min(1.0, n_shared / shorter)
        elif len(words) >= _SHORTEST_RUN and of.n_words >= _WORDS_OF_A_RUN:
            whole = f" {' '.join(words)} "
            for n in self._runs.get(" ".join(words[:_SHORTEST_RUN]), ()):
                if whole in f" {' '.join(self._texts[n].tokens)} ":
                    covered[n] = 1.0
        for length, problems in self._whole.items():
            for run in shingles(words, length) if len(words) >= length else ():
                for n in problems.get(run, ()):
                    if self._texts[n].n_words >= _WORDS_OF_A_RUN:
                        covered[n] = 1.0
        return [(n, "ngram", score) for n, score in sorted(covered.items(), key=lambda each: (-each[1], each[0]))]

    def _renumbered(self, of: Text) -> list[tuple[int, HitKind, float]]:
        if not self._settings.renumbered or not _has_shape(of):
            return []
        same = self._shapes.get(_bare(of.shape), ())
        return [(n, "exact" if self._texts[n].tokens == of.tokens else "renumbered", 1.0) for n in same]

    def _alike(self, of: Text) -> list[tuple[int, HitKind, float]]:
        if of.n_words < _WORDS_OF_A_LIKENESS or (self._settings.fuzzy is None and self._settings.minhash is None):
            return []
        pairs = shingles(of.masked_words, 2)
        found: list[tuple[int, HitKind, float]] = []
        for n in sorted(self._candidates.query(sketch(pairs))):
            other = self._texts[n]
            if (score := _likeness(of, other, self._settings.fuzzy)) is not None:
                found.append((n, "fuzzy", score))
            elif self._settings.minhash is not None:
                score = jaccard(pairs, shingles(other.masked_words, 2))
                if score >= self._settings.minhash:
                    found.append((n, "minhash", score))
        return sorted(found, key=lambda each: (each[1], -each[2], each[0]))


def sketch(parts: Iterable[str]) -> "datasketch.MinHash":
    """The MinHash of a set of texts."""
    made = _empty_sketch().copy()
    made.update_batch([part.encode("utf-8", "replace") for part in parts])
    return made


@cache
def _empty_sketch() -> "datasketch.MinHash":
    """Drawing the permutations takes longer than hashing a problem, so it is done once."""
    import datasketch

    return datasketch.MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=zlib.crc32)


def lsh(threshold: float) -> "datasketch.MinHashLSH":
    """An empty index of sketches, to be asked for those that are this alike."""
    import datasketch

    return datasketch.MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)


def _likeness(one: Text, other: Text, least: float | None) -> float | None:
    """How alike the words are, order ignored, from 0 to 1; None if that is less than needed, in percent."""
    from rapidfuzz import fuzz

    if least is None:
        return None
    score = fuzz.ratio(
        " ".join(sorted(one.masked_words)), " ".join(sorted(other.masked_words)), score_cutoff=least
    )
    return score / 100 if score else None


def _has_shape(text: Text) -> bool:
    return len({token for token in text.shape if token != NUMBER}) >= _SIGNS_OF_A_SHAPE


def _bare(tokens: Iterable[str]) -> str:
    """The tokens without brackets: 1/2 is as often spelled (1)/(2)."""
    return " ".join(token for token in tokens if token not in ("(", ")", "[", "]"))


def _index(pairs: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    index: dict[str, list[int]] = {}
    for key, n in pairs:
        index.setdefault(key, []).append(n)
    return index


def _shared(one: Text, other: Text) -> str:
    runs = shared_runs(one.tokens, other.tokens)
    text = " ... ".join(" ".join(one.tokens[start:end]) for start, end in runs)
    return text if len(text) <= _SHARED_CHARS else text[: _SHARED_CHARS - 3] + "..."
