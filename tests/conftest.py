"""What all tests share: a loopback Hub in place of the real one, small recipes, runs made of them.

The Hub's clients read their environment when they are imported, so the server starts here, before any test
module is imported. No test leaves this machine.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub, hub_environment

from mixdistill.recipe import Recipe
from mixdistill.recipe_file import load_recipe
from mixdistill.run import Figures, Run
from mixdistill.street import walk

_HUB = LoopbackHub()
_HOME = tempfile.TemporaryDirectory(prefix="mixdistill-tests-")


def pytest_configure() -> None:
    _HUB.start()
    os.environ |= hub_environment(_HUB.url, Path(_HOME.name), None)


def pytest_unconfigure() -> None:
    _HUB.stop()
    _HOME.cleanup()


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    """The Hub, empty; the server itself must not fail during a test, and planned faults must happen."""
    import datasets

    datasets.config.USE_PARQUET_EXPORT = False  # asks datasets-server.<endpoint>, which nobody serves here
    _HUB.clear()
    yield _HUB
    assert _HUB.bugs == []
    assert _HUB.faults == []


def no_progress(done: int, total: int, note: str, figures: Figures | None = None, /) -> None:
    """The progress callback of tests."""


@pytest.fixture
def small_recipe(tmp_path: Path) -> Path:
    """A recipe file with its traces beside it: 30 problems, of which a long trace got 24 right."""
    rows = small_rows(30)
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "traces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    path = tmp_path / "recipe.yaml"
    path.write_text(SMALL_RECIPE, encoding="utf-8")
    return path


@pytest.fixture
def small_run(small_recipe: Path, tmp_path: Path) -> tuple[Recipe, Run]:
    """The small recipe, walked to the dataset folder."""
    recipe, run = load_recipe(str(small_recipe)), Run(tmp_path / "run")
    for _ in walk(recipe, run, lambda stage: no_progress):
        pass
    return recipe, run


SMALL_RECIPE = """\
name: small
problems:
  - {file: problems.jsonl, license: mit}
teachers:
  long: {engine: dataset, file: traces.jsonl, style: long, columns: {response: long, reasoning: thinking}}
  short: {engine: dataset, file: traces.jsonl, style: short, columns: {response: short}}
mixes:
  long: {long: 1.0}
  short: {short: 1.0}
  mix-long: {long: 0.2, short: 0.8}
"""


def small_rows(n: int) -> list[dict[str, str]]:
    """Problems i + 2 = ? with a right long and a right short solution; every fifth long one is wrong."""
    return [
        {
            "problem": f"What is {i} + 2?",
            "reference": str(i + 2),
            "thinking": f"We start at {i} and count two up.",
            "long": rf"It is {i} + 1 + 1. Final Answer: \boxed{{{i + 2 if i % 5 else 0}}}",
            "short": rf"\boxed{{{i + 2}}}",
        }
        for i in range(1, n + 1)
    ]


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `mixdistill run quickstart` has ended: the real model, minutes, once for all tests."""
    folder = tmp_path_factory.mktemp("quickstart")
    done = subprocess.run(
        [sys.executable, "-m", "mixdistill", "run", "quickstart"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    shutil.copytree(folder / "runs" / "quickstart" / "dataset", folder / "dataset-as-made")
    return folder
