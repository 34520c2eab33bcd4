"""Judges responses: finds the answer, compares it with the reference, says why.

Goes in: a reference and a response, one or many. Comes out: a Judgement with a status, never a bare bool.
The cheap tiers run here; what they leave open is compared symbolically in worker processes that a time limit
can kill. A reference that cannot be read is `unscored`, a comparison that took too long is `timeout`; neither
says anything about the response.
"""

import atexit
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from functools import cache
from typing import NamedTuple

from mixdistill.records import AnswerType, Status
from mixdistill.verifiers.answers import WEAK_RULES, FoundAnswer, find_answer
from mixdistill.verifiers.equivalence import Equality, compare_quickly, compare_symbolically, prepare
from mixdistill.verifiers.workers import CallFailed, Timed, WorkerDied, Workers

# Judgements that wait behind a slow one, so that the order of the input is kept.
_WINDOW = 4_096
# Comparisons that are remembered; the samples of a problem repeat their answers.
_REMEMBERED = 50_000
# A reason is one line for a person; longer answers are shown in part.
_SHOWN_CHARACTERS = 80


class Case(NamedTuple):
    """One response to judge."""

    reference: str
    response: str
    finish_reason: str | None = None
    answer_type: AnswerType = "math"


class Judgement(NamedTuple):
    """What is said about one response."""

    status: Status
    answer: str | None
    "The answer that was found."
    rule: str | None
    "The rule that found it."
    method: str | None
    "The tier that decided."
    reason: str
    "Why, in words."
    seconds: float
    "Time that finding and comparing took; waiting for a free process is left out."


class _Pending(NamedTuple):
    found: FoundAnswer
    reference: str
    seconds: float
    timeout_seconds: float
    comparison: "Future[Timed[Equality]]"


def verify(
    reference: str,
    response: str,
    *,
    finish_reason: str | None = None,
    answer_type: AnswerType = "math",
    timeout_seconds: float = 5.0,
) -> Judgement:
    r"""The judgement of one response.

    A worker process starts with the first comparison that needs SymPy and is kept until the program ends.

    >>> verify("18", "16 - 3 - 4 = 9, and 9 * 2 = 18. The answer is 18.").status
    'correct'
    """
    case = Case(reference, response, finish_reason, answer_type)
    return _settle(_judge(case, lambda: _kept_workers(os.getpid()), {}, timeout_seconds))


def verify_many(
    cases: Iterable[Case], *, timeout_seconds: float = 5.0, processes: int | None = None
) -> Iterator[Judgement]:
    """Judgements in the order of the cases, as they come; `processes` defaults to the number of cores.

    `cases` is read a bounded number ahead. Worker processes end with the iterator.
    """
    remembered: dict[tuple[str, str], Future[Timed[Equality]]] = {}
    waiting: deque[Judgement | _Pending] = deque()
    with closing(_open_workers(processes or os.cpu_count() or 1)) as workers:
        for case in cases:
            waiting.append(_judge(case, lambda: workers, remembered, timeout_seconds))
            while waiting and (_is_ready(waiting[0]) or len(waiting) >= _WINDOW):
                yield _settle(waiting.popleft())
        while waiting:
            yield _settle(waiting.popleft())


def _judge(
    case: Case,
    workers: Callable[[], Workers[Equality]],
    remembered: dict[tuple[str, str], Future[Timed[Equality]]],
    timeout_seconds: float,
) -> Judgement | _Pending:
    """The judgement by the cheap tiers, or what waits for a worker."""
    started = time.perf_counter()
    found = find_answer(case.response)
    if found is None or (case.finish_reason == "length" and found.rule in WEAK_RULES):
        return _without_answer(case, time.perf_counter() - started)
    equality = compare_quickly(case.reference, found.answer, case.answer_type)
    seconds = time.perf_counter() - started
    if equality is not None:
        return _explain(found, case.reference, equality, seconds)
    key = (case.reference, found.answer)
    if key not in remembered:
        while len(remembered) >= _REMEMBERED:
            del remembered[next(iter(remembered))]
        remembered[key] = workers().submit(*key, timeout_seconds=timeout_seconds)
    return _Pending(found, case.reference, seconds, timeout_seconds, remembered[key])


def _settle(judged: Judgement | _Pending) -> Judgement:
    if isinstance(judged, Judgement):
        return judged
    found, reference, seconds, timeout_seconds, comparison = judged
    try:
        equality, compared_seconds = comparison.result()
    except TimeoutError as error:
        reason = f"{_stated(found, reference)}; comparing them gave {error}"
        return Judgement("timeout", *found, "symbolic", reason, seconds + timeout_seconds)
    except (WorkerDied, CallFailed) as error:
        reason = f"{_stated(found, reference)}; comparing them failed: {_last_line(error)}"
        return Judgement("unscored", *found, "symbolic", reason, seconds)
    return _explain(found, reference, equality, seconds + compared_seconds)


def _is_ready(judged: Judgement | _Pending) -> bool:
    return isinstance(judged, Judgement) or judged.comparison.done()


def _without_answer(case: Case, seconds: float) -> Judgement:
    if case.finish_reason == "length":
        reason = "the response was cut by the length limit before it stated an answer"
        return Judgement("truncated", None, None, None, reason, seconds)
    what = "states no answer" if case.response.strip() else "is empty"
    return Judgement("no_answer", None, None, None, f"the response {what}", seconds)


def _explain(found: FoundAnswer, reference: str, equality: Equality, seconds: float) -> Judgement:
    reason = f"{_stated(found, reference)}; {equality.reason}"
    return Judgement(equality.status, found.answer, found.rule, equality.method, reason, seconds)


def _stated(found: FoundAnswer, reference: str) -> str:
    return f"found {_short(found.answer)} (rule {found.rule}); the reference is {_short(reference)}"


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2]


def _short(text: str) -> str:
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 3] + "..."


@cache
def _kept_workers(process_id: int) -> Workers[Equality]:
    """The one worker that `verify` keeps; a forked child opens its own."""
    workers = _open_workers(1)
    atexit.register(workers.close)
    return workers


def _open_workers(processes: int) -> Workers[Equality]:
    return Workers(compare_symbolically, processes=processes, prepare=prepare)
