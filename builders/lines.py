"""Asks the teachers: each has a line of problems, an engine that serves it, and workers that take from it.

In: the plan, the problems, and who judges. Out: every trace into the tally as it comes. A teacher whose samples
depend on nothing is asked for each missing one; one that is sampled until enough is right, or that escalates, is
asked in the rounds of `draws`, and what it could not do goes into the line of the next teacher. Engines work at
the same time, but for those that need the whole machine; one without work is never opened.
"""

import asyncio
import gc
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from typing import NamedTuple, cast

from mixdistill.builders.asking import Engine, FailureWindow, together
from mixdistill.builders.completions import Request, Sampled
from mixdistill.builders.draws import escalates, next_samples
from mixdistill.builders.engines import AskedTeacher, asked_teachers, open_engine, record_engine
from mixdistill.builders.judging import Judging
from mixdistill.builders.plan import Plan, sampled
from mixdistill.builders.tally import Tally
from mixdistill.recipe import Recipe
from mixdistill.records import Problem, Status, Trace
from mixdistill.run import Run
from mixdistill.trace_files import stored_traces

# These take all of the machine's accelerators: one is loaded when the one before is gone.
_ONE_AT_A_TIME = frozenset({"vllm"})
_TICK_SECONDS = 0.2


class Job(NamedTuple):
    """A problem in the line of a teacher; of one that is not judged meanwhile, one sample of it."""

    problem: Problem
    sample: int | None


class Line:
    """The problems that a teacher is still to be asked about, as they come."""

    def __init__(self, calls: Sampled, *, is_judged: bool) -> None:
        self.calls = calls
        self.is_judged = is_judged
        "Whether what is asked next depends on verdicts."
        self.next: Line | None = None
        "Where problems go that this teacher did not get right."
        self._jobs: asyncio.Queue[Job | None] = asyncio.Queue()
        self._begun = asyncio.Event()
        self._ended = asyncio.Event()
        self._has_work = False

    def put(self, job: Job) -> None:
        """One more job."""
        self._has_work = True
        self._jobs.put_nowait(job)
        self._begun.set()

    def end(self) -> None:
        """No more jobs will come."""
        self._jobs.put_nowait(None)
        self._begun.set()
        self._ended.set()

    def drain(self) -> Iterator[Job]:
        """The jobs that wait now."""
        while not self._jobs.empty():
            job = self._jobs.get_nowait()
            if job is not None:
                yield job

    async def has_work(self) -> bool:
        """Waits for the first job, or for the end without one."""
        await self._begun.wait()
        return self._has_work

    @property
    def is_ended(self) -> bool:
        """Whether no more jobs will come."""
        return self._ended.is_set()

    async def has_ended(self) -> None:
        """Waits until no more jobs will come."""
        await self._ended.wait()

    async def take(self) -> Job | None:
        """The next job, or None after the last one."""
        job = await self._jobs.get()
        if job is None:
            self._jobs.put_nowait(None)  # for the other workers
        return job


async def ask_teachers(
    recipe: Recipe, run: Run, plan: Plan, problems: Sequence[Problem], judging: Judging, tally: Tally
) -> str | None:
    """Asks for all that is missing; returns the budget that stopped it, in words, or None.

    Raises TeacherError as `generate_traces` does; the tally had what came until then.
    """
    asking = _Asking(recipe, run, plan, judging, tally)
    asking.fill(problems)
    ticking = asyncio.create_task(asking.tick())
    threshold = gc.get_threshold()
    gc.freeze()  # the plan and the problems stay: looking through them again and again took a tenth of the time
    gc.set_threshold(50_000, *threshold[1:])
    try:
        await asking.run_all()
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        tally.show()
    return asking.stopped


def due_requests(
    recipe: Recipe, run: Run, plan: Plan, problems: Sequence[Problem], judging: Judging, tally: Tally
) -> Iterator[Request]:
    """The missing requests that can be sent now: all, but for samples that depend on verdicts on others."""
    asking = _Asking(recipe, run, plan, judging, tally)
    asking.fill(problems)
    return asking.due()


