"""What is left of a run will take, reckoned from a pilot: tokens, hours and USD, each with a 95% interval.

In: how the requests of a few problems went, and how many problems are left. Out: an Estimate, with notes in words
where it may mislead. Problems are the unit, not requests: the samples of one problem are alike, a hard problem is
long for every teacher, and sampling until correct asks more often about it. The interval is that of the total to
come: a t interval on the logarithm, its error by leaving out one problem at a time (jackknife), its degrees of
freedom lowered where few long traces carry the sum. It asks nobody and draws nothing.
"""

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mixdistill.builders.prices import token_cost_usd
from mixdistill.records import Trace
from mixdistill.teachers import Price
from mixdistill.words import duration

_HOUR_SECONDS = 3600.0
_FEW_PROBLEMS = 10
_LONE_SHARE = 0.3
# 97.5% quantiles of Student's t by degrees of freedom; between them the one for fewer is taken.
_T = {
    1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228,
    12: 2.179, 15: 2.131, 20: 2.086, 30: 2.042, 60: 2.000, 120: 1.980,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one request of the pilot took."""

    teacher: str
    problem_id: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_seconds: float | None = None
    failed: bool = False
    cut: bool = False
    "Whether the trace was cut at max_tokens."

    @classmethod
    def of(cls, trace: Trace) -> "Outcome":
        """The outcome that a trace tells of."""
        return cls(
            teacher=trace.teacher,
            problem_id=trace.problem_id,
            prompt_tokens=trace.prompt_tokens,
            completion_tokens=trace.completion_tokens,
            latency_seconds=trace.latency_seconds,
            failed=trace.error is not None,
            cut=trace.finish_reason == "length",
        )

    @property
    def tokens(self) -> int | None:
        """Tokens of prompt, reasoning and response; of a request that failed they are not counted."""
        if self.failed or self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.prompt_tokens + self.completion_tokens


class Span(NamedTuple):
    """What is expected, and a 95% interval around it; None where two problems or more would be needed."""

    expected: float
    low: float | None = None
    high: float | None = None


class Forecast(NamedTuple):
    """What is left of one teacher, or of all; None where it cannot be known."""

    teacher: str | None
    "None is all of them."
    n_requests: float | None
    "Requests that are left, failed ones not asked again."
    tokens: Span | None
    hours: Span | None
    "By the clock; engines work at the same time, the teachers of one engine share it."
    usd: Span | None


class Estimate(NamedTuple):
    """What the rest of the run will take."""

    teachers: tuple[Forecast, ...]
    total: Forecast
    notes: tuple[str, ...]
    "What may mislead, in words."
    ended: str | None = None
    "The budget that ended the pilot, in words."

    def ended_by(self, budget: str, n_asked: int, n_chosen: int) -> "Estimate":
        """The same of a pilot that a budget ended, after some of the problems that were chosen for it."""
        note = (
            f"the budget ended the pilot, so that this is from {n_asked} of its {n_chosen} problems; those that "
            "end first are short, and the rest may take more"
        )
        return self._replace(notes=(note, *self.notes), ended=budget)


def estimate(
    outcomes: Sequence[Outcome],
    remaining: Mapping[str, int],
    concurrency: Mapping[str, int],
    prices: Mapping[str, Price | None],
    *,
    asked: Mapping[str, Collection[str]] | None = None,
    engines: Mapping[str, Hashable] | None = None,
) -> Estimate:
    """What the remaining problems of each teacher will take, if they are like those of the pilot.

    `remaining` counts problems with all their samples. `asked` are, for each teacher, the problems of the pilot
    that were its turn, also those about which it was not asked because one before it was right; default: those of
    its outcomes. `engines` says which teachers share one, and with it its concurrency; default: each has its own.
    """
    pilots = []
    for teacher, n_left in remaining.items():
        its_own = [one for one in outcomes if one.teacher == teacher]
        problems = () if asked is None else asked.get(teacher, ())
        if n_left:
            pilots.append(_Pilot(teacher, its_own, problems, n_left, concurrency[teacher], prices[teacher]))
    lanes: dict[Hashable, list[_Pilot]] = {}
    for pilot in pilots:
        lanes.setdefault((engines or {}).get(pilot.teacher, (pilot.teacher,)), []).append(pilot)
    return Estimate(
        tuple(_forecast(pilot.teacher, [[pilot]]) for pilot in pilots),
        _forecast(None, [*lanes.values()]),
        tuple(_notes([*lanes.values()])),
    )


HEADS = ["teacher", "requests", "tokens", "time", "USD"]
"Of the rows that `describe` makes."


def describe(estimate: Estimate) -> list[list[str]]:
    """The rows of a table: a teacher each, and the total where there are several; the interval in brackets."""
    rows = [*estimate.teachers, *([estimate.total] if len(estimate.teachers) != 1 else [])]
    return [
        [
            row.teacher or "total",
            "unknown" if row.n_requests is None else f"{row.n_requests:,.0f}",
            _told(row.tokens),
            _told(row.hours, _time),
            _told(row.usd),
        ]
        for row in rows
    ]


class _Sum(NamedTuple):
    """Values that are known of one problem or of many."""

    total: float = 0.0
    n: int = 0

    def plus(self, values: Sequence[float | None]) -> "_Sum":
        known = [value for value in values if value is not None]
        return _Sum(self.total + sum(known), self.n + len(known))

    def minus(self, other: "_Sum") -> "_Sum":
        return _Sum(self.total - other.total, self.n - other.n)


class _Pilot:
    """How the pilot went for one teacher, summed up so that one problem can be left out of it."""

    def __init__(
        self, teacher: str, outcomes: Sequence[Outcome], problems: Collection[str], n_left: int,
        concurrency: int, price: Price | None,
    ) -> None:  # fmt: skip
        self.teacher = teacher
        self.outcomes = outcomes
        self.n_left = n_left
        self.concurrency = concurrency
        self.price = price
        by_problem: dict[str, list[Outcome]] = {problem: [] for problem in problems}
        for one in outcomes:
            by_problem.setdefault(one.problem_id, []).append(one)
        self.problems = frozenset(by_problem)
        self._parts = {problem: self._sums(of_one) for problem, of_one in by_problem.items()}
        self._all = self._sums(outcomes)

    def _sums(self, outcomes: Sequence[Outcome]) -> dict[str, _Sum]:
        good = [one for one in outcomes if not one.failed]
        usd = [
            None if self.price is None else token_cost_usd(self.price, one.prompt_tokens, one.completion_tokens)
            for one in good
        ]
        return {
            "requests": _Sum(float(len(outcomes)), len(outcomes)),
            "tokens": _Sum().plus([one.tokens for one in good]),
            "seconds": _Sum().plus([one.latency_seconds for one in outcomes]),
            "usd": _Sum().plus(usd),
        }

    def n_requests(self, without: str | None = None) -> float | None:
        """Requests that are left."""
        n_problems = len(self._parts) - (without in self._parts)
        return self.n_left * self._sum("requests", without).total / n_problems if n_problems else None

    def left(self, what: str, without: str | None = None) -> float | None:
        """What is left of tokens, seconds or USD: the mean of a request, times the requests that are left."""
        n_requests, known = self.n_requests(without), self._sum(what, without)
        if n_requests == 0:
            return 0.0
        return None if n_requests is None or not known.n else n_requests * known.total / known.n

    def _sum(self, what: str, without: str | None) -> _Sum:
        part = self._parts.get(without) if without is not None else None
        return self._all[what] if part is None else self._all[what].minus(part[what])

    def usd(self, without: str | None = None) -> float | None:
        """USD that are left: by tokens, and by the hours that it is asked."""
        if self.price is None:
            return None
        by_hours = _hours([self], without) if self.price.hour else 0.0
        return _summed([self.left("usd", without), None if by_hours is None else by_hours * self.price.hour])


def _hours(lane: Sequence[_Pilot], without: str | None) -> float | None:
    """Hours that an engine works for its teachers; fewer requests than it takes at once take as long as one."""
    n_requests = _summed([pilot.n_requests(without) for pilot in lane])
    seconds = _summed([pilot.left("seconds", without) for pilot in lane])
    if n_requests is None or seconds is None:
        return None
    return seconds / max(1.0, min(lane[0].concurrency, n_requests)) / _HOUR_SECONDS


def _summed(parts: Sequence[float | None]) -> float | None:
    """The sum, if every part of it is known."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _forecast(teacher: str | None, lanes: Sequence[Sequence[_Pilot]]) -> Forecast:
    pilots = [pilot for lane in lanes for pilot in lane]

    def tokens(without: str | None) -> float | None:
        return _summed([pilot.left("tokens", without) for pilot in pilots])

    def hours(without: str | None) -> float | None:
        each = [_hours(lane, without) for lane in lanes]
        return None if _summed(each) is None else max((one for one in each if one is not None), default=0.0)

    def usd(without: str | None) -> float | None:
        return _summed([pilot.usd(without) for pilot in pilots])

    problems = sorted(set[str]().union(*(pilot.problems for pilot in pilots)))
    # What is left varies too, as a pilot of its size would.
    n_left = sum(pilot.n_left for pilot in pilots)
    widen = math.sqrt(1 + sum(len(pilot.problems) for pilot in pilots) / n_left) if n_left else 1.0
    tokens_span, hours_span, usd_span = (_span(value, problems, widen) for value in (tokens, hours, usd))
    return Forecast(teacher, _summed([one.n_requests() for one in pilots]), tokens_span, hours_span, usd_span)


def _span(value: Callable[[str | None], float | None], problems: Sequence[str], widen: float) -> Span | None:
    """The value and its interval; `value` takes the problem that is left out."""
    expected = value(None)
    if not expected:
        return None if expected is None else Span(0.0, 0.0, 0.0)
    known = [one for one in (value(problem) for problem in problems) if one is not None]
    n = len(problems)
    if n < 2 or len(known) < n:
        return Span(expected)
    mean = sum(known) / n
    squares = [(one - mean) ** 2 for one in known]
    if math.sqrt(sum(squares)) < 1e-9 * expected:
        return Span(expected, expected, expected)
    error = math.sqrt((n - 1) / n * sum(squares)) * widen
    # Satterthwaite: a variance is known the worse the heavier the tails; 3 is the kurtosis of the normal.
    kurtosis = n * sum(square**2 for square in squares) / sum(squares) ** 2
    freedom = min(n - 1, max(2.0, 2 * (n - 1) / (max(kurtosis, 3.0) - 1)))
    factor = math.exp(min(_t(freedom) * error / expected, 50.0))
    return Span(expected, expected / factor, expected * factor)


def _t(freedom: float) -> float:
    return _T[max(known for known in _T if known <= freedom)]


def _notes(lanes: Sequence[Sequence[_Pilot]]) -> list[str]:
    """What may mislead, the worst of each teacher first."""
    notes = [f"teacher {pilot.teacher!r}: {note}" for lane in lanes for pilot in lane for note in _notes_of(pilot)]
    for lane in lanes:
        n_pilot, n_left = sum(len(pilot.outcomes) for pilot in lane), _summed([one.n_requests() for one in lane])
        at_once = min(lane[0].concurrency, n_left or 0.0)
        if 0 < n_pilot < at_once:
            names = " and ".join(repr(pilot.teacher) for pilot in lane)
            notes.append(
                f"times are optimistic: the pilot put {n_pilot} requests to {names}, and {at_once:.0f} will be "
                f"under way at once; if that is no quicker, they are {at_once / n_pilot:.1f} times as many"
            )
    n_problems = len(set[str]().union(*(pilot.problems for lane in lanes for pilot in lane)))
    if 0 < n_problems < _FEW_PROBLEMS:
        notes.append(
            f"the pilot had {n_problems} problems; with fewer than {_FEW_PROBLEMS} intervals are often missed"
        )
    return notes


def _notes_of(pilot: _Pilot) -> list[str]:
    n, outcomes = len(pilot.outcomes), pilot.outcomes
    if not n:
        return [_note_of_none(pilot)]
    good = [one for one in outcomes if not one.failed]
    tokens = [one.tokens for one in good if one.tokens is not None]
    notes = []
    if not good:
        notes.append(f"all {n} requests failed, so that nothing is known of tokens and USD")
    elif len(good) < n:
        notes.append(f"{n - len(good)} of {n} requests failed; they are reckoned to cost what the others did")
    if pilot.price is None:
        notes.append("no price is known, so that USD are not; state `price` in the recipe")
    if len(tokens) < len(good):
        notes.append(f"{len(good) - len(tokens)} of {len(good)} traces came without a count of tokens")
    if all(one.latency_seconds is None for one in outcomes):
        notes.append("no request came with the time that it took, so that times are not known")
    if n_cut := sum(one.cut for one in good):
        notes.append(f"{n_cut} of {len(good)} traces were cut at max_tokens; a higher limit costs more than this")
    if len(tokens) >= _FEW_PROBLEMS and max(tokens) > _LONE_SHARE * sum(tokens):
        share = max(tokens) / sum(tokens)
        notes.append(
            f"one of {len(tokens)} traces holds {share:.0%} of the tokens; a larger pilot would tell more"
        )
    return notes


def _note_of_none(pilot: _Pilot) -> str:
    n = len(pilot.problems)
    if not n:
        return f"no request was in the pilot, so that nothing is known of {pilot.n_left:,} problems"
    share = 1 - 0.05 ** (1 / n)  # of problems that need it; with more, a pilot without any comes once in 20
    return f"the pilot did not need it for {n} problems and it counts nothing here; up to {share:.0%} may need it"


def _told(span: Span | None, figure: Callable[[float], str] | None = None) -> str:
    if span is None:
        return "unknown"
    expected, *bounds = [(figure or _figure)(value) for value in span if value is not None]
    return f"{expected} ({' to '.join(bounds)})" if bounds else expected


def _time(hours: float) -> str:
    return duration(hours * _HOUR_SECONDS)


def _figure(value: float) -> str:
    """Three digits that count.

    >>> [_figure(value) for value in (0, 0.0004, 1.2345, 123.4, 12345, 1234567, 2.5e9)]
    ['0', '<0.001', '1.23', '123', '12,345', '1.23M', '2.5B']
    """
    for unit, sign in ((1e9, "B"), (1e6, "M"), (1.0, "")):
        if value >= unit:
            scaled = value / unit
            return (f"{scaled:,.0f}" if scaled >= 100 else f"{scaled:.3g}") + sign
    return "<0.001" if 0 < value < 0.001 else f"{value:.2g}"
