"""What pip installs is what stands in the tree, and takes no name from anybody else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("builders", "verifiers", "cards", "recipes")


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    tree = tmp_path_factory.mktemp("tree")
    for name in ("mixdistill", *FOLDERS):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=tree, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tree / done.stdout.split()[-1]) as wheel:
        return set(wheel.namelist())


def test_the_wheel_holds_every_file_of_the_tree(wheel_names: set[str]) -> None:
    kinds = (".py", ".md", ".yaml", ".jsonl", ".typed", ".html", ".js", ".css")
    expected = {f"mixdistill/{path.name}" for path in (ROOT / "mixdistill").iterdir() if path.suffix in kinds}
    expected |= {"mixdistill/py.typed"}
    for folder in FOLDERS:
        files = (path for path in (ROOT / folder).iterdir() if path.suffix in kinds)
        expected |= {f"mixdistill/{folder}/{path.name}" for path in files}

    assert {name for name in wheel_names if ".dist-info/" not in name} == expected


def test_the_wheel_installs_one_name_only(wheel_names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel_names if ".dist-info/" not in name}

    assert tops == {"mixdistill"}


def test_the_symlinks_are_there_for_tools_that_go_by_paths() -> None:
    assert {folder: (ROOT / "mixdistill" / folder).readlink().as_posix() for folder in FOLDERS} == {
        folder: f"../{folder}" for folder in FOLDERS
    }
