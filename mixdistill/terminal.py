"""What a person sees: progress on stderr, results as short tables on stdout.

Progress is a live panel on a terminal, a plain line every ten seconds elsewhere, events with --json (`progress`).
Text of models and datasets is printed as it is but for control characters, so that it cannot move the cursor or
colour the screen.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, get_args

from mixdistill.progress import Moment, Pace, Panel, event, line
from mixdistill.records import Status
from mixdistill.run import Figures, Progress, Run, StageRecord
from mixdistill.words import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from mixdistill.builders.batch_files import BatchFile
    from mixdistill.builders.pilot import Estimate
    from mixdistill.recipe import Recipe
    from mixdistill.show import Asking, VerdictCounts
    from mixdistill.tables import TeacherStats

_FIRST_LINE_SECONDS = 2.0
_LINE_SECONDS = 10.0
_EVENT_SECONDS = 1.0
_REFRESHES_PER_SECOND = 4
_LINE_CHARS = 90


class Reporter:
    """Shows progress on stderr while its block runs; `reporter(stage)` gives the callback for a stage.

    With `as_json`, every line is an event: `progress` at most once a second, `stage`, `warning`.
    """

    def __init__(self, *, as_json: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._as_json = as_json
        self._clock = clock
        self._live: Live | None = None
        self._pace: Pace | None = None
        "Of the stage that runs; shown by the panel."

    def __enter__(self) -> "Reporter":
        if not self._as_json and sys.stderr.isatty():
            self._live = _live(self._panel)
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pace = None
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, stage: str) -> Progress:
        """The callback that shows the progress of a stage; nothing shows before it is first called."""
        pace = self._pace = Pace(stage, self._clock)
        if self._live is not None:
            return pace.tell
        if self._as_json:
            return _now_and_then(pace, self._clock, lambda now: _say(_json(event(now))), 0.0, _EVENT_SECONDS)
        first, every = _FIRST_LINE_SECONDS, _LINE_SECONDS
        return _now_and_then(pace, self._clock, lambda now: _say(line(now)), first, every)

    def done(self, record: StageRecord) -> None:
        """One line or event for a stage that is done; its panel goes."""
        self._pace = None
        if self._as_json:
            told = {"stage": record.stage, "seconds": round(record.seconds, 3), "skipped": record.skipped}
            _say(_json({"event": "stage", **told, "counts": record.counts}))
            return
        how = "nothing to do" if record.skipped else f"{record.seconds:.1f} s"
        self._say(f"{record.stage:<9} {_counts(record.counts)}  ({how})")

    def warn(self, message: str) -> None:
        """One line or event for what went wrong without stopping anything."""
        if self._as_json:
            _say(_json({"event": "warning", "message": message}))
        else:
            self._say(f"Warning: {printable(message)}")

    def _say(self, text: str) -> None:
        if self._live is None:
            _say(text)
        else:  # above the panel as it is now
            self._live.refresh()
            self._live.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _panel(self) -> "RenderableType":
        from rich.console import Group

        moment = None if self._pace is None else self._pace.moment()
        return Group() if moment is None else Panel(moment)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _json(told: Mapping[str, object]) -> str:
    return json.dumps(told, allow_nan=False)


def _live(panel: "Callable[[], RenderableType]") -> "Live | None":
    """What keeps the panel up to date; None if stderr is a terminal that cannot move its cursor."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if console.is_dumb_terminal or not console.is_terminal:
        return None
    return Live(console=console, transient=True, get_renderable=panel, refresh_per_second=_REFRESHES_PER_SECOND)


def _now_and_then(
    pace: Pace, clock: Callable[[], float], show: Callable[[Moment], None], first: float, every: float
) -> Progress:
    """Shows how it goes after `first` seconds, and then every so many, when it is told something."""
    due = clock() + first

    def tell(done: int, total: int, note: str, figures: Figures | None = None, /) -> None:
        nonlocal due
        pace.tell(done, total, note, figures)
        now = clock()
        if now >= due and (moment := pace.moment()) is not None:
            due = now + every
            show(moment)

    return tell