class _Asking:
    """The lines, and what is known of every draw."""

    def __init__(self, recipe: Recipe, run: Run, plan: Plan, judging: Judging, tally: Tally) -> None:
        self.stopped: str | None = None
        self._run = run
        self._failures = recipe.failures
        self._failed_before: Set[str] = plan.failed
        self._judging = judging
        self._tally = tally
        self._exclusive = asyncio.Lock()
        self._ended = asyncio.Event()
        "Set whenever a request ends, and when it is stopped."
        self._engines: list[Engine] = []
        self._lines = {
            name: Line(sampled(recipe, name), is_judged=recipe.asks_by_verdicts(name))
            for name in asked_teachers(recipe)
        }
        for name, after in zip(recipe.escalate, recipe.escalate[1:], strict=False):
            self._lines[name].next = self._lines[after]
        self._first = [line for name, line in self._lines.items() if name not in recipe.escalate[1:]]
        self._missing: dict[tuple[str, str], dict[int, str]] = {}
        "Samples that may still be asked, by teacher and problem, with their request keys."
        self._known: dict[tuple[str, str, int], Status] = {}
        "Verdicts on samples that are there, of lines that are judged."
        self._read(plan, run)

    def _read(self, plan: Plan, run: Run) -> None:
        import polars as pl

        rows = plan.wanted.select("teacher", "problem_id", "sample", "request_key")
        missing = rows.filter(pl.col("request_key").is_in(list(plan.missing)))
        for teacher, problem, sample, key in missing.iter_rows():
            self._missing.setdefault((teacher, problem), {})[sample] = key
        judged = [name for name, line in self._lines.items() if line.is_judged]
        there = rows.filter(pl.col("teacher").is_in(judged) & pl.col("request_key").is_in(list(plan.finished)))
        if not there.height:
            return
        statuses = dict(self._judging.known())
        wanted = there.select("request_key", "problem_id")
        unjudged = [key for key, problem in wanted.iter_rows() if (plan.finished[key], problem) not in statuses]
        if unjudged:  # the reference may have changed since, and with it the problem
            stored = stored_traces(run, unjudged).drop("problem_id").join(wanted, on="request_key")
            statuses |= self._judging.judge_stored(stored)
        for teacher, problem, sample, key in there.iter_rows():
            self._known[teacher, problem, sample] = statuses[plan.finished[key], problem]

    def fill(self, problems: Sequence[Problem]) -> None:
        """Puts every problem into the lines where it is to be asked first."""
        for line in self._first:
            for problem in problems:
                self._place(line, problem)
        for line in self._first:
            line.end()

    def _place(self, line: Line, problem: Problem) -> None:
        """Puts a problem where it is to be asked next: in this line, or behind it."""
        if not line.is_judged:
            for sample in self._missing.get((line.calls.name, problem.problem_id), ()):
                line.put(Job(problem, sample))
            return
        statuses, due = self._so_far(line, problem)
        if due:
            line.put(Job(problem, None))
        else:
            self._pass_on(line, problem, statuses)

    def _so_far(self, line: Line, problem: Problem) -> tuple[list[Status], list[int]]:
        """The verdicts on the draws of the rounds that are over, and the samples that the next round lacks."""
        statuses: list[Status] = []
        while samples := next_samples(line.calls.teacher, statuses):
            found = {sample: self._known.get((line.calls.name, problem.problem_id, sample)) for sample in samples}
            lacking = [sample for sample, status in found.items() if status is None]
            if lacking:
                return statuses, lacking
            statuses += [status for status in found.values() if status is not None]
        return statuses, []

    def due(self) -> Iterator[Request]:
        """The requests that can be sent now, without a verdict on any other of them; empties the lines."""
        for line in self._lines.values():
            for problem, sample in line.drain():
                samples = self._so_far(line, problem)[1] if sample is None else [sample]
                keys = self._missing.get((line.calls.name, problem.problem_id), {})  # without those that failed
                yield from (line.calls.request(problem, n, keys[n]) for n in samples if n in keys)

    def _pass_on(self, line: Line, problem: Problem, statuses: Sequence[Status]) -> None:
        """Gives up what need not be drawn any more, and hands the problem on if nobody got it right."""
        self._spare(line, problem)
        if line.next is None:
            return
        if escalates(line.calls.teacher, statuses):
            self._place(line.next, problem)
            return
        for after in _behind(line):
            self._spare(after, problem)

    def _spare(self, line: Line, problem: Problem) -> None:
        self._tally.spare(len(self._missing.pop((line.calls.name, problem.problem_id), ())))

    async def tick(self) -> None:
        """Shows how it goes, and looks at the clock, five times a second."""
        while True:
            self._tally.show()
            self._is_stopped()
            await asyncio.sleep(_TICK_SECONDS)

    async def run_all(self) -> None:
        """Serves all lines, those of one engine together."""
        sharing: dict[tuple[object, ...], list[Line]] = {}
        for line in self._in_order():
            sharing.setdefault(_teacher(line).connection(), []).append(line)
        await together([self._serve(lines) for lines in sharing.values()])

    def _in_order(self) -> Iterator[Line]:
        """The lines, those first that wait for no other, each before the one that it escalates to."""
        yield from self._first
        for line in self._first:
            yield from _behind(line)

    async def _serve(self, lines: Sequence[Line]) -> None:
        """Opens the engine once there is work, and lets the workers of its lines take from them."""
        if _teacher(lines[0]).engine in _ONE_AT_A_TIME:
            await self._serve_ended(lines)
            return
        todo = list(lines)
        while todo and not await todo[0].has_work():
            _end_next(todo.pop(0))
        if todo:
            await self._serve_with(_teacher(todo[0]), todo)

    async def _serve_ended(self, lines: Sequence[Line]) -> None:
        """Serves lines with an engine that needs the whole machine, those together whose jobs are all known.

        Whoever has the machine waits for no other line, which may be waiting for the machine.
        """
        waiting = list(lines)
        while waiting:
            await waiting[0].has_ended()
            ended = [line for line in waiting if line.is_ended]
            waiting = [line for line in waiting if line not in ended]
            todo = [line for line in ended if await line.has_work()]
            for line in ended:
                if line not in todo:
                    _end_next(line)
            if todo:
                async with self._exclusive:
                    await self._serve_with(_teacher(todo[0]), todo)

    async def _serve_with(self, teacher: AskedTeacher, lines: Sequence[Line]) -> None:
        if self.stopped:
            for line in lines:
                _end_next(line)
            return
        names = [line.calls.name for line in lines]
        async with open_engine(teacher) as engine:
            self._tally.opened(names, engine)
            self._engines.append(engine)
            served = _Served(engine, FailureWindow(self._failures, self._failed_before), asyncio.Event())
            describing = asyncio.create_task(self._describe(names, served))
            try:
                await together([self._work_off(line, served) for line in lines])
                if served.answered.is_set():
                    await describing
            finally:
                describing.cancel()
                self._engines.remove(engine)
                self._tally.closed(names, engine)

    async def _describe(self, names: Sequence[str], served: "_Served") -> None:
        """Notes what serves, once it has answered."""
        await served.answered.wait()
        record_engine(self._run, names, await served.engine.describe())

    async def _work_off(self, line: Line, served: "_Served") -> None:
        """Lets as many workers take from the line as the engine takes requests; ends the next line when done."""
        await together([self._work(line, served) for _ in range(_teacher(line).most_under_way)])
        _end_next(line)

    async def _work(self, line: Line, served: "_Served") -> None:
        while (job := await line.take()) is not None and not self._is_stopped():
            if job.sample is None:
                await self._draw(line, job.problem, served)
            else:
                await self._ask(line, job.problem, job.sample, served)

    async def _draw(self, line: Line, problem: Problem, served: "_Served") -> None:
        """Draws samples in rounds until that is enough; where one fails, the next call goes on with it."""
        statuses: list[Status] = []
        while samples := next_samples(line.calls.teacher, statuses):
            found = await together([self._status(line, problem, sample, served) for sample in samples])
            statuses += [status for status in found if status is not None]
            if None in found:
                return
        self._pass_on(line, problem, statuses)

    async def _status(self, line: Line, problem: Problem, sample: int, served: "_Served") -> Status | None:
        """The verdict on one sample; None if there is no trace of it now."""
        known = self._known.get((line.calls.name, problem.problem_id, sample))
        if known is not None:
            return known
        trace = await self._ask(line, problem, sample, served)
        return None if trace is None or trace.error is not None else await self._judging.judge(trace)

    async def _ask(self, line: Line, problem: Problem, sample: int, served: "_Served") -> Trace | None:
        """The trace that the teacher gives, or its error; None if a budget is reached."""
        ledger, missing = self._tally.ledger, self._missing[line.calls.name, problem.problem_id]
        request = line.calls.request(problem, sample, missing[sample])
        if not await self._has_room(request):
            return None
        ledger.start(request)
        completion = await served.engine.complete(request)
        trace = request.trace(completion, cost_usd=ledger.end(request, completion))
        self._ended.set()
        if self.stopped is not None and trace.error is not None:
            return None  # it may have failed for want of another try; the next call asks it
        self._tally.keep(trace, is_judged=line.is_judged)
        served.failures.note(request, completion)
        if trace.error is None:
            del missing[sample]
            served.answered.set()
        return trace

    async def _has_room(self, request: Request) -> bool:
        """Waits until the budget has room for one more request; False once it is reached."""
        ledger = self._tally.ledger
        while not self._is_stopped() and ledger.is_tight(request):
            self._ended.clear()
            ledger.waiting += 1
            try:
                await self._ended.wait()
            finally:
                ledger.waiting -= 1
        return self.stopped is None

    def _is_stopped(self) -> bool:
        if self.stopped is None:
            self.stopped = self._tally.ledger.reached()
            if self.stopped is not None:
                self._ended.set()
                for engine in self._engines:
                    engine.stop()
        return self.stopped is not None


class _Served(NamedTuple):
    """An open engine."""

    engine: Engine
    failures: FailureWindow
    answered: asyncio.Event
    "Set once a request succeeded."


def _teacher(line: Line) -> AskedTeacher:
    return cast(AskedTeacher, line.calls.teacher)


def _behind(line: Line) -> Iterator[Line]:
    """The lines that problems may go on to, nearest first."""
    after = line.next
    while after is not None:
        yield after
        after = after.next


def _end_next(line: Line) -> None:
    """No more problems will come from this line."""
    if line.next is not None:
        line.next.end()
