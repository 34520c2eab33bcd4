"""How a stage goes: what it told, rates of late, what is left; as a line of text, a panel, or an event.

In: what a stage tells its `Progress` callback, many times a second. Out: values and words; `terminal` prints them.
Rates are over the last half minute rather than since the start, so that a stall shows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from mixdistill.run import Figures, TeacherFigures
from mixdistill.words import duration, printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table
    from rich.text import Text

# A window holds so many that ended, too, even if it is longer for it: a teacher that takes minutes for a trace
# would show no rate most of the time.
_WINDOW_SECONDS = 30.0
_WINDOW_DONE = 10
_MARK_SECONDS = 1.0
_MAX_TEACHERS = 8
_BAR_CHARS = 24
_NAME_CHARS = 10


class Moment(NamedTuple):
    """How a stage goes at one moment."""

    stage: str
    done: int
    total: int
    "May shrink or grow while the stage runs, and be less than what is done."
    note: str
    figures: Figures | None
    seconds: float
    "Since the stage began."
    rate: float
    "Done a second, of late."
    tokens_per_second: float
    teacher_tokens_per_second: Mapping[str, float]

    @property
    def eta_seconds(self) -> float | None:
        """Seconds that the rest takes at this rate; None if nothing moves."""
        if self.done >= self.total:
            return 0.0
        return (self.total - self.done) / self.rate if self.rate else None


class _Mark(NamedTuple):
    """What was done by then."""

    at: float
    done: int
    tokens: int
    teacher_tokens: Mapping[str, int]


class _Told(NamedTuple):
    """What a stage said last. Replaced as a whole: the panel reads it from another thread."""

    done: int
    total: int
    note: str
    figures: Figures | None
    marks: tuple[_Mark, ...]
    "Oldest first, none where nothing changed."


class Pace:
    """What a stage told, and how fast it goes of late."""

    def __init__(self, stage: str, clock: Callable[[], float]) -> None:
        self._started = clock()
        self._stage = stage
        self._clock = clock
        self._told: _Told | None = None

    def tell(self, done: int, total: int, note: str, figures: Figures | None = None, /) -> None:
        """Notes how many are done. Cheap: it may be called for every row."""
        now, before = self._clock(), self._told
        if before is None or done < before.done:  # another part of the stage begins to count
            began = now if before is not None or done == 0 else self._started
            marks: tuple[_Mark, ...] = (_Mark(began, 0, 0, {}),)
        else:
            marks = before.marks
        if now - marks[-1].at >= _MARK_SECONDS and done != marks[-1].done:
            base = _base(marks, now, done)
            kept = (mark for mark in marks if mark.at >= base.at)
            marks = (*kept, _Mark(now, done, figures.tokens if figures else 0, _teacher_tokens(figures)))
        self._told = _Told(done, total, note, figures, marks)

    def moment(self) -> Moment | None:
        """How it goes now; None before anything was told."""
        told = self._told
        if told is None:
            return None
        now = self._clock()
        base = _base(told.marks, now, told.done)
        seconds = max(now - base.at, _MARK_SECONDS)  # the first moments say little
        return Moment(
            self._stage, told.done, told.total, printable(" ".join(told.note.split())), told.figures,
            seconds=now - self._started,
            rate=(told.done - base.done) / seconds,
            tokens_per_second=(told.figures.tokens - base.tokens) / seconds if told.figures else 0.0,
            teacher_tokens_per_second={
                name: (tokens - base.teacher_tokens.get(name, 0)) / seconds
                for name, tokens in _teacher_tokens(told.figures).items()
            },
        )  # fmt: skip


def _base(marks: Sequence[_Mark], now: float, done: int) -> _Mark:
    """The latest mark that is long enough ago, by time and by what was done since; else the first."""
    return next(
        (m for m in reversed(marks) if now - m.at >= _WINDOW_SECONDS and done - m.done >= _WINDOW_DONE), marks[0]
    )


def _teacher_tokens(figures: Figures | None) -> dict[str, int]:
    return {teacher.teacher: teacher.tokens for teacher in figures.teachers} if figures else {}


def line(moment: Moment) -> str:
    """The moment in one line, as it is for a log."""
    figures, left = moment.figures, moment.eta_seconds
    told = [f"{moment.done:,} of {moment.total:,}", *_words(moment)]
    if left is not None:
        told.append(f"ETA {duration(left)}")
    if figures is None:
        told.append(moment.note)
    else:
        told.append(_money(figures.cost_usd))
        told.append(_right(figures))
    return f"{moment.stage:<9} {', '.join(part for part in told if part)}"


def _right(figures: Figures) -> str:
    rates = [f"{row.teacher} {_right_share(row)}" for row in figures.teachers if row.judged]
    return f"right so far: {', '.join([*rates[:_MAX_TEACHERS], *_more(rates)])}" if rates else ""


class Panel:
    """The moment for a terminal: a bar with figures, and a row for each teacher.

    Lines break between figures, never inside one; a narrow terminal gets fewer columns.
    """

    def __init__(self, moment: Moment) -> None:
        self._moment = moment

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        from rich.padding import Padding

        width = options.max_width - 1  # some terminals wrap where the last column is filled
        indent = 10 if width >= 60 else 2
        first, *others = self._lines(width, indent)
        yield self._with_bar(first, width)
        for text in others:
            yield Padding(text, (0, 0, 0, indent))
        teachers = self._moment.figures.teachers if self._moment.figures else ()
        if teachers:
            yield Padding(_teachers(teachers, self._moment.teacher_tokens_per_second, width - indent),
                          (0, 0, 0, indent))  # fmt: skip

    def _lines(self, width: int, indent: int) -> "list[Text]":
        """The figures, as many a line as fit; the first stands behind the bar."""
        moment, left = self._moment, self._moment.eta_seconds
        beside_bar, below = width - 11 - _bar_chars(width), width - indent
        counts = [
            (f"{moment.done:,}/{moment.total:,}", "progress.download"),
            (_clock(moment.seconds), "progress.elapsed"),
            (f"ETA {'-:--:--' if left is None else _clock(left)}", "progress.remaining"),
        ]
        rates = [(word, "") for word in _words(moment)]
        if moment.figures is None:
            return _packed([*counts, *rates, (moment.note, "")], beside_bar, below)
        cost = (_money(moment.figures.cost_usd), "")
        return _packed(counts, beside_bar, below) + _packed([*rates, cost], below, below)

    def _with_bar(self, first: "Text", width: int) -> "Table":
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        moment = self._moment
        row = Table.grid(padding=(0, 1, 0, 0))
        for _ in range(3):
            row.add_column(no_wrap=True)
        done = moment.done if moment.total else 1  # a bar of nothing is full
        bar = ProgressBar(total=max(moment.total, 1), completed=done, width=_bar_chars(width))
        row.add_row(f"{moment.stage:<9}", bar, first)
        return row


def _bar_chars(width: int) -> int:
    return max(min(_BAR_CHARS, width * 31 // 100), 1)


def _packed(parts: Sequence[tuple[str, str]], first_width: int, width: int) -> "list[Text]":
    """The parts, with their styles, in lines: a part that does not fit begins the next one."""
    from rich.text import Text

    lines = [Text(no_wrap=True, overflow="ellipsis")]
    for text, style in parts:
        room = first_width if len(lines) == 1 else width
        gap = "  " if lines[-1] else ""
        if lines[-1].cell_len + len(gap) + Text(text).cell_len > room and (gap or len(lines) == 1):
            lines.append(Text(no_wrap=True, overflow="ellipsis"))
            gap = ""
        if text:
            lines[-1].append(gap).append(text, style)
    return lines


def _teachers(teachers: Sequence[TeacherFigures], tokens_per_second: Mapping[str, float], width: int) -> "Table":
    """A row for each teacher, with the columns that leave room for their names."""
    from rich.table import Table
    from rich.text import Text

    shown = teachers[:_MAX_TEACHERS]
    names = ["teacher", *(printable(row.teacher) for row in shown), *_more(teachers)]
    longest = max(map(len, names))
    asked = ["asked", *(f"{row.asked:,}" for row in shown)]
    failed = ["failed", *(f"{row.failed:,}" for row in shown)]
    tokens = ["tokens/s", *(f"{tokens_per_second.get(row.teacher, 0.0):,.0f}" for row in shown)]
    right = ["right", *(_right_share(row) for row in shown)]
    judged = ["right so far", *(f"{_right_share(row)} judged" if row.judged else "-" for row in shown)]
    for columns in ([asked, failed, tokens, judged], [asked, failed, tokens, right], [asked, failed, right],
                    [asked, right], [right]):  # fmt: skip
        room = width - sum(max(map(len, column)) + 2 for column in columns)
        if room >= min(longest, _NAME_CHARS):
            break
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(room, 1))
    for column in columns:
        table.add_column(no_wrap=True, justify="left" if column[0].startswith("right") else "right")
    for number, name in enumerate(names):
        cells = [column[number] if number < len(column) else "" for column in columns]
        table.add_row(*(Text(cell) for cell in (name, *cells)), style="" if number else "dim")
    return table


def event(moment: Moment) -> dict[str, object]:
    """The moment as an event, with the same keys whatever is known."""
    figures, eta = moment.figures, moment.eta_seconds
    usd = figures.cost_usd if figures else None
    return {
        "event": "progress",
        "stage": moment.stage,
        "done": moment.done,
        "total": moment.total,
        "seconds": round(moment.seconds, 3),
        "rate": round(moment.rate, 3),
        "eta_seconds": None if eta is None else round(eta, 1),
        "tokens_per_second": round(moment.tokens_per_second, 1) if figures else None,
        "in_flight": figures.in_flight if figures else None,
        "waiting": figures.waiting if figures else None,
        "retries": figures.retries if figures else None,
        "tokens": figures.tokens if figures else None,
        "cost_usd": None if usd is None else round(usd, 6),
        "teachers": {
            row.teacher: {name: n for name, n in row._asdict().items() if name != "teacher"}
            for row in (figures.teachers if figures else ())
        },
    }


def _words(moment: Moment) -> list[str]:
    """Rates and requests in words; what there is none of is left out."""
    rate = f"{moment.rate:,.1f}/s" if moment.rate >= 1 or not moment.rate else f"{moment.rate:.2f}/s"
    figures = moment.figures
    if figures is None:
        return [rate]
    failed = sum(row.failed for row in figures.teachers)
    return [
        rate,
        *([f"{moment.tokens_per_second:,.0f} tokens/s"] if figures.tokens else []),
        f"{figures.in_flight:,} in flight",
        *([f"{figures.waiting:,} wait for room in the budget"] if figures.waiting else []),
        *([f"{figures.retries:,} {'retry' if figures.retries == 1 else 'retries'}"] if figures.retries else []),
        *([f"{failed:,} failed"] if failed else []),
    ]


def _money(usd: float | None) -> str:
    """Dollars; a small sum with more digits.

    >>> _money(12.345), _money(0.0123), _money(None)
    ('$12.35', '$0.0123', '')
    """
    if usd is None:
        return ""
    return f"${usd:,.2f}" if usd >= 0.1 or not usd else f"${usd:.4f}"


def _right_share(teacher: TeacherFigures) -> str:
    """The share of right traces among those judged so far; a dash if none is."""
    return f"{teacher.correct / teacher.judged:.0%} of {teacher.judged:,}" if teacher.judged else "-"


def _more(teachers: Sequence[object]) -> list[str]:
    """A word for those that are too many to show, if there are any."""
    n_more = len(teachers) - _MAX_TEACHERS
    return [f"+{n_more} more"] if n_more > 0 else []


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))
