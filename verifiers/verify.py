"""Judges responses: finds the answer, compares it with the reference, says why.

Goes in: a reference and a response, one or many. Comes out: a Judgement with a status, never a bare bool.
The cheap tiers judge whole batches, in this process or, with several processes, spread over them; what they
leave open is compared symbolically in a worker process that a time limit can kill. A reference that cannot be
read is `unscored`, a comparison that took too long is `timeout`; neither says anything about the response.
"""

import atexit
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import NamedTuple

from mixdistill.records import AnswerType, Leniency, Status
from mixdistill.verifiers.answer_types import compare_choice, compare_math, compare_number, compare_text
from mixdistill.verifiers.answers import WEAK_RULES, FoundAnswer, find_answer, find_reference
from mixdistill.verifiers.code import find_code, run_tests
from mixdistill.verifiers.equality import Equality
from mixdistill.verifiers.equivalence import compare_symbolically, prepare
from mixdistill.verifiers.grading import (
    ChoiceGrading,
    CodeGrading,
    GymGrading,
    NumberGrading,
    TextGrading,
    read_grading,
)
from mixdistill.verifiers.loops import repetition
from mixdistill.verifiers.workers import CallFailed, Timed, WorkerDied, Workers

# Cases that cross a process border together: few enough to share out, and so many that the parent seldom takes a
# core from a worker (with 128, two processes had 1.74 times the throughput of one; with 256, 1.81).
_BATCH = 256
# Batches that wait behind a slow one, so that the order of the input is kept.
_WINDOW = 64
# Comparisons that are remembered; the samples of a problem repeat their answers.
_REMEMBERED = 50_000
# Rules whose answers have an end of their own.
_CLOSED_RULES = frozenset({"boxed", "answer_tag", "code_block", "given"})
# Starting and ending a sandbox, beside the limit of the tests in it.
_SANDBOX_SECONDS = 5.0
# A reason is one line for a person; longer answers are shown in part.
_SHOWN_CHARACTERS = 80
# A named tuple without its name, which crosses a process border in half the time.
_Plain = tuple[object, ...]


class Case(NamedTuple):
    """One response to judge."""

    reference: str
    response: str
    finish_reason: str | None = None
    answer_type: AnswerType = "math"
    problem: str = ""
    "The question, so that nothing is picked out of a restatement of it."
    grading: str | None = None
    "JSON with what the answer type needs besides the reference; see `grading`."
    is_answer: bool = False
    "The response is an answer by itself; nothing is looked for in it."
    reasoning: str = ""
    "What was thought before the response; only looked at for loops."


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
    repetition: float | None = None
    "Share of reasoning and response that stands in loops; None for an answer by itself."


class _Open(NamedTuple):
    """What the cheap tiers leave open."""

    found: FoundAnswer
    reference: str
    seconds: float
    repetition: float | None = None


class _Pending(NamedTuple):
    answer_type: AnswerType
    opened: _Open
    timeout_seconds: float
    comparison: "Future[Timed[Equality]]"


def verify(
    reference: str,
    response: str,
    *,
    problem: str = "",
    finish_reason: str | None = None,
    answer_type: AnswerType = "math",
    grading: str | None = None,
    leniency: Leniency = "default",
    timeout_seconds: float = 5.0,
) -> Judgement:
    r"""The judgement of one response.

    A worker process starts with the first comparison that needs SymPy and is kept until the program ends.

    >>> verify("18", "16 - 3 - 4 = 9, and 9 * 2 = 18. The answer is 18.").status
    'correct'
    """
    case = Case(reference, response, finish_reason, answer_type, problem, grading)
    judged = _judge(case, leniency)
    if isinstance(judged, Judgement):
        return judged
    return _settle(_submit(case, judged, _kept_provers(os.getpid()), leniency, timeout_seconds))


def verify_many(
    cases: Iterable[Case],
    *,
    leniency: Leniency = "default",
    timeout_seconds: float = 5.0,
    processes: int | None = None,
) -> Iterator[Judgement]:
    """Judgements in the order of the cases, as they come; `processes` defaults to the number of cores.

    With one process the cheap tiers run in this one; with more, each takes batches. `cases` is read a bounded
    number ahead. Worker processes end with the iterator.
    """
    processes = processes or os.cpu_count() or 1
    with ExitStack() as opened:
        provers = opened.enter_context(closing(_open_provers(processes)))
        judges = None
        if processes > 1:
            judges = opened.enter_context(closing(Workers(judge_batch, processes=processes)))
        yield from _Stream(judges, provers, leniency, timeout_seconds).judgements(cases)


@contextmanager
def opened_judge(
    leniency: Leniency, timeout_seconds: float, processes: int
) -> Iterator[Callable[[Case], Judgement]]:
    """A function that judges one case in a process of its own; several threads may call it at once."""
    with (
        closing(_open_provers(processes)) as provers,
        closing(Workers(judge_batch, processes=processes)) as judges,
    ):
        stream = _Stream(judges, provers, leniency, timeout_seconds)
        yield stream.judgement


