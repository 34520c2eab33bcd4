"""`benchmarks/generate.py` as a user calls it, with sizes that take seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "generate.py"


def benchmark(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores to pin to"
)
def test_all_clients_take_turns_on_one_server() -> None:
    done = benchmark("--client", "--requests", "100", "--rounds", "2", "--concurrency", "20", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == ["mixdistill", "raw", "aiohttp"]
    assert [len(side["per_second"]) for side in report.values()] == [2, 2, 2]
    assert report["mixdistill"]["n"] == 100
    assert report["aiohttp"]["goal"] == 0.7
    assert report["aiohttp"]["ratios"]["per_second"] > 0


def test_after_five_kills_every_key_is_there_once_and_none_was_asked_again() -> None:
    done = benchmark("--kill", "--requests", "200", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    report = json.loads(done.stdout)
    assert (report["n"], report["kills"], len(report["good_at_kill"])) == (200, 5, 5)
    assert (report["asked_again"], report["duplicates"], report["missing"]) == (0, 0, 0)
    assert report["keys_once"] + report["errors_left"] == 200
    assert sum(report["faulty"].values()) > 30


def test_nothing_is_asked_when_all_is_there_known_or_not() -> None:
    done = benchmark("--resume", "120", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if "500 MB" in line]
    assert [row[:2] for row in rows] == [["does", "not"], ["knows", "of"]]
    assert "120 traces are there" in done.stdout


def test_it_says_what_it_can_measure() -> None:
    done = benchmark()
    assert done.returncode == 2
    assert "name one of --client, --libraries, --kill, --resume N" in done.stderr
