"""`benchmarks/verify.py` as a user calls it, on small corpora made here."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "verify.py"
PAIRS = [
    {"gold": "1/2", "prediction": "0.5", "label": True, "form": "bare"},
    {"gold": "3", "prediction": "4", "label": False, "form": "bare"},
    {"gold": "7", "prediction": "8", "label": True, "form": "bare"},
    {"gold": "7", "prediction": "7", "label": False, "form": "bare"},
    {"gold": "12", "prediction": "So the answer is 12.", "label": True, "form": "text"},
]
RESPONSES = [
    {"problem": "What is 6 times 7?", "gold": "42", "response": r"It is \boxed{42}.", "label": True},
    {"problem": "What is 6 times 8?", "gold": "48", "response": r"It is \boxed{42}.", "label": False},
]


@pytest.fixture
def corpora(tmp_path: Path) -> list[str]:
    """A corpus in each of the two formats."""
    paths = []
    for source, rows in (("made_pairs", PAIRS), ("made_responses", RESPONSES)):
        path = tmp_path / f"{source}.jsonl"
        named = [{"id": f"{source}-{n}", "source": source, **row} for n, row in enumerate(rows)]
        path.write_text("".join(json.dumps(row) + "\n" for row in named), encoding="utf-8")
        paths.append(str(path))
    return paths


def benchmark(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=120)


def test_false_correct_and_missed_are_counted_by_source(corpora: list[str], tmp_path: Path) -> None:
    done = benchmark(*corpora, "--json", "--misses", str(tmp_path / "misses.jsonl"))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    ours = report["score"]["made_pairs"]["ours"]
    assert (ours["n"], ours["accuracy"], ours["false_correct"], ours["missed"]) == (5, 0.6, 1, 1)
    assert ours["statuses"] == {"correct": 3, "incorrect": 2}
    assert report["score"]["all responses"]["ours"]["accuracy"] == 1.0
    assert report["speed"]["all responses"]["ours"]["n"] == 2
    lines = (tmp_path / "misses.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["made_pairs-2", "made_pairs-3"]


def test_the_tables_name_every_source_and_a_limit_is_per_source(corpora: list[str]) -> None:
    done = benchmark(*corpora, "--limit", "1")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:5] for line in done.stdout.splitlines() if line.strip()}
    assert rows["made_pairs"][:3] == ["ours", "correct", "1"]
    assert rows["made_responses"][:3] == ["ours", "correct", "1"]


@pytest.mark.skipif(importlib.util.find_spec("math_verify") is None, reason="needs the extra bench")
def test_math_verify_is_measured_in_the_same_run(corpora: list[str]) -> None:
    done = benchmark(*corpora, "--against", "math-verify", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    theirs = report["score"]["all answer pairs"]["math-verify"]
    assert (theirs["n"], theirs["false_correct"], theirs["missed"]) == (5, 1, 1)
    assert report["speed"]["all responses"]["math-verify"]["verdicts_per_cpu_second"] > 0


def test_without_a_corpus_there_is_nothing_to_measure() -> None:
    done = benchmark()
    assert done.returncode == 2
    assert "name a corpus, or --adversarial" in done.stderr