def _counts(counts: Mapping[str, int]) -> str:
    """Counts in words; `dropped_duplicate` is told as a reason behind `dropped`.

    >>> _counts({"kept": 5, "dropped": 2, "dropped_duplicate": 2})
    '5 kept, 2 dropped (2 duplicate)'
    """
    reasons = {name: n for name, n in counts.items() if name.startswith(("dropped_", "left_out_"))}
    told = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in counts.items() if name not in reasons)
    words = [
        f"{n:,} {name.removeprefix('dropped_').removeprefix('left_out_').replace('_', ' ')}"
        for name, n in reasons.items()
    ]
    left_out = "" if "dropped" in counts else ", left out"
    return f"{told}{left_out} ({', '.join(words)})" if words else told


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> None:
    """A table on stdout; columns whose cells are all numbers stand to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for number, head in enumerate(heads):
        numeric = all(not row[number].strip("0123456789,.% ") for row in rows)
        table.add_column(head, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    print_rich(table)


def print_side_by_side(panels: "Sequence[tuple[str, str]]") -> None:
    """Texts with titles, side by side where the terminal is wide enough."""
    from rich.columns import Columns
    from rich.panel import Panel
    from rich.text import Text

    width = _console().width
    each = width if width < 100 else width // 2 - 1
    print_rich(
        Columns(
            [Panel(Text(printable(text)), title=Text(printable(title)), width=each) for title, text in panels],
            padding=0,
        )
    )


def print_rich(what: "RenderableType") -> None:
    """Prints something of rich on stdout."""
    _console().print(what)


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def teacher_rows(teachers: "Sequence[TeacherStats]") -> list[list[str]]:
    """The rows of the table of teachers, under `TEACHER_HEADS`."""
    rows = []
    for teacher in teachers:
        rate, low, high = teacher["pass_rate"], teacher["pass_rate_low"], teacher["pass_rate_high"]
        quantiles = [teacher["tokens"][q] for q in ("p50", "p90", "p99")]
        rows.append([
            teacher["teacher"], teacher["style"], f"{teacher['traces']:,}", f"{teacher['right']:,}",
            f"{_percent(rate)} ({_percent(low)}-{_percent(high)})", _percent(teacher["truncated_rate"]),
            *("" if q is None else f"{q:,.0f}" for q in quantiles),
        ])  # fmt: skip
    return rows


TEACHER_HEADS = ("teacher", "style", "traces", "right", "pass rate (95%)", "cut", "p50", "p90", "p99")


def _percent(rate: float | None) -> str:
    return "n/a" if rate is None else f"{rate:.0%}"


def print_json(value: object) -> None:
    """One JSON object on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_pairs(pairs: Sequence[tuple[str, object]]) -> None:
    """Names and values, one a line; a dash stands for what there is not."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        print(f"{name:<{width}}  {'-' if value is None else printable(' '.join(str(value).split()))}")


def print_result(recipe: "Recipe", run: Run, result: Mapping[str, object], records: Sequence[StageRecord]) -> None:
    """What the stages made, as tables: counts for one, the whole picture for the whole street."""
    from mixdistill import show
    from mixdistill.tables import read_stats

    if not {"teachers", "mixes", "dataset"} & set(result):
        for record in records:
            print_counts(record.counts)
    if "teachers" in result:
        title = "Teachers (p50, p90, p99: tokens of a trace)"
        print_table(TEACHER_HEADS, teacher_rows(read_stats(run)["teachers"]), title=title)
    if "mixes" in result:
        print_table(show.MIX_HEADS, show.mix_rows(recipe, run), title="Mixes")
        for note in show.mix_notes(recipe, run):
            print(printable(note))
    if "dataset" in result:
        if len(records) > 1:
            print("Three rows of the dataset\n")
            print_side_by_side(show.example_rows(recipe, run))
        print(f"Dataset: {run.dataset}  (card: {run.dataset / 'README.md'})")


def print_counts(counts: Mapping[str, int]) -> None:
    """Counts as a table."""
    print_table(["what", "how many"], [[name.replace("_", " "), f"{n:,}"] for name, n in counts.items()])


def print_estimate(estimate: "Estimate", *, as_json: bool) -> None:
    """What the rest of a run will take, with intervals, and what may mislead."""
    from mixdistill.builders.pilot import describe

    if as_json:
        print_json(_plain_values(estimate))
        return
    heads = ["teacher", "requests", "tokens (95%)", "time (95%)", "USD (95%)"]
    print_table(heads, describe(estimate), title="What the rest will take")
    for note in estimate.notes:
        print(f"Note: {printable(note)}")


def _plain_values(value: object) -> object:
    """Named tuples as objects, all the way down."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain_values(part) for name, part in value._asdict().items()}
    return [_plain_values(part) for part in value] if isinstance(value, list | tuple) else value


def print_batches(files: "Sequence[BatchFile]", *, as_json: bool) -> None:
    """The batch files that were written."""
    if as_json:
        print_json([file._asdict() for file in files])
        return
    rows = [
        [str(file.path), file.teacher, file.model, f"{file.n_requests:,}", f"{file.n_bytes:,}"] for file in files
    ]
    print_table(["file", "teacher", "model", "requests", "bytes"], rows)


