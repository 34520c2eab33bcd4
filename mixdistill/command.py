"""What the commands share: the group, the options of a run and of a budget, opening a recipe, walking stages.

The commands themselves are `cli` (those of the street) and `looking` (those that change no run).
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mixdistill import __version__

if TYPE_CHECKING:
    from mixdistill.recipe import Recipe
    from mixdistill.run import Run, StageRecord

F = TypeVar("F", bound=Callable[..., Any])


class _InOrder(click.Group):
    """Lists the commands in the order of the street, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, message="mixdistill %(version)s")
def cli() -> None:
    """Build the training set that your small model can actually learn from.

    A recipe names problems, teachers and mixes; each command takes it one step further:

    \b
    problems -> generate -> verify -> stats -> mix -> doctor -> card -> publish
    `mixdistill run RECIPE` walks all of them and does only what is missing.

    \b
    Example:
      mixdistill run quickstart
    """


def shared(command: F) -> F:
    """The argument and options of every command that works on a run."""
    for option in (
        click.option("--yes", is_flag=True, help="Do not ask before something is sent."),
        click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables."),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Keep only the first N problems."),
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
                     help="Change a key of the recipe, such as teachers.long.samples=8."),
        click.option("--run", "folder", type=click.Path(file_okay=False, path_type=Path),
                     help="Run folder.  [default: runs/<name of the recipe>]"),
        click.argument("recipe"),
    ):  # fmt: skip
        command = option(command)
    return command


def open_run(
    recipe: str, folder: Path | None, settings: tuple[str, ...], limit: int | None
) -> "tuple[Recipe, Run]":
    """The recipe with its settings, and the run folder that is meant."""
    from mixdistill.recipe_file import load_recipe
    from mixdistill.run import Run

    loaded = load_recipe(recipe, [*settings, *([f"limit={limit}"] if limit else [])])
    return loaded, Run(folder or Path("runs") / loaded.name)


def _count(text: str) -> int:
    """A whole number above 0, also as 2e6 or 2_000_000."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not number >= 1 or not number.is_integer():
        raise click.BadParameter(f"{text!r} is no whole number above 0, such as 2000000, 2_000_000 or 2e6.")
    return int(number)


def budget(command: F) -> F:
    """The options that limit what a call may spend; they stand in the recipe's `budget` as well."""
    for option in (
        click.option("--budget-hours", type=click.FloatRange(min=0, min_open=True), metavar="HOURS",
                     help="Stop asking after so many hours."),
        click.option("--budget-tokens", type=_count, metavar="N",
                     help="Stop asking after so many tokens of prompts, reasoning and responses."),
        click.option("--budget-usd", type=click.FloatRange(min=0, min_open=True), metavar="USD",
                     help="Stop asking after so many US dollars."),
    ):  # fmt: skip
        command = option(command)
    return command


def budget_settings(usd: float | None, tokens: int | None, hours: float | None) -> tuple[str, ...]:
    """The options of a budget as settings of the recipe."""
    options = {"usd": usd, "tokens": tokens, "hours": hours}
    return tuple(f"budget.{name}={value}" for name, value in options.items() if value is not None)


def walk_stages(recipe: "Recipe", run: "Run", stages: list[str], *, as_json: bool) -> "list[StageRecord]":
    """Runs stages with their progress on stderr; tells of requests that failed."""
    from mixdistill.street import walk
    from mixdistill.terminal import Reporter

    records = []
    with Reporter(as_json=as_json) as reporter:
        for record in walk(recipe, run, reporter, stages):
            reporter.done(record)
            records.append(record)
    failed = sum(record.counts.get("failed", 0) for record in records)
    if failed:
        reporter.warn(f"{failed} requests failed; the same command asks for them again.")
    return records
