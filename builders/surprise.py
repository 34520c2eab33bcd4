"""What a trace is to a student, from the log-probability and the rank of each of its tokens; and its sentences.

Pure functions of numbers and text. Log-probabilities are in nats, ranks begin at 1. The measures:

- mean log-probability, of GRAPE (arXiv 2502.04194): of several answers take the one that the student finds
  likeliest per token. High is better.
- rank-surprisal ratio (arXiv 2601.14249, and its code, github.com/UmeanNever/RankSurprisalRatio): the sum of
  ranks, each at most 100, over the sum of surprisals. Low is better: unlikely, and yet among what the student
  would say.
- local naturalness (arXiv 2510.03988; "LALP" in its second version): the mean over steps of the mean
  log-probability of a step's tokens after the question and the few steps before it. High is better. Steps are
  sentences here, as in its first version; the second lets a model group them, and shows a share of those before.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

MAX_RANK = 100
"Larger ranks count as this, as in arXiv 2601.14249."

# Behind the marks that end a sentence where a blank follows (3.5 ends none), behind those of Chinese and Japanese,
# and behind line breaks. The blank belongs to the next sentence, as it does to a token.
_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)\]*]*(?=\s)|[。！？]+[”’」』）]*|\n+")
# Less is no sentence: the number of a list item, a bullet.
_MIN_SENTENCE_CHARS = 4


class Row(NamedTuple):
    """Tokens to be read by a student."""

    ids: Sequence[int]
    first: int
    "Those from here on are scored; at least 1, for nothing precedes the first."


class Surprises(NamedTuple):
    """What a student thinks of each scored token of a row."""

    logprobs: list[float]
    ranks: list[int]
    "1 for the token that the student finds likeliest, or as likely as any other."


class Window(NamedTuple):
    """A stretch of tokens that is computed at once, and those of it that are scored."""

    start: int
    first: int
    "The first that is scored; those before are its context."
    end: int


def mean_logprob(logprobs: Sequence[float]) -> float:
    """The mean log-probability of a token.

    >>> mean_logprob([-1.0, -3.0])
    -2.0
    """
    return sum(logprobs) / len(logprobs)


def rank_surprisal_ratio(logprobs: Sequence[float], ranks: Sequence[int]) -> float | None:
    """The sum of ranks, each at most MAX_RANK, over the sum of surprisals; None if nothing is surprising.

    >>> rank_surprisal_ratio([-1.0, -3.0], [1, 7]), rank_surprisal_ratio([-1.0, -9.0], [1, 5000])
    (2.0, 10.1)
    """
    surprisal = -sum(logprobs)
    return sum(min(rank, MAX_RANK) for rank in ranks) / surprisal if surprisal > 0 else None


def local_naturalness(steps: Sequence[Sequence[float]]) -> float:
    """The mean over steps of the mean log-probability of their tokens: a short step weighs as much as a long one.

    >>> local_naturalness([[-1.0, -3.0], [-4.0]])
    -3.0
    """
    return sum(map(mean_logprob, steps)) / len(steps)


def sentence_ends(text: str) -> list[int]:
    """Where each sentence ends; the last is the end of the text.

    >>> text = "1. Add 3.5 and 2. So\\nit is 5.5."
    >>> ends = sentence_ends(text)
    >>> [text[start:end] for start, end in zip([0, *ends], ends)]
    ['1. Add 3.5 and 2.', ' So\\nit is 5.5.']
    """
    ends: list[int] = []
    start = 0
    for found in _SENTENCE_END.finditer(text):
        if sum(not char.isspace() for char in text[start : found.end()]) >= _MIN_SENTENCE_CHARS:
            start = found.end()
            ends.append(start)
    if sum(not char.isspace() for char in text[start:]) < _MIN_SENTENCE_CHARS and ends:
        ends.pop()
    return [*ends, len(text)] if text else []


def local_windows(ends: Sequence[int], n_before: int) -> list[Window]:
    """What is computed for the local measure, in tokens of the trace: each step after `n_before` steps.

    The first steps have all before them in sight, so that one window serves them all; it comes first.

    >>> local_windows([10, 14, 20, 25], 2)
    [Window(start=0, first=0, end=20), Window(start=10, first=20, end=25)]
    """
    starts = [0, *ends[:-1]]
    together = min(n_before + 1, len(ends))
    rest = [Window(starts[step - n_before], starts[step], ends[step]) for step in range(together, len(ends))]
    return [Window(0, 0, ends[together - 1]), *rest]
