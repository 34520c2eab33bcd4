"""The audit of decontamination: what it finds of altered copies, and what it flags that is unrelated."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import no_progress

from mixdistill.builders.alterations import ALTERATIONS
from mixdistill.builders.benchmarks import BenchmarkProblem, read_benchmarks
from mixdistill.builders.contamination import Contamination
from mixdistill.builders.decontamination_audit import Audit, audit_decontamination
from mixdistill.builders.similarity import Text
from mixdistill.decontamination import Benchmark, Decontaminate
from mixdistill.errors import RecipeError
from mixdistill.recipe_file import load_recipe

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
BENCHMARKS = [DATA / "benchmarks" / f"{name}.jsonl" for name in ("math-500", "aime24", "amc23", "olympiadbench")]
with_data = pytest.mark.skipif(not DATA.is_dir(), reason="the data is not here")

LANTERN = (
    r"Alice hangs $15$ lanterns on a rope that is $\frac{7}{2}$ metres long. Suppose the distance between two "
    r"neighbours is the same everywhere, and each lantern is $10$ cm wide. Find the length of rope that is free."
)
TANK = "What is the smallest number of buckets of 8 litres and of 5 litres that fill a tank of 83 litres exactly?"
SHORT = r"Simplify $\sqrt{72}$."


def altered(kind: str, text: str) -> str | None:
    return ALTERATIONS[kind](text, random.Random(1))


def test_copies_are_altered_as_they_say() -> None:
    numbers = re.findall(r"\d+", LANTERN)

    assert altered("verbatim", LANTERN) == LANTERN
    assert (altered("whitespace", LANTERN) or "").split() == LANTERN.split()
    assert altered("whitespace", LANTERN) != LANTERN
    assert r"\(\dfrac{7}{2}\)" in (altered("latex", LANTERN) or "").replace(r"\tfrac", r"\dfrac")
    assert [
        a == b for a, b in zip(re.findall(r"\d+", altered("renumbered", LANTERN) or ""), numbers, strict=True)
    ] == [False] * 4
    assert Text(altered("renumbered", LANTERN) or "").shape == Text(LANTERN).shape
    assert "Maya" in (altered("reworded", LANTERN) or "")
    assert LANTERN.startswith(altered("truncated", LANTERN) or "-")


@pytest.mark.parametrize(
    ("kind", "text"),
    [("latex", TANK), ("renumbered", "No number here."), ("reworded", "Nothing."), ("truncated", SHORT)],
)
def test_what_cannot_be_altered_is_no_copy(kind: str, text: str) -> None:
    assert altered(kind, text) is None


@pytest.fixture
def recipe_path(tmp_path: Path) -> Path:
    """A recipe with two benchmarks of our own and problems of which one is a copy."""
    rows: list[dict[str, object]] = [{"problem": f"{LANTERN} And 1 more?", "answer": "1"}]
    rows += [{"problem": f"How many days have {n} weeks?", "answer": "7"} for n in range(2, 9)]
    files: dict[str, list[dict[str, object]]] = {
        "p.jsonl": rows, "a.jsonl": [{"problem": LANTERN}, {"problem": SHORT}], "b.jsonl": [{"question": TANK}],
        "recipe.yaml": [{
            "name": "r", "problems": [{"file": "p.jsonl"}],
            "decontaminate": {"against": [{"file": "a.jsonl"}, {"file": "b.jsonl"}]},
            "teachers": {"t": {"engine": "dataset", "file": "p.jsonl", "style": "long"}}, "mixes": {"m": {"t": 1}},
        }],
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return tmp_path / "recipe.yaml"


def audited(path: Path, *settings: str) -> Audit:
    return audit_decontamination(load_recipe(str(path), settings), no_progress)


def test_recall_is_counted_by_kind(recipe_path: Path) -> None:
    audit = audited(recipe_path)

    assert (audit.problems, audit.benchmark_problems, audit.contaminated) == (8, 3, 1)
    assert {finding.kind: (finding.found, finding.n) for finding in audit.recall} == {
        "verbatim": (3, 3), "whitespace": (3, 3), "latex": (2, 2), "renumbered": (2, 3), "reworded": (2, 3),
        "truncated": (2, 2),
    }  # fmt: skip
    renumbered = audit.recall[3]
    assert renumbered.rate == pytest.approx(2 / 3)
    assert (renumbered.low, renumbered.high) == pytest.approx((0.2077, 0.9385), abs=1e-3)
    assert renumbered.by_test == {"renumbered": 2}
    assert [re.sub(r"\d+", "#", example) for example in renumbered.examples] == [r"a #: Simplify $\sqrt{#}$."]


def test_unrelated_problems_are_held_against_the_other_benchmarks(recipe_path: Path) -> None:
    clean = audited(recipe_path).false_positives
    (recipe_path.parent / "b.jsonl").write_text(json.dumps({"question": LANTERN.upper()}) + "\n", encoding="utf-8")
    overlapping = audited(recipe_path).false_positives

    assert [(finding.kind, finding.found) for finding in clean] == [("a", 0), ("b", 0), ("reasoning-gym", 0)]
    assert clean[2].n > 1000
    assert [(finding.kind, finding.n, finding.found) for finding in overlapping[:2]] == [("a", 2, 1), ("b", 1, 1)]
    assert overlapping[1].examples[0].startswith("ALICE HANGS")


def test_the_same_seed_gives_the_same_audit(recipe_path: Path) -> None:
    assert audited(recipe_path) == audited(recipe_path)


def test_the_command_prints_the_audit_and_writes_nothing(recipe_path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mixdistill", "problems", str(recipe_path), "--audit-decontamination"]
    before = sorted(tmp_path.iterdir())

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    as_json = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=120)

    assert (done.returncode, as_json.returncode) == (0, 0), done.stderr + as_json.stderr
    assert "3 benchmark problems, 8 of the recipe, 1 of these contaminated." in done.stdout
    assert re.search(r"renumbered +3 +2 +66\.7% +20\.8% to 93\.9% +renumbered 2", done.stdout)
    told = json.loads(as_json.stdout)
    assert [finding["kind"] for finding in told["recall"]] == list(ALTERATIONS)
    assert told["recall"][3]["found"] == 2
    assert sorted(tmp_path.iterdir()) == before


def test_an_audit_without_a_benchmark_is_refused(recipe_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"decontaminate\.against names no benchmark; try --set"):
        audited(recipe_path, "decontaminate.against=[]")


@pytest.fixture(scope="module")
def benchmark_problems() -> list[BenchmarkProblem]:
    return read_benchmarks([Benchmark(file=path) for path in BENCHMARKS])


@with_data
def test_real_benchmarks_are_found_in_altered_copies(benchmark_problems: list[BenchmarkProblem]) -> None:
    contamination = Contamination(benchmark_problems, Decontaminate())
    recall = {}
    for kind, alter in ALTERATIONS.items():
        sample = benchmark_problems[::3]
        copies = [(of, alter(of.text, random.Random(n))) for n, of in enumerate(sample)]
        found = [
            any(hit.problem is of for hit in contamination.hits(text)) for of, text in copies if text is not None
        ]
        recall[kind] = sum(found) / len(found)

    assert len(benchmark_problems) == 1245
    assert recall["verbatim"] == 1.0
    assert min(recall["whitespace"], recall["latex"]) >= 0.99
    assert recall["renumbered"] >= 0.96
    assert recall["truncated"] >= 0.97
    assert recall["reworded"] >= 0.85


@with_data
def test_real_problems_that_are_unrelated_are_not_flagged(benchmark_problems: list[BenchmarkProblem]) -> None:
    contamination = Contamination(benchmark_problems, Decontaminate())
    rows = (DATA / "gsm8k_teachers.jsonl").read_text(encoding="utf-8").splitlines()
    problems = sorted({json.loads(row)["problem"] for row in rows})

    assert len(problems) == 1319
    assert [problem for problem in problems if contamination.hits(problem)] == []
