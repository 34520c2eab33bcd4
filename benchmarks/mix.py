r"""Measures mixes: a million traces through stats and four mixes, and the same work beside `datasets`.

    python benchmarks/mix.py --scale 1000000
    python benchmarks/mix.py --against-datasets 100000

The traces are made up, about 2 KB each, four a problem, of two teachers. `--scale` also runs a tenth of them, and
says how time grows. Each side runs in a process of its own; memory is that process's peak. What decontamination
finds is measured by `mixdistill problems --audit-decontamination`.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TypedDict

import click
import numpy as np  # noqa: F401  what both sides import at first use, so that neither is timed with it
import polars as pl  # noqa: F401
import pyarrow.parquet as pq  # noqa: F401
from rich import box
from rich.console import Console
from rich.table import Table
from synthetic_run import write_run

from mixdistill.builders.mix import build_mixes
from mixdistill.builders.stats import compute_stats
from mixdistill.recipe import Recipe
from mixdistill.run import Run

_SECONDS_GOAL, _BYTES_GOAL, _GROWTH_GOAL = 60.0, 3_000_000_000, 12.0
_AGAINST_DATASETS_GOAL = 10.0
_MIXES = {
    "long": {"long": 1.0},
    "short": {"short": 1.0},
    "mix-long": {"long": 0.2, "short": 0.8},
    "half": {"long": 0.5, "short": 0.5},
}


class Figures(TypedDict):
    """What one side took."""

    seconds: float
    stats_seconds: float
    mix_seconds: float
    peak_bytes: int
    rows: dict[str, int]


@click.command()
@click.option("--scale", type=click.IntRange(min=1000), metavar="N", help="Stats and four mixes of N traces.")
@click.option("--against-datasets", type=click.IntRange(min=1000), metavar="N",
              help="The same of N traces, beside the same work written with datasets.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--side", type=click.Choice(["mixdistill", "datasets"]), hidden=True)
@click.option("--folder", type=click.Path(path_type=Path), hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(
    scale: int | None, against_datasets: int | None, rounds: int, side: str | None, folder: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure stats and mixes; one of --scale N and --against-datasets N."""
    if side is not None and folder is not None:
        print(json.dumps(_side(side, folder)))
        return
    if (scale is None) == (against_datasets is None):
        raise click.UsageError("name one of --scale N, --against-datasets N")
    with tempfile.TemporaryDirectory() as scratch:
        if scale is not None:
            report = _scale(scale, rounds, Path(scratch))
        else:
            report = _against_datasets(against_datasets or 0, rounds, Path(scratch))
    if as_json:
        print(json.dumps(report, indent=2))
        return
    table = Table("what", "figure", "goal", box=box.SIMPLE_HEAD)
    for name, (figure, goal) in report.items():
        table.add_row(name, figure, goal)
    Console(width=110).print(table)


def _scale(n: int, rounds: int, scratch: Path) -> dict[str, tuple[str, str]]:
    """Times of n traces and of a tenth of them, the best round of each."""
    best = {}
    for size in (n // 10, n):
        write_run(scratch / "run", size)
        best[size] = min((_measure("mixdistill", scratch / "run") for _ in range(rounds)), key=_seconds)
        shutil.rmtree(scratch / "run")
    large, growth = best[n], best[n]["seconds"] / best[n // 10]["seconds"]
    return {
        f"stats of {n:,} traces": (f"{large['stats_seconds']:.1f} s", ""),
        "four mixes of them": (f"{large['mix_seconds']:.1f} s", ""),
        "both": (f"{large['seconds']:.1f} s", f"{_SECONDS_GOAL:.0f} s"),
        "peak of memory": (f"{large['peak_bytes'] / 1e9:.2f} GB", f"{_BYTES_GOAL / 1e9:.0f} GB"),
        f"time against a tenth ({best[n // 10]['seconds']:.1f} s)": (f"{growth:.1f}", f"{_GROWTH_GOAL:.0f}"),
        "rows": (", ".join(f"{name} {rows:,}" for name, rows in large["rows"].items()), ""),
    }


def _against_datasets(n: int, rounds: int, scratch: Path) -> dict[str, tuple[str, str]]:
    """Both sides take turns on the same run."""
    write_run(scratch / "run", n)
    sides: dict[str, list[Figures]] = {"mixdistill": [], "datasets": []}
    for _ in range(rounds):
        for side, figures in sides.items():
            figures.append(_measure(side, scratch / "run"))
    best = {side: min(figures, key=_seconds) for side, figures in sides.items()}
    ratio = best["datasets"]["seconds"] / best["mixdistill"]["seconds"]
    told = {
        side: (f"{each['seconds']:.1f} s, {each['peak_bytes'] / 1e9:.2f} GB", "") for side, each in best.items()
    }
    return {**told, "times as fast": (f"{ratio:.1f}", f"{_AGAINST_DATASETS_GOAL:.0f}")}


def _seconds(figures: Figures) -> float:
    return figures["seconds"]


def _measure(side: str, folder: Path) -> Figures:
    """Runs one side in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def _side(side: str, folder: Path) -> Figures:
    if side == "datasets":
        from mix_datasets import run as run_datasets

        seconds = run_datasets(folder)
        return {"seconds": seconds, "stats_seconds": 0, "mix_seconds": 0, "peak_bytes": _peak(), "rows": {}}
    teachers = {
        style: {"engine": "dataset", "file": "traces.jsonl", "style": style} for style in ("long", "short")
    }
    recipe = Recipe.model_validate({
        "name": "synthetic",
        "problems": [{"file": "problems.jsonl"}],
        "teachers": teachers,
        "mixes": _MIXES,
    })  # fmt: skip
    run, started = Run(folder), time.monotonic()
    compute_stats(recipe, run)
    between = time.monotonic()
    rows = build_mixes(recipe, run, lambda done, total, note, figures=None, /: None)
    ended = time.monotonic()
    return {
        "seconds": ended - started, "stats_seconds": between - started, "mix_seconds": ended - between,
        "peak_bytes": _peak(), "rows": rows,
    }  # fmt: skip


def _peak() -> int:
    """Peak of the memory of this process and of those that it started, as far as they ended."""
    kilobytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kilobytes * 1024


if __name__ == "__main__":
    main()