def judge_batch(cases: list[_Plain], leniency: Leniency) -> list[_Plain]:
    """What the cheap tiers say about some cases: from `Case`s come `Judgement`s and what they leave open."""
    return [tuple(_judge(Case._make(case), leniency)) for case in cases]


class _Stream:
    """Cases in, judgements out in the same order, with a bounded number of batches between."""

    def __init__(
        self,
        judges: Workers[list[_Plain]] | None,
        provers: Workers[Equality],
        leniency: Leniency,
        timeout_seconds: float,
    ) -> None:
        self._judges = judges
        self._provers = provers
        self._leniency = leniency
        self._timeout_seconds = timeout_seconds
        self._waiting: deque[_Batch] = deque()
        self._remembered: dict[tuple[str, ...], _Pending] = {}

    def judgements(self, cases: Iterable[Case]) -> Iterator[Judgement]:
        iterator = iter(cases)
        while batch := list(islice(iterator, _BATCH)):
            self._waiting.append(self._start(batch))
            self._open_what_is_ready()
            while self._waiting and (self._waiting[0].is_ready() or len(self._waiting) >= _WINDOW):
                yield from self._finish(self._waiting.popleft())
        while self._waiting:
            self._open_what_is_ready()
            yield from self._finish(self._waiting.popleft())

    def judgement(self, case: Case) -> Judgement:
        """The judgement of one case; waits for it."""
        return next(self._finish(self._start([case])))

    def _start(self, cases: list[Case]) -> "_Batch":
        if self._judges is None:
            return _Batch(cases, None, self._prove(cases, [_judge(case, self._leniency) for case in cases]))
        plain = [tuple(case) for case in cases]
        future = self._judges.submit(plain, self._leniency, timeout_seconds=self._timeout_seconds)
        return _Batch(cases, future, None)

    def _open_what_is_ready(self) -> None:
        """Hand on what the judges left open, from whatever batch it comes."""
        for batch in self._waiting:
            if batch.judged is None and batch.future is not None and batch.future.done():
                batch.judged = self._prove(batch.cases, self._results(batch))

    def _finish(self, batch: "_Batch") -> Iterator[Judgement]:
        if batch.judged is None:
            batch.judged = self._prove(batch.cases, self._results(batch))
        return map(_settle, batch.judged)

    def _results(self, batch: "_Batch") -> list[Judgement | _Open]:
        """What the judges said; if a batch broke, each of its cases is judged alone, under its own limit."""
        assert batch.future is not None and self._judges is not None
        try:
            plain = batch.future.result().value
        except (TimeoutError, WorkerDied, CallFailed) as error:
            if len(batch.cases) == 1:
                broken = _broken(error, self._timeout_seconds)
                return [broken._replace(repetition=_repetition(batch.cases[0]))]
            alone = [self._start([case]) for case in batch.cases]
            return [self._results(single)[0] for single in alone]
        n_fields = len(Judgement._fields)
        return [Judgement._make(entry) if len(entry) == n_fields else _Open._make(entry) for entry in plain]

    def _prove(self, cases: list[Case], judged: list[Judgement | _Open]) -> list[Judgement | _Pending]:
        pairs = zip(cases, judged, strict=True)
        return [entry if isinstance(entry, Judgement) else self._submit_once(case, entry) for case, entry in pairs]

    def _submit_once(self, case: Case, entry: _Open) -> _Pending:
        key = (case.answer_type, case.grading or "", entry.reference, entry.found.answer)
        if key not in self._remembered:
            while len(self._remembered) >= _REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            pending = _submit(case, entry, self._provers, self._leniency, self._timeout_seconds)
            self._remembered[key] = pending
        return self._remembered[key]._replace(opened=entry)


@dataclass(slots=True)
class _Batch:
    """Cases that were handed out together."""

    cases: list[Case]
    future: "Future[Timed[list[_Plain]]] | None"
    judged: list[Judgement | _Pending] | None

    def is_ready(self) -> bool:
        return self.judged is not None and all(
            isinstance(entry, Judgement) or entry.comparison.done() for entry in self.judged
        )


def _judge(case: Case, leniency: Leniency) -> Judgement | _Open:
    """The judgement by the cheap tiers, or what needs a worker; a fault of ours ends one case and no run."""
    judged: Judgement | _Open
    try:
        judged = _judge_cheaply(case, leniency)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        judged = _broken(error, 0.0)
    return judged._replace(repetition=_repetition(case))


def _repetition(case: Case) -> float | None:
    if case.is_answer:
        return None
    return repetition(f"{case.reasoning}\n{case.response}" if case.reasoning else case.response)


