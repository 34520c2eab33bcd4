r"""Measures the verifier: accuracy and speed by source beside math-verify, scaling, poison, attacks.

    python benchmarks/verify.py CORPUS.jsonl... --against math-verify
    python benchmarks/verify.py CORPUS.jsonl... --cores
    python benchmarks/verify.py CORPUS.jsonl... --poison
    python benchmarks/verify.py --adversarial

A corpus is JSON lines in one of two formats, told apart by the columns: answer pairs (gold, prediction, label,
form `bare` or `text`) and responses (problem, gold, response, label); both with id and source.
math-verify comes with `pip install 'mixdistill[bench]'`.
"""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import click
from load import run_attacks, run_on_cores, run_poisoned
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sides import Limits, Measured, Row, Run, load_rows, run_math_verify, run_ours, run_start

from mixdistill.records import Leniency
from mixdistill.verifiers.workers import MEMORY_LIMIT_BYTES

# Of a text, what a line of the misses shows.
_SHOWN_CHARACTERS = 300
_MEGABYTE = 1 << 20

Report = dict[str, object]
"What `--json` prints; the tables show the same."


class Score(NamedTuple):
    """How one verifier did on some rows."""

    n: int
    accuracy: float
    false_correct: int
    missed: int
    statuses: dict[str, int]
    verdicts_per_second: float
    "Of the time that its verdicts say they took."


class Speed(NamedTuple):
    """How fast one verifier was on all rows of a kind."""

    n: int
    cpu_seconds: float
    wall_seconds: float
    verdicts_per_cpu_second: float
    verdicts_per_wall_second: float


