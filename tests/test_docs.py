"""What README and help texts say is true: their commands run, their recipes are valid, their files exist."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
import yaml
from loopback_hub import LoopbackHub, hub_environment
from student_templates import STUDENTS, write_student

from mixdistill.cli import cli
from mixdistill.prompt import Prompt
from mixdistill.recipe_file import load_recipe, shipped_recipes

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks of the README in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[str]:
    """The lines of the README's shell blocks that call a program, without comments."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line.partition(" #")[0].strip() for line in lines if line.startswith(f"{program} ")]


def examples(command: click.Command) -> list[str]:
    """The lines of a command's help behind `Example:`."""
    _, _, tail = (command.help or "").partition("Example:")
    return [line.strip() for line in tail.splitlines() if line.strip()]


def run_in(folder: Path, line: str, hub: LoopbackHub) -> "subprocess.CompletedProcess[str]":
    if "Qwen/" in line:  # a student of our own that behaves like it
        line = line.replace("Qwen/Qwen2.5-1.5B-Instruct", write_student(folder / "student", STUDENTS["Qwen2.5"]))
    words = shlex.split(line)
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=os.environ | hub_environment(hub.url, folder / "hf", hub.token),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", list(cli.commands))
def test_every_command_has_a_help_with_an_example(name: str) -> None:
    command = cli.commands[name]

    assert command.short_help
    assert {tuple(line.split()[:2]) for line in examples(command)} == {("mixdistill", name)}


@pytest.mark.parametrize("name", list(cli.commands))
def test_every_option_says_what_it_is_for(name: str) -> None:
    options = [option for option in cli.commands[name].params if isinstance(option, click.Option)]

    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("name", [name for name in cli.commands if name != "mix"])
def test_the_examples_of_every_command_run(name: str, quickstart: Path, hub: LoopbackHub) -> None:
    for line in examples(cli.commands[name]):
        if "--limit" in line:  # that would make another run of it
            continue
        if name == "show":  # ids follow from the problems: any beginning that is there will do
            line = line.partition(" --problem")[0]
        done = run_in(quickstart, line, hub)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", commands("mixdistill"))
def test_every_command_of_the_readme_runs(line: str, quickstart: Path, hub: LoopbackHub) -> None:
    done = run_in(quickstart, line, hub)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("code", blocks("python"))
def test_every_python_block_of_the_readme_runs(code: str, quickstart: Path, tmp_path: Path) -> None:
    environment = os.environ | {"HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=quickstart, env=environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_recipe_and_prompt_of_the_readme_is_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")

    if "teachers:" in text:
        assert load_recipe(str(path)).name in ("math-mix", "gpu-box")
    else:
        assert Prompt.model_validate(yaml.safe_load(text)).examples


def test_the_readme_names_every_command_and_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert [name for name in cli.commands if f"`mixdistill {name}" not in README] == []
    assert re.findall(r"^\| `(\w+)` \| ", README, re.MULTILINE) == list(project["optional-dependencies"])


def test_the_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    for command in commands("make"):
        assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("name", list(shipped_recipes()))
def test_every_shipped_recipe_is_valid_and_says_what_it_does(name: str) -> None:
    assert load_recipe(name).name == name
    assert shipped_recipes()[name].read_text(encoding="utf-8").startswith("# ")
