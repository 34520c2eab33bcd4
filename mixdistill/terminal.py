"""What a person sees: progress on stderr, results as short tables on stdout.

Progress is a bar on a terminal and a plain line every ten seconds elsewhere. Text of models and datasets is
printed as it is but for control characters, so that it cannot move the cursor or colour the screen.
"""

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, get_args

from mixdistill.records import Status
from mixdistill.run import Progress, Run, StageRecord

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from mixdistill.recipe import Recipe
    from mixdistill.show import VerdictCounts
    from mixdistill.tables import TeacherStats

_PLAIN_SECONDS = 10.0
_LINE_CHARS = 90
# Control characters but tab and newline, and those that turn the direction of writing.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Reporter:
    """Shows progress while its block runs; `reporter(stage)` gives the callback for a stage."""

    def __init__(self) -> None:
        self._bars: Bars | None = None

    def __enter__(self) -> "Reporter":
        if sys.stderr.isatty():
            self._bars = _bars()
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, stage: str) -> Progress:
        """The callback that shows the progress of a stage; nothing shows before it is first called."""
        return _plain(stage) if self._bars is None else _bar(self._bars, stage)

    def done(self, record: StageRecord) -> None:
        """One line for a stage that is done."""
        told = "nothing to do" if record.skipped else f"{record.seconds:.1f} s"
        line = f"{record.stage:<9} {_told(record.counts)}  ({told})"
        if self._bars is not None:
            self._bars.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)


def _told(counts: Mapping[str, int]) -> str:
    """Counts in words; `dropped_duplicate` is told as a reason behind `dropped`.

    >>> _told({"kept": 5, "dropped": 2, "dropped_duplicate": 2})
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


def _bars() -> "Bars":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    return Bars(
        TextColumn("{task.description:<9}"), BarColumn(bar_width=24), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip


def _bar(bars: "Bars", stage: str) -> Progress:
    task: TaskID | None = None
    started = time.monotonic()

    def show(done: int, total: int, note: str) -> None:
        nonlocal task
        if task is None:
            task = bars.add_task(stage, total=total, note="")
        bars.update(task, completed=done, total=total, note=_with_rate(note, done, started))
        if done >= total:
            bars.remove_task(task)
            task = None

    return show


def _plain(stage: str) -> Progress:
    started = shown = time.monotonic()

    def show(done: int, total: int, note: str) -> None:
        nonlocal shown
        if time.monotonic() - shown >= _PLAIN_SECONDS:
            shown = time.monotonic()
            line = f"{stage:<9} {done:,} of {total:,}, {_with_rate(note, done, started)}"
            print(line, file=sys.stderr, flush=True)

    return show


def _with_rate(note: str, done: int, started: float) -> str:
    rate = f"{done / max(time.monotonic() - started, 1e-3):,.1f}/s"
    return f"{rate}, {note}" if note else rate


def printable(text: str) -> str:
    """The text without characters that a terminal obeys instead of printing; a mark stands in their place.

    >>> printable("a" + chr(27) + "[2Jb")
    'a\N{REPLACEMENT CHARACTER}[2Jb'
    """
    return _OBEYED.sub("\N{REPLACEMENT CHARACTER}", text)


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
            teacher["teacher"], teacher["style"], f"{teacher['traces']:,}", f"{teacher['correct']:,}",
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
        counts = [[name.replace("_", " "), f"{n:,}"] for record in records for name, n in record.counts.items()]
        print_table(["what", "how many"], counts)
    if "teachers" in result:
        title = "Teachers (p50, p90, p99: tokens of a trace)"
        print_table(TEACHER_HEADS, teacher_rows(read_stats(run)["teachers"]), title=title)
    if "mixes" in result:
        print_table(["mix", "rows", "shares", "tokens"], show.mix_rows(recipe, run), title="Mixes")
    if "dataset" in result:
        if len(records) > 1:
            print("Three rows of the dataset\n")
            print_side_by_side(show.example_rows(recipe, run))
        print(f"Dataset: {run.dataset}  (card: {run.dataset / 'README.md'})")


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
    """Heads and rows: for each status how many traces, and their share of the row's traces."""
    there = {status for row in counts for status in row.statuses}
    statuses = [status for status in get_args(Status) if status in there]
    rows = []
    for row in counts:
        cells = [_with_share(row.statuses.get(status, 0), row.traces) for status in statuses]
        rows.append([row.name, f"{row.traces:,}", *cells])
    return [what, "traces", *(status.replace("_", " ") for status in statuses)], rows


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


def print_plan(recipe: "Recipe", run: Run, stages: Sequence[str], *, as_json: bool) -> None:
    """For each stage whether it is finished or to do, and what it would ask or send."""
    from mixdistill import show
    from mixdistill.street import is_published

    plan = show.plan(recipe, run, list(stages))
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