@click.command()
@click.argument("corpora", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--against", type=click.Choice(["math-verify"]), help="Measure this verifier too, in the same run.")
@click.option("--limit", type=click.IntRange(min=1), help="Rows of each source.  [default: all]")
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Of ours.")
@click.option("--timeout", default=5.0, show_default=True, help="Seconds for one verdict of ours.")
@click.option("--leniency", type=click.Choice(get_args(Leniency)), default="default", show_default=True)
@click.option("--misses", type=click.Path(path_type=Path), help="Write the wrong verdicts here, as JSON lines.")
@click.option("--cores", is_flag=True, help="Wall-clock throughput on one core and on two; takes minutes.")
@click.option("--poison", is_flag=True, help="Throughput of 10,000 cases with 1% poison and without.")
@click.option("--adversarial", is_flag=True, help="Run each attack alone; exit 1 if one does harm.")
@click.option("--seed", default=0, show_default=True, help="Of the draw of --poison.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(
    corpora: tuple[Path, ...],
    against: str | None,
    limit: int | None,
    processes: int,
    timeout: float,
    leniency: Leniency,
    misses: Path | None,
    cores: bool,
    poison: bool,
    adversarial: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Measure the verifier on CORPORA of labelled answers."""
    limits = Limits(leniency, timeout, processes)
    if not corpora and not adversarial:
        raise click.UsageError("name a corpus, or --adversarial")
    rows = load_rows(corpora, limit)
    console = Console(highlight=False, quiet=as_json, width=None if sys.stdout.isatty() else 160)
    with tempfile.TemporaryDirectory() as folder:
        trap = Path(folder) / "executed"
        if adversarial:
            report = _report_attacks(console, limits, trap)
        elif poison:
            report = _report_poison(console, rows, limits, seed, trap)
        elif cores:
            report = _report_cores(console, rows, limits)
        else:
            report = _report_accuracy(console, rows, limits, against is not None, misses)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
    if report.get("faults"):
        raise SystemExit(1)


def _report_accuracy(
    console: Console, rows: Sequence[Row], limits: Limits, against: bool, misses: Path | None
) -> Report:
    kinds = {"all answer pairs": ("pair", "text"), "all responses": ("response",)}
    speeds: dict[str, dict[str, Speed]] = {}
    scores: dict[str, dict[str, Score]] = {}
    missed: list[str] = []
    start = run_start(limits)
    for kind, forms in kinds.items():
        group = [row for row in rows if row.form in forms]
        if not group:
            continue
        runs = {"ours": run_ours(group, limits)} | ({"math-verify": run_math_verify(group)} if against else {})
        speeds[kind] = {name: _speed(run) for name, run in runs.items()}
        for source in [*dict.fromkeys(row.source for row in group), kind]:
            scores[source] = {name: _score(group, run, source) for name, run in runs.items()}
        missed += _misses(group, runs)
    _print_scores(console, scores)
    _print_speeds(console, speeds, start)
    if misses:
        misses.write_text("".join(missed), encoding="utf-8")
    return {
        "start": start._asdict(),
        "speed": {kind: {name: side._asdict() for name, side in sides.items()} for kind, sides in speeds.items()},
        "score": {
            place: {name: side._asdict() for name, side in sides.items()} for place, sides in scores.items()
        },
    }


def _speed(run: Run) -> Speed:
    n = len(run.verdicts)
    return Speed(n, *run.time, n / max(run.time.cpu_seconds, 1e-9), n / max(run.time.wall_seconds, 1e-9))


def _score(rows: Sequence[Row], run: Run, source: str) -> Score:
    judged = list(zip(rows, run.verdicts, strict=True))
    if source in {row.source for row in rows}:
        judged = [(row, verdict) for row, verdict in judged if row.source == source]
    said = Counter((row.label, verdict.status == "correct") for row, verdict in judged)
    seconds = sum(verdict.seconds for _, verdict in judged)
    return Score(
        n=len(judged),
        accuracy=(said[True, True] + said[False, False]) / len(judged),
        false_correct=said[False, True],
        missed=said[True, False],
        statuses=dict(Counter(verdict.status for _, verdict in judged).most_common()),
        verdicts_per_second=len(judged) / max(seconds, 1e-9),
    )


def _misses(rows: Sequence[Row], runs: dict[str, Run]) -> list[str]:
    lines = []
    for place, row in enumerate(rows):
        verdicts = {name: run.verdicts[place] for name, run in runs.items()}
        if all((verdict.status == "correct") == row.label for verdict in verdicts.values()):
            continue
        shown = {"id": row.id, "source": row.source, "label": row.label, "gold": row.gold}
        shown["text"] = row.text[-_SHOWN_CHARACTERS:]
        lines.append(json.dumps(shown | {name: verdict[:2] for name, verdict in verdicts.items()}) + "\n")
    return lines


def _print_scores(console: Console, scores: dict[str, dict[str, Score]]) -> None:
    table = _table(
        "Verdicts", "source", "verifier", "n", "accuracy %", "false correct", "missed", "verdicts/s", "ratio"
    )
    counts = _table("Statuses", "source", "verifier", "n by status")
    for source, sides in scores.items():
        for name, side in sides.items():
            ratio = sides["ours"].verdicts_per_second / side.verdicts_per_second
            table.add_row(
                source,
                name,
                f"{side.n:,}",
                f"{100 * side.accuracy:.2f}",
                f"{side.false_correct:,}",
                f"{side.missed:,}",
                f"{side.verdicts_per_second:,.0f}",
                "" if name == "ours" else f"{ratio:.1f}",
            )
            shares = ", ".join(f"{status} {n:,}" for status, n in side.statuses.items())
            counts.add_row(source, name, shares)
    console.print(table)
    console.print("verdicts/s: per second that the verdicts themselves took; ratio: ours to theirs")
    console.print(counts)


def _print_speeds(console: Console, speeds: dict[str, dict[str, Speed]], start: Measured) -> None:
    table = _table("Speed", "kind", "verifier", "n", "CPU s", "wall s", "per CPU-s", "per wall-s", "CPU ratio")
    for kind, sides in speeds.items():
        for name, side in sides.items():
            ratio = sides["ours"].verdicts_per_cpu_second / side.verdicts_per_cpu_second
            table.add_row(
                kind,
                name,
                f"{side.n:,}",
                f"{side.cpu_seconds:.2f}",
                f"{side.wall_seconds:.2f}",
                f"{side.verdicts_per_cpu_second:,.0f}",
                f"{side.verdicts_per_wall_second:,.0f}",
                "" if name == "ours" else f"{ratio:.1f}",
            )
    console.print(table)
    console.print(
        f"Ours includes starting its workers: {start.cpu_seconds:.2f} CPU-seconds for each that is needed; "
        "math-verify is imported and warm."
    )


def _report_cores(console: Console, rows: Sequence[Row], limits: Limits) -> Report:
    scalings = run_on_cores(rows, limits)
    columns = ("kind", "n", "one core", "two cores", "two / one", "other programs", "all rounds", "start s")
    table = _table("Verdicts per second of wall clock", *columns)
    for kind, scaling in scalings.items():
        quietest = scaling.quietest
        table.add_row(
            kind,
            f"{scaling.n:,}",
            f"{quietest.one:,.0f}",
            f"{quietest.two:,.0f}",
            f"{quietest.ratio:.2f}",
            f"{quietest.others:.2f}",
            ", ".join(f"{each.ratio:.2f} ({each.others:.2f})" for each in scaling.rounds),
            ", ".join(f"{seconds:.2f}" for seconds in scaling.start_seconds),
        )
    console.print(table)
    console.print(
        "Of the round in which other programs used the least; (cores they used). Starting the workers is part of "
        "every run; start s: from nothing to the first verdict by algebra, on one core and on two."
    )
    return {
        kind: {
            "n": scaling.n,
            "ratio": scaling.quietest.ratio,
            "rounds": [each._asdict() for each in scaling.rounds],
            "start_seconds": scaling.start_seconds,
        }
        for kind, scaling in scalings.items()
    }


def _report_poison(console: Console, rows: Sequence[Row], limits: Limits, seed: int, trap: Path) -> Report:
    poisoned = run_poisoned(rows, limits, seed=seed, trap=trap)
    table = _table("10,000 mixed cases", "", "wall s", "CPU s")
    for name, side in (("without poison", poisoned.clean), ("with 1% poison", poisoned.poisoned)):
        table.add_row(name, f"{side.wall_seconds:.2f}", f"{side.cpu_seconds:.2f}")
    console.print(table)
    console.print(f"throughput with poison / without: {poisoned.ratio:.2f}")
    console.print(f"the poison: {', '.join(f'{status} {n}' for status, n in poisoned.statuses.items())}")
    console.print(f"time limits used up, which count in full: {poisoned.timeout_seconds:g} s")
    for name in poisoned.wrong:
        console.print(f"wrong status: {name}", markup=False)
    return {
        "ratio": poisoned.ratio,
        "clean": poisoned.clean._asdict(),
        "poisoned": poisoned.poisoned._asdict(),
        "statuses": poisoned.statuses,
        "timeout_seconds": poisoned.timeout_seconds,
        "faults": poisoned.wrong,
    }


def _report_attacks(console: Console, limits: Limits, trap: Path) -> Report:
    table = _table("Attacks", "name", "s", "MB here", "MB worker", "status", "faults")
    done = list(run_attacks(limits, trap))
    for attacked in done:
        memory = (f"{attacked.own_bytes / _MEGABYTE:,.0f}", f"{attacked.worker_bytes / _MEGABYTE:,.0f}")
        cells = (f"{attacked.wall_seconds:.3f}", *memory, attacked.status, "; ".join(attacked.faults))
        table.add_row(escape(attacked.attack.name), *cells)
    console.print(table)
    faulty = [attacked for attacked in done if attacked.faults]
    slowest = max(done, key=lambda attacked: attacked.wall_seconds)
    console.print(
        f"{len(done):,} attacks, {len(faulty):,} with faults; slowest {slowest.wall_seconds:.2f} s, most memory "
        f"{max(a.own_bytes for a in done) / _MEGABYTE:,.0f} MB here and "
        f"{max(a.worker_bytes for a in done) / _MEGABYTE:,.0f} MB in the worker, whose limit is "
        f"{MEMORY_LIMIT_BYTES / _MEGABYTE:,.0f} MB"
    )
    for attacked in faulty:
        text = f"{attacked.attack.name}: {'; '.join(attacked.faults)}: {attacked.reason}"
        console.print(text, markup=False, style="red")
    return {
        "attacks": [
            {
                "name": attacked.attack.name,
                "kind": attacked.attack.kind,
                "status": attacked.status,
                "seconds": attacked.wall_seconds,
                "own_bytes": attacked.own_bytes,
                "worker_bytes": attacked.worker_bytes,
                "faults": attacked.faults,
            }
            for attacked in done
        ],
        "faults": [attacked.attack.name for attacked in faulty],
    }


def _table(title: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    texts = ("source", "kind", "verifier", "name", "status", "faults", "n by status", "")
    for column in columns:
        table.add_column(column, justify="left" if column in texts else "right", overflow="fold")
    return table


if __name__ == "__main__":
    main()
