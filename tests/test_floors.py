"""Imports only go down: ground floor, then builders | verifiers | cards, then recipes, then the front door."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FRONT_DOOR = {"cli", "command", "looking", "diagnosis", "street", "show", "terminal", "__main__"}
MODULES = sorted(
    path
    for folder in ("mixdistill", "builders", "verifiers", "cards", "recipes")
    for path in (ROOT / folder).glob("*.py")
)


def floor(name: str) -> str:
    """The floor of a module's full name."""
    _, _, rest = name.partition(".")
    first = rest.partition(".")[0]
    if first in ("builders", "verifiers", "cards", "recipes"):
        return first
    return "front door" if first in FRONT_DOOR else "ground"


MAY_IMPORT = {
    "ground": {"ground"},
    "builders": {"ground", "builders"},
    "verifiers": {"ground", "verifiers"},
    "cards": {"ground", "cards"},
    "recipes": {"ground", "builders", "verifiers", "cards", "recipes"},
    "front door": {"ground", "builders", "verifiers", "cards", "recipes", "front door"},
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_module_imports_only_from_floors_below(path: Path) -> None:
    folder = "" if path.parent.name == "mixdistill" else f"{path.parent.name}."
    here = floor(f"mixdistill.{folder}{path.stem}")
    imported = {
        name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in _imported(node)
        if name.partition(".")[0] == "mixdistill" and name != "mixdistill"
    }

    assert {name for name in imported if floor(name) not in MAY_IMPORT[here]} == set()


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom) and node.module:
        return [
            node.module,
            *(f"{node.module}.{alias.name}" for alias in node.names if node.module == "mixdistill"),
        ]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_runs_text(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {
        getattr(node.func, "id", getattr(node.func, "attr", ""))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }

    assert (
        called & {"eval", "exec", "sympify", "parse_expr", "system", "popen", "unsafe_load", "full_load"} == set()
    )
