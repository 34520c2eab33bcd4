"""`benchmarks/mix.py` as a user calls it, with sizes that take seconds."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "mix.py"


def benchmark(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=300)


def test_it_tells_time_memory_and_how_time_grows() -> None:
    done = benchmark("--scale", "4000", "--json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["both"][1] == "60 s"
    assert report["peak of memory"][0].endswith(" GB")
    rows = dict(part.rsplit(" ", 1) for part in report["rows"][0].split(", "))
    assert list(rows) == ["long", "short", "mix-long", "half"]
    assert len(set(rows.values())) == 1 and 800 < int(rows["long"]) < 1000


def test_both_sides_do_the_work() -> None:
    done = benchmark("--against-datasets", "2000", "--json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == ["mixdistill", "datasets", "times as fast"]
    assert float(report["times as fast"][0]) > 0


def test_it_says_what_it_can_measure() -> None:
    done = benchmark()

    assert done.returncode == 2
    assert "name one of --scale N, --against-datasets N" in done.stderr
