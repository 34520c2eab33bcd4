"""One call of `generate` as it goes: writes what comes, counts it, and shows how it goes.

In: traces as they come. Out: lines in the run's trace files, the figures for progress, the counts at the end.
Which trace comes when is `lines`' business.
"""

from collections import Counter
from collections.abc import Callable, Iterable

from mixdistill.builders.asking import Engine
from mixdistill.builders.budget import Ledger
from mixdistill.builders.judging import Judging
from mixdistill.records import Trace
from mixdistill.run import Figures, Progress, Run, TeacherFigures
from mixdistill.trace_files import TraceWriter


class Tally:
    """What came in this call."""

    def __init__(self, run: Run, ledger: Ledger, judging: Judging, progress: Progress, n_missing: int) -> None:
        self.ledger = ledger
        self._engines: list[Engine] = []
        self.last_error: str | None = None
        self._retries_before = 0
        self._judging = judging
        self._progress = progress
        self._writer = TraceWriter(run)
        self._n_expected = n_missing
        self._asked: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self.watch: Callable[[Trace], object] = lambda trace: None
        "Called with every trace that came."

    def keep(self, trace: Trace, *, is_judged: bool = True) -> None:
        """Writes a trace and counts it; one that nobody else judges is offered for judging."""
        self._writer.write(trace)
        self._asked[trace.teacher] += 1
        self._tokens[trace.teacher] += trace.completion_tokens or 0
        self.watch(trace)
        if trace.error is not None:
            self._failed[trace.teacher] += 1
            self.last_error = trace.error
        elif not is_judged:
            self._judging.offer(trace)

    def expect(self, n_requests: int) -> None:
        """So many requests are still to come at the most."""
        self._n_expected = self.n_asked + n_requests

    def spare(self, n_requests: int) -> None:
        """So many requests need not be asked after all."""
        self._n_expected -= n_requests

    def opened(self, teachers: Iterable[str], engine: Engine) -> None:
        """The engine of some teachers is there."""
        self._engines.append(engine)
        for teacher in teachers:
            self.ledger.open(teacher)

    def closed(self, teachers: Iterable[str], engine: Engine) -> None:
        """It is gone."""
        self._engines.remove(engine)
        self._retries_before += engine.load.retries
        for teacher in teachers:
            self.ledger.close(teacher)

    def show(self) -> None:
        """Shows how it goes."""
        asked, failed, tokens = self.n_asked, self.n_failed, self._tokens.total()
        note = f"{tokens:,} tokens" + (f", {failed:,} failed" if failed else "")
        self._progress(asked, self._n_expected, note, self._figures(self._asked))

    def close(self) -> None:
        """Closes the trace files."""
        self._writer.close()

    @property
    def n_asked(self) -> int:
        """Requests that ended in this call, and existing traces that were taken."""
        return self._asked.total()

    @property
    def n_failed(self) -> int:
        """Those of them that ended in an error."""
        return self._failed.total()

    def _figures(self, teachers: Iterable[str]) -> Figures:
        loads = [engine.load for engine in self._engines]
        rows = tuple(
            TeacherFigures(
                name, self._asked[name], self._failed[name], self._tokens[name], *self._judging.judged(name)
            )
            for name in teachers
        )
        return Figures(
            in_flight=sum(load.in_flight for load in loads),
            retries=self._retries_before + sum(load.retries for load in loads),
            tokens=self._tokens.total(),
            cost_usd=self.ledger.usd,
            teachers=rows,
            waiting=self.ledger.waiting,
        )
