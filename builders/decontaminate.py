"""Says of each problem whether it may be trained on: not if it stands in a benchmark, or in the set already.

In: problems, one by one, in the order of the set. Out: an Objection or none, and a BenchmarkHit for each pair of a
problem and a benchmark's, as evidence. Of near-duplicates the first is kept. They must have the same numbers, so
that problems made from one template with other numbers all stay; against benchmarks numbers do not count.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from mixdistill.builders.benchmarks import BenchmarkProblem, read_benchmarks
from mixdistill.builders.contamination import Contamination, lsh, sketch
from mixdistill.builders.similarity import NUMBER, Text, jaccard, mask, shingles, tokenise
from mixdistill.decontamination import Decontaminate
from mixdistill.records import BenchmarkHit, DropReason, Problem

# "Compute the sum" and "What is the sum" ask for the same; longer rewordings are what `duplicates` is for.
_SAYS_NOTHING = frozenset(
    {"a", "an", "the", "please", "find", "compute", "determine", "calculate", "evaluate", "what", "is"}
)
# Shorter texts are alike by chance: "What is the sum of 3 and 4?", "What is the product of 3 and 4?"
_SHORTEST_WORDS = 8
# So many that are alike and have the same numbers are made from one template; no more of them are compared.
_FAMILY = 20
_CANDIDATES = 0.85  # of the similarity that is needed: MinHash estimates, so the index is asked for less


class Objection(NamedTuple):
    """Why a problem is left out."""

    reason: DropReason
    detail: str


Screen = Callable[[Problem, str], Objection | None]
"Given a problem and its place, says why it is to be left out; None if it may stay."


def no_objection(problem: Problem, place: str) -> None:
    """The screen that lets everything pass."""


class Decontamination:
    """A screen by the recipe's settings; `hits` is the evidence of what it said so far."""

    def __init__(self, settings: Decontaminate, problems: Sequence[BenchmarkProblem] | None = None) -> None:
        """`problems` are those of the benchmarks, where they are read already."""
        if problems is None:
            problems = read_benchmarks(settings.against)
        self.hits: list[BenchmarkHit] = []
        self._contamination = Contamination(problems, settings)
        self._seen = NearDuplicates(settings.duplicates) if settings.duplicates is not None else None

    def __call__(self, problem: Problem, place: str) -> Objection | None:
        """Raises nothing; a problem that may stay is remembered, so that a near-duplicate of it may not."""
        found = self._contamination.hits(problem.problem)
        self.hits += [
            BenchmarkHit(
                problem_id=problem.problem_id, place=place, problem=problem.problem,
                benchmark=hit.problem.benchmark, item=hit.problem.item, item_problem=hit.problem.text,
                kind=hit.kind, score=hit.score, shared=hit.shared,
            )
            for hit in found
        ]  # fmt: skip
        if found:
            first = found[0]
            also = f"; and {len(found) - 1} more" if len(found) > 1 else ""
            where = f"{first.problem.benchmark} {first.problem.item}"
            return Objection("contaminated", f"stands in {where} ({first.kind}, {first.score:.2f}){also}")
        if self._seen is None or problem.answer_type == "reasoning_gym":
            return None
        return self._seen.check(problem, place)


class _Seen(NamedTuple):
    place: str
    reference: str
    text: str


class NearDuplicates:
    """The problems that are kept so far, to be asked for near-duplicates."""

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        self._by_key: dict[str, _Seen] = {}
        self._kept: list[_Seen] = []
        self._candidates = lsh(_CANDIDATES * similarity)

    def check(self, problem: Problem, place: str) -> Objection | None:
        """Why a problem is no new one; None if it is, and then it is remembered."""
        seen, text = _Seen(place, problem.reference, problem.problem), Text(problem.problem)
        if not text.key:  # nothing but punctuation: nothing to compare
            return None
        if first := self._by_key.get(text.key):
            return _objection(seen, first, 1.0)
        if text.n_words >= _SHORTEST_WORDS:
            signature = sketch(_numbered_pairs(text))
            candidates = sorted(self._candidates.query(signature))
            likest = self._likest(seen, text, candidates[:_FAMILY])
            if likest is not None:
                return _objection(seen, *likest)
            if len(candidates) < _FAMILY:
                self._candidates.insert(len(self._kept), signature)
                self._kept.append(seen)
        self._by_key[text.key] = seen
        return None

    def _likest(self, seen: _Seen, text: Text, candidates: Iterable[int]) -> tuple[_Seen, float] | None:
        """The kept problem that this one is a near-duplicate of, and how alike they are.

        One with the same reference is none if there is another that is as alike and has another reference: then
        the few words that differ are what the problem is about, as in those that are made from a template.
        """
        alike: list[tuple[_Seen, float]] = []
        for n in candidates:
            other = self._kept[n]
            other_text = Text(other.text)
            similarity = _similarity(text, other_text)
            if similarity >= self._similarity:
                if _content(text) == _content(other_text):
                    return other, similarity
                alike.append((other, similarity))
        if not alike or not all(_is_same(seen.reference, other.reference) for other, _ in alike):
            return None
        return max(alike, key=lambda each: each[1])


def _objection(seen: _Seen, first: _Seen, similarity: float) -> Objection:
    detail = f"near-duplicate of {first.place}, which is kept (similarity {similarity:.2f})"
    if not _is_same(seen.reference, first.reference):
        detail += f"; the reference is {seen.reference!r} here and {first.reference!r} there"
    return Objection("near_duplicate", detail)


def _is_same(reference: str, other: str) -> bool:
    return reference == other or tokenise(reference) == tokenise(other) != []


def _similarity(one: Text, other: Text) -> float:
    """The lesser of two: as sets of pairs, which forgives order, and in order, which counts what is repeated."""
    from rapidfuzz.distance import Indel

    in_order = Indel.normalized_similarity(one.all_tokens, other.all_tokens)
    return min(in_order, jaccard(_numbered_pairs(one), _numbered_pairs(other)))


def _numbered_pairs(text: Text) -> set[str]:
    """Pairs of neighbours, each with all numbers of the text: texts with other numbers have none in common.

    So a thousand problems from one template are no candidates for each other.
    """
    numbers = " ".join(token for token in text.all_tokens if mask(token) == NUMBER)
    return {f"{pair} {numbers}" for pair in shingles(text.all_tokens, 2)}


def _content(text: Text) -> list[str]:
    """The words that say something; an `a` in front of no word is a name."""
    tokens = text.all_tokens
    return [
        token
        for token, behind in zip(tokens, [*tokens[1:], ""], strict=True)
        if token not in _SAYS_NOTHING or (token == "a" and not (len(behind) > 1 and behind.isalpha()))
    ]
