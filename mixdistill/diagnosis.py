"""The command `doctor`, and how a diagnosis looks in a terminal: what was found, examples of it, the arms.

Prints a table of the findings, worst first, then each with its way out and examples, then what an epoch of each
arm is. The findings themselves are made by `mixdistill.builders.doctor`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from mixdistill.command import open_run, shared
from mixdistill.errors import MixdistillError, StorageError
from mixdistill.records import Trainer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mixdistill.builders.doctor import Diagnosis, Finding
    from mixdistill.recipe import Recipe
    from mixdistill.run import Run


@click.command(short_help="Check the mixes against a student and a trainer.")
@shared
@click.option("--student", metavar="MODEL", help="Folder or Hub id of the student.  [default: mixing.student]")
@click.option("--trainer", type=click.Choice(get_args(Trainer)), default="trl", show_default=True,
              help="Whose way of rendering and cutting rows is checked.")  # fmt: skip
@click.option("--max-length", type=click.IntRange(min=1), metavar="TOKENS",
              help="Tokens at which the trainer cuts a row.  [default: what the student can read]")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(min=1), metavar="ROWS",
              help="Rows of one step.  [default: mixing.batch_size]")  # fmt: skip
def doctor(
    recipe: str, folder: Path | None, settings: tuple[str, ...], limit: int | None, as_json: bool,
    dry_run: bool, yes: bool, student: str | None, trainer: Trainer, max_length: int | None,
    batch_size: int | None,
) -> None:  # fmt: skip
    """Render every row of the mixes as the trainer will, and say what would spoil the training.

    Needs no GPU and trains nothing. Exits with 1 if there is an error, with 0 if there are only warnings.

    \b
    Example:
      mixdistill doctor quickstart --student Qwen/Qwen2.5-1.5B-Instruct --max-length 4096
    """
    from mixdistill.builders.doctor import examine
    from mixdistill.street import STAGES, state
    from mixdistill.terminal import Reporter, print_json

    opened, run = open_run(recipe, folder, settings, limit)
    there = all((run.mixes / name / "mix.json").exists() for name in opened.mixes)
    if there and state(STAGES["mix"], opened, run) is None:
        raise StorageError(f"{run.mixes}: not what the recipe says; run 'mixdistill mix' first")
    if dry_run:
        _say_what_would_be_examined(opened, run, student or opened.mixing.student, trainer, as_json=as_json)
        return
    with Reporter(as_json=as_json) as reporter:
        found = examine(
            opened, run, student=student, trainer=trainer, max_length=max_length, batch_size=batch_size,
            progress=reporter("doctor"),
        )  # fmt: skip
    if as_json:
        print_json(found.as_json())
    else:
        print_diagnosis(found)
    if found.errors:
        raise MixdistillError(f"findings that would spoil the training: {found.errors}; each names its way out")


def _say_what_would_be_examined(
    recipe: "Recipe", run: "Run", student: str | None, trainer: Trainer, *, as_json: bool
) -> None:
    from mixdistill.tables import read_mix
    from mixdistill.terminal import print_json, print_table

    rows = {name: read_mix(run, name)["rows"] for name in recipe.mixes}
    if as_json:
        print_json({"student": student, "trainer": trainer, "rows": rows})
        return
    title = f"Would be rendered for {student or 'no student yet: name one with --student'}, as {trainer} does it"
    print_table(["mix", "rows"], [[name, f"{n:,}"] for name, n in rows.items()], title=title)


def print_diagnosis(found: "Diagnosis") -> None:
    """Findings as a table and one by one, the arms, and what else is good to know."""
    from mixdistill.terminal import print_rich, print_table
    from mixdistill.words import printable

    length = "of any length" if found.max_length is None else f"of at most {found.max_length:,} tokens"
    print(printable(f"{found.student}, trained with {found.trainer}; rows {length} ({found.limit})"))
    if found.findings:
        print_table(["", "how many", "found"], [_line(finding) for finding in found.findings])
    for finding in found.findings:
        print_rich(_in_full(finding))
    arms = [
        [arm.arm, *(f"{number:,}" for number in (arm.rows, arm.trained_rows, arm.steps, arm.tokens,
                                                 arm.loss_tokens, arm.p50, arm.p99, arm.longest))]
        for arm in found.arms
    ]  # fmt: skip
    heads = ["arm", "rows", "trained on", "steps", "tokens", "with loss", "p50", "p99", "longest"]
    print_table(heads, arms, title=f"One epoch, {found.batch_size} rows a step")
    for note in found.notes:
        print(f"Note: {note}")
    if not found.findings:
        print("Nothing found that would spoil the training.")


def _line(finding: "Finding") -> list[str]:
    return [finding.severity, f"{finding.n:,} of {finding.of:,}", f"{finding.unit} {finding.what}"]


def _in_full(finding: "Finding") -> "RenderableType":
    """A finding with its way out and its examples, one indented block."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    from mixdistill.words import printable

    style = "bold red" if finding.severity == "error" else "bold yellow"
    head = Text(f"{finding.severity}: ", style)
    head.append(f"{finding.n:,} of {finding.of:,} {finding.unit} {finding.what}", "default")
    lines: list[RenderableType] = []
    if finding.unit == "rows" and len(finding.by_arm) > 1:
        lines.append(Text("in " + ", ".join(f"{arm} {n:,}" for arm, n in finding.by_arm.items())))
    if finding.detail:
        lines.append(Text(printable(finding.detail)))
    lines.append(Text(f"Way out: {finding.way_out}."))
    for example in finding.examples:
        ids = " ".join(part for part in (example.arm, example.problem_id, example.trace_id) if part)
        lines += [Text(printable(ids), "dim"), Padding(Text(printable(example.excerpt)), (0, 0, 0, 2))]
    return Group(head, Padding(Group(*lines), (0, 0, 1, 2)))
