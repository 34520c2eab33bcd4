"""How much each server is asked at once, and which of several is asked next.

A `Pace` is what one server takes: half as much when it is overloaded, a little more with each answer (additive
increase, multiplicative decrease, as TCP does), nothing while it asked for a pause; one that is dead is left out
for a while and then tried with one request. `Slots` hands them out, in turn; while all servers are dead, one of
which had answered before, it makes requests wait. Nothing is sent from here, and times are seconds of a monotonic
clock.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from math import inf

_DEAD_AFTER_FAILURES = 5  # in a row
# Of the ceiling, by which the limit grows in a round of answers: to all of it in sixteen rounds, for a round may
# take minutes.
_STEP_SHARE = 1 / 16
_OUT_SECONDS = 5.0
_OUT_MAX_SECONDS = 60.0


class Pace:
    """How much one server takes now."""

    def __init__(self, address: str, ceiling: int) -> None:
        self.address = address
        self.in_flight = 0
        self.limit = float(ceiling)
        "Requests at once; a fraction is the way to the next one."
        self.reached = False
        "Whether it ever answered, be it with an error."
        self.paused_until = -inf
        self.out_until = -inf
        self.out_since = inf
        "When it was first taken to be dead, with no answer since; inf: it is not."
        self.turn = 0
        "When it was taken last, counted in requests."
        self._ceiling = ceiling
        self._step = max(1.0, ceiling * _STEP_SHARE)
        self._slowed_at = -inf
        self._n_failures = 0
        self._out_at = -inf
        self._out_seconds = 0.0  # 0: it is not left out

    def has_room(self, now: float) -> bool:
        """Whether one more request may be sent."""
        return self.in_flight < int(self.limit) and now >= self.paused_until

    def is_out(self, now: float) -> bool:
        """Whether it is left out, as it is taken to be dead."""
        return self._out_seconds > 0 and now < self.out_until

    def take(self, now: float, turn: int) -> None:
        """Notes one more request; one that tries a server taken to be dead is the only one for a minute."""
        self.in_flight += 1
        self.turn = turn
        if self._out_seconds > 0:
            self.out_until = now + _OUT_MAX_SECONDS

    def answered(self, *, well: bool) -> None:
        """Notes that an answer came; a good one says that there is room for more."""
        self.reached = True
        self._n_failures = 0
        self._out_seconds = 0.0
        self.out_since = inf
        if well and self.limit < self._ceiling:
            self.limit = min(self._ceiling, self.limit + self._step / self.limit)

    def overloaded(self, started: float, now: float, pause_seconds: float = 0.0) -> None:
        """Notes that a request from `started` was too many; all others wait for the pause, too.

        Requests that were under way at the last time say nothing new, so that the limit is halved once.
        """
        self.paused_until = max(self.paused_until, now + pause_seconds)
        if started >= self._slowed_at:
            self.limit = max(1.0, self.limit / 2)
            self._slowed_at = now

    def failed(self, started: float, now: float, *, dead: bool) -> None:
        """Notes that there was no whole answer; that it is `dead` is sure where nothing can connect to it."""
        self._n_failures += 1
        if not dead:
            self.overloaded(started, now)
        is_out = dead or self._out_seconds > 0 or self._n_failures >= _DEAD_AFTER_FAILURES
        if is_out and started >= self._out_at:
            self.out_since = min(self.out_since, now)
            self._out_seconds = min(_OUT_MAX_SECONDS, 2 * self._out_seconds or _OUT_SECONDS)
            self._out_at = now
            self.out_until = now + self._out_seconds


class Slots:
    """The room of some servers together."""

    def __init__(self, paces: Sequence[Pace]) -> None:
        self.paces = paces
        self.is_stopped = False
        self._n_taken = 0
        self._queue = asyncio.Lock()
        self._changed = asyncio.Event()

    async def take(self, avoid: Pace | None = None) -> Pace | None:
        """A server with room, when there is one: first come, first served. None after `stop`.

        The one with the fewest requests, of equal ones the one that was longest not asked; `avoid` only where
        there is no other. Those that are left out are asked where all are and none ever answered.
        """
        if not self.is_stopped and not self._queue.locked() and (pace := self._next(time.monotonic(), avoid)):
            return pace
        async with self._queue:
            while not self.is_stopped:
                if pace := self._next(now := time.monotonic(), avoid):
                    return pace
                self._changed.clear()
                ends = [end for each in self.paces for end in (each.paused_until, each.out_until) if end > now]
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(ends) - now if ends else None):
                        await self._changed.wait()
        return None

    def stop(self) -> None:
        """Gives nothing out any more; those who wait get nothing."""
        self.is_stopped = True
        self._changed.set()

    def give_back(self, pace: Pace) -> None:
        """Ends what `take` began."""
        pace.in_flight -= 1
        self._changed.set()

    def has_other(self, pace: Pace) -> bool:
        """Whether a server besides this one is alive."""
        now = time.monotonic()
        return any(each is not pace and not each.is_out(now) for each in self.paces)

    def outage_seconds(self, now: float) -> float:
        """For how long all servers are taken to be dead; 0 while one is not, or where none ever answered."""
        since = max(pace.out_since for pace in self.paces)
        return now - since if since < inf and self.any_reached() else 0.0

    def any_reached(self) -> bool:
        """Whether a server ever answered."""
        return any(pace.reached for pace in self.paces)

    def _next(self, now: float, avoid: Pace | None) -> Pace | None:
        alive: Sequence[Pace] = [pace for pace in self.paces if not pace.is_out(now)]
        if not alive and not self.any_reached():
            alive = self.paces
        free = [pace for pace in alive if pace.has_room(now)]
        if not free:
            return None
        best = min(free, key=lambda pace: (pace is avoid, pace.in_flight, pace.turn)) if len(free) > 1 else free[0]
        self._n_taken += 1
        best.take(now, self._n_taken)
        return best
