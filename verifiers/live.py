"""Judges traces while they are generated, in processes of its own, and keeps what it said.

In: traces as they come. Out: statuses, and a line for each verdict in `verdicts/`, which the stage `verify` takes
over, so that nothing is judged twice. Sampling until enough is right waits for it; of other traces it judges as
many as cost next to nothing, to show how many are right so far.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from mixdistill.files import LineWriter
from mixdistill.recipe import Recipe
from mixdistill.records import Problem, Status, Trace
from mixdistill.run import Run
from mixdistill.tables import read_problems
from mixdistill.verifiers.judge import case_of, judged, kept_verdicts, verifier_of
from mixdistill.verifiers.verify import Case, Judgement, opened_judge

if TYPE_CHECKING:
    import polars

# Traces that nobody waits for are judged no oftener than this: the share of right ones shows, and costs next to
# nothing.
_OFFER_SECONDS = 0.2
_OFFERS_UNDER_WAY = 4


@contextmanager
def live_judging(recipe: Recipe, run: Run) -> "Iterator[LiveJudging]":
    """What judges the traces of a run; its processes start with the first trace and end with the block."""
    with ExitStack() as opened:
        yield LiveJudging(recipe, run, opened)


@contextmanager
def kept_judging(recipe: Recipe, run: Run) -> "Iterator[LiveJudging]":
    """What was judged before, for a dry run: a stored trace that was not counts as wrong, and more is needed."""
    with ExitStack() as opened:
        yield _Kept(recipe, run, opened)


class LiveJudging:
    """The judging of one call of `generate`."""

    def __init__(self, recipe: Recipe, run: Run, opened: ExitStack) -> None:
        self._recipe = recipe
        self._run = run
        self._opened = opened
        self._verifier = verifier_of(recipe)
        self._processes = recipe.verify.processes or max(1, (os.cpu_count() or 1) // 2)
        self._problems: dict[str, Problem] = {}
        self._start: tuple[ThreadPoolExecutor, Callable[[Case], Judgement]] | None = None
        self._writer = LineWriter(run.verdicts_so_far / f"{time.time_ns():020d}-{os.getpid()}.jsonl")
        opened.callback(self._writer.close)
        self._n_judged: Counter[str] = Counter()
        self._n_correct: Counter[str] = Counter()
        self._offered: set[asyncio.Task[Status]] = set()
        self._next_offer = 0.0
        self._fault: BaseException | None = None
        "The first error of what was offered: nobody waited for it, so the next call raises it."

    def known(self) -> Mapping[tuple[str, str], Status]:
        """What was said before and still holds, by trace and problem (another reference makes another problem)."""
        kept = kept_verdicts(self._run, self._verifier).select("trace_id", "problem_id", "status")
        return {(trace, problem): status for trace, problem, status in kept.iter_rows()}

    def judge_stored(self, traces: "polars.DataFrame") -> Mapping[tuple[str, str], Status]:
        """Judges traces that are there already (columns of Trace); statuses by trace and problem."""
        rows = traces.select("problem_id", "reasoning", "response", "finish_reason").iter_rows()
        cases = (self._case(*row) for row in rows)
        places = traces.select("trace_id", "problem_id", "teacher").iter_rows()
        return {
            (trace, problem): self._count(teacher, trace, problem, judgement)
            for (trace, problem, teacher), judgement in judged(self._recipe, places, cases)
        }

    async def judge(self, trace: Trace) -> Status:
        """Judges a trace now, beside the event loop. Raises StorageError if the disk refuses, also of an offer."""
        self._raise_fault()
        threads, judge = self._started()
        case = self._case(trace.problem_id, trace.reasoning, trace.response, trace.finish_reason)
        judgement = await asyncio.get_running_loop().run_in_executor(threads, judge, case)
        return self._count(trace.teacher, trace.trace_id, trace.problem_id, judgement)

    def offer(self, trace: Trace) -> None:
        """Judges a trace if there is time for it; nobody waits for that. Raises what an earlier one ended with."""
        self._raise_fault()
        now = time.monotonic()
        if now < self._next_offer or len(self._offered) >= _OFFERS_UNDER_WAY:
            return
        self._next_offer = now + _OFFER_SECONDS
        task = asyncio.get_running_loop().create_task(self.judge(trace))
        self._offered.add(task)
        task.add_done_callback(self._offer_ended)

    def judged(self, teacher: str) -> tuple[int, int]:
        """How many traces of a teacher were judged in this call, and how many of them are right."""
        return self._n_judged[teacher], self._n_correct[teacher]

    def _offer_ended(self, task: asyncio.Task[Status]) -> None:
        self._offered.discard(task)
        if not task.cancelled():
            self._fault = self._fault or task.exception()  # an exception that nobody takes is printed

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _started(self) -> tuple[ThreadPoolExecutor, Callable[[Case], Judgement]]:
        if self._start is None:
            settings = self._recipe.verify
            judge = self._opened.enter_context(
                opened_judge(settings.leniency, settings.timeout_seconds, self._processes)
            )
            threads = self._opened.enter_context(ThreadPoolExecutor(2 * self._processes, "mixdistill-judge"))
            self._start = threads, judge
        return self._start

    def _case(
        self, problem_id: str, reasoning: str | None, response: str, finish_reason: str | None
    ) -> Case:  # fmt: skip
        if not self._problems:
            self._problems = {problem.problem_id: problem for problem in read_problems(self._run)}
        return case_of(self._problems[problem_id], reasoning, response, finish_reason)

    def _count(self, teacher: str, trace_id: str, problem_id: str, judgement: Judgement) -> Status:
        """Counts a judgement, and writes it down."""
        self._n_judged[teacher] += 1
        self._n_correct[teacher] += judgement.status == "correct"
        verdict = {"trace_id": trace_id, "problem_id": problem_id, "verifier": self._verifier}
        self._writer.write({**verdict, **judgement._asdict()})
        return judgement.status


class _Kept(LiveJudging):
    def judge_stored(self, traces: "polars.DataFrame") -> Mapping[tuple[str, str], Status]:
        return dict.fromkeys(traces.select("trace_id", "problem_id").iter_rows(), "incorrect")