def _judge_cheaply(case: Case, leniency: Leniency) -> Judgement | _Open:
    started = time.perf_counter()
    found = _find(case)
    if found is None or (case.finish_reason == "length" and _may_be_cut(found, case.response)):
        return _without_answer(case, time.perf_counter() - started)
    reference = find_reference(case.reference) if case.answer_type in ("math", "number") else case.reference
    equality = _compare(case, reference, found.answer, leniency)
    seconds = time.perf_counter() - started
    if equality is None:
        return _Open(found, reference, seconds)
    return _explain(found, reference, equality, seconds)


def _may_be_cut(found: FoundAnswer, response: str) -> bool:
    """Whether the length limit may have cut the answer itself: a guess, or one that nothing closes or follows."""
    if found.rule in WEAK_RULES:
        return True
    return found.rule not in _CLOSED_RULES and response.rstrip().endswith(found.answer)


def _find(case: Case) -> FoundAnswer | None:
    if case.is_answer:
        return FoundAnswer(case.response, "given") if case.response.strip() else None
    if case.answer_type == "code":
        code = find_code(case.response)
        return None if code is None else FoundAnswer(code, "code_block")
    return find_answer(case.response, case.problem)


def _compare(case: Case, reference: str, answer: str, leniency: Leniency) -> Equality | None:
    """Equality by the way of the answer type; None if it takes a worker."""
    if case.answer_type == "math":
        return compare_math(reference, answer, case.problem, leniency)
    grading = read_grading(case.answer_type, case.grading, case.problem)
    if isinstance(grading, str):
        return Equality("unscored", "grading", grading)
    if isinstance(grading, ChoiceGrading):
        return compare_choice(reference, answer, options=grading.options)
    if isinstance(grading, NumberGrading):
        return compare_number(reference, answer, absolute=grading.absolute, relative=grading.relative)
    if isinstance(grading, TextGrading):
        return compare_text(reference, answer, allowed=grading.allowed)
    return None


def decide(
    reference: str, answer: str, answer_type: AnswerType, grading: str | None, leniency: Leniency
) -> Equality:
    """What the expensive tiers say: algebra, a puzzle's scorer, or the tests of code. Runs in a worker process."""
    settings = read_grading(answer_type, grading)
    if isinstance(settings, CodeGrading):
        return run_tests(answer, settings)
    if isinstance(settings, GymGrading):
        from mixdistill.verifiers.gym import score_with_gym

        return score_with_gym(reference, answer, settings)
    return compare_symbolically(reference, answer, leniency)


def _submit(
    case: Case, entry: _Open, provers: Workers[Equality], leniency: Leniency, timeout_seconds: float
) -> _Pending:
    settings = read_grading(case.answer_type, case.grading)
    if isinstance(settings, CodeGrading):  # the tests have a limit of their own, which is stated with them
        timeout_seconds = max(timeout_seconds, settings.timeout_seconds + _SANDBOX_SECONDS)
    future = provers.submit(
        entry.reference, entry.found.answer, case.answer_type, case.grading, leniency,
        timeout_seconds=timeout_seconds,
    )  # fmt: skip
    return _Pending(case.answer_type, entry, timeout_seconds, future)


def _settle(judged: Judgement | _Pending) -> Judgement:
    if isinstance(judged, Judgement):
        return judged
    return _compared(judged)._replace(repetition=judged.opened.repetition)


def _compared(judged: _Pending) -> Judgement:
    """What came of the comparison in a worker process; waits for it."""
    answer_type, (found, reference, seconds, _), timeout_seconds, comparison = judged
    method = "symbolic" if answer_type == "math" else answer_type
    try:
        equality, compared_seconds = comparison.result()
    except TimeoutError as error:
        reason = f"{_stated(found, reference)}; comparing them gave {error}"
        return Judgement("timeout", *found, method, reason, seconds + timeout_seconds)
    except (WorkerDied, CallFailed) as error:
        reason = f"{_stated(found, reference)}; comparing them failed: {_last_line(error)}"
        return Judgement("unscored", *found, method, reason, seconds)
    return _explain(found, reference, equality, seconds + compared_seconds)


def _broken(error: Exception, timeout_seconds: float) -> Judgement:
    """The judgement of a case that the cheap tiers broke on; a fault of ours, and never a verdict on it."""
    if isinstance(error, TimeoutError):
        return Judgement("timeout", None, None, None, f"judging it gave {error}", timeout_seconds)
    what = _last_line(error) if isinstance(error, WorkerDied | CallFailed) else f"{type(error).__name__}: {error}"
    return Judgement("unscored", None, None, None, f"judging it failed: {what}", 0.0)


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
def _kept_provers(process_id: int) -> Workers[Equality]:
    """The one worker that `verify` keeps; a forked child opens its own."""
    workers = _open_provers(1)
    atexit.register(workers.close)
    return workers


def _open_provers(processes: int) -> Workers[Equality]:
    return Workers(decide, processes=processes, prepare=prepare)