def print_verdicts(run: Run, *, audit: bool, examples: str | None) -> None:
    """What `verify` found: verdicts by teacher and rule, what the judge said, suspects, examples of a status."""
    from mixdistill import show

    counts = show.verdict_counts(run)
    print_table(*_verdict_table("teacher", counts["teacher"]), title="Verdicts by teacher")
    print_table(*_verdict_table("rule", counts["rule"]), title="By the rule that found the answer")
    said = show.judge_counts(run)
    if said:
        told = ", ".join(f"{n:,} {status}" for status, n in said.items())
        print(f"The judge about the undecided: {told} (counted nowhere)")
    suspects = show.suspects(run)
    if audit:
        _print_suspects(suspects)
    else:
        n = len({row["problem_id"] for row in suspects})
        print(f"References that look wrong: {n:,}" + ("  (--audit lists them)" if n else ""))
    if examples:
        _print_examples(examples, show.verdict_examples(run, examples))


def _verdict_table(what: str, counts: "Sequence[VerdictCounts]") -> tuple[list[str], list[list[str]]]:
    """Heads and rows: for each status how many traces, and how many loop, with their share of the row's traces."""
    there = {status for row in counts for status in row.statuses}
    statuses = [status for status in get_args(Status) if status in there]
    rows = []
    for row in counts:
        cells = [_with_share(row.statuses.get(status, 0), row.traces) for status in statuses]
        rows.append([row.name, f"{row.traces:,}", *cells, _with_share(row.looping, row.traces)])
    return [what, "traces", *(status.replace("_", " ") for status in statuses), "looping"], rows


def _with_share(n: int, of: int) -> str:
    return f"{n:,} {n / of:>6.1%}" if n else "0       "


def _print_suspects(suspects: Sequence[Mapping[str, object]]) -> None:
    kinds = Counter(str(row["kind"]).replace("_", " ") for row in suspects)
    told = ", ".join(f"{kind} {n:,}" for kind, n in kinds.items())
    n_problems = len({row["problem_id"] for row in suspects})
    print(f"References that look wrong: {n_problems:,}" + (f"  ({told})" if told else ""))
    for row in suspects:
        print()
        print_pairs([
            ("problem", f"{row['problem_id']}  {_first_line(str(row['problem']))}"),
            ("reference", row["reference"]), ("kind", str(row["kind"]).replace("_", " ")),
            ("instead", row["answer"]), ("evidence", row["evidence"]),
        ])  # fmt: skip


def _print_examples(status: str, examples: Sequence[Mapping[str, object]]) -> None:
    told = status.replace("_", " ")
    print(f"\nExamples: {told}" if examples else f"\nNo verdict is {told!r}.")
    for row in examples:
        judged = [("judge", row["judge_reason"])] if row["judge_reason"] else []
        print()
        print_pairs([
            ("problem", row["problem_id"]), ("teacher", f"{row['teacher']} #{row['sample']}"),
            ("reference", row["reference"]), ("found", row["answer"]), ("rule", row["rule"]),
            ("method", row["method"]), ("reason", row["reason"]), *judged,
        ])  # fmt: skip


def _first_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LINE_CHARS else f"{line[: _LINE_CHARS - 3]}..."


def print_plan(
    recipe: "Recipe", run: Run, stages: Sequence[str], *, as_json: bool, asking: "Asking | None" = None
) -> None:  # fmt: skip
    """For each stage whether it is finished or to do, and what it would ask or send."""
    from mixdistill import show
    from mixdistill.street import is_published

    plan = show.plan(recipe, run, list(stages), asking)
    if len(stages) > 1 and recipe.publish is not None:
        done = is_published(recipe, run) and all(row["state"] == "finished" for row in plan)
        what = f"to {recipe.publish.repo}" + ("" if done else "; asks first")
        plan.append({"stage": "publish", "state": "finished" if done else "to do", "what": what})
    if as_json:
        print_json({"run": str(run.folder), "plan": plan})
        return
    print_table(["stage", "state", "what"], [[row["stage"], row["state"], row["what"]] for row in plan])


def trace_title(trace: Mapping[str, object]) -> str:
    """Teacher, sample, style, status and length of a trace, in one line."""
    tokens = f", {trace['completion_tokens']} tokens" if trace["completion_tokens"] else ""
    return f"{trace['teacher']} #{trace['sample']} ({trace['style']}): {trace['status']}{tokens}"
