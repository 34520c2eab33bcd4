"""What judges traces while they are generated: a Protocol, so that builders need no verifier.

The street passes in `verifiers.live`, which is one.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from mixdistill.records import Status, Trace

if TYPE_CHECKING:
    import polars


class Judging(Protocol):
    """Judges traces; what it says is kept in the run, so that nothing is judged twice."""

    def known(self) -> Mapping[tuple[str, str], Status]:
        """What was said before, by trace and problem: another reference makes it another problem."""
        ...

    def judge_stored(self, traces: "polars.DataFrame") -> Mapping[tuple[str, str], Status]:
        """Judges traces that are there already (columns of Trace); statuses by trace and problem."""
        ...

    async def judge(self, trace: Trace) -> Status:
        """Judges a trace now. Raises nothing for what is wrong with the trace."""
        ...

    def offer(self, trace: Trace) -> None:
        """Judges a trace if there is time for it; nobody waits for that."""
        ...

    def judged(self, teacher: str) -> tuple[int, int]:
        """How many traces of a teacher were judged in this call, and how many of them are right."""
        ...
