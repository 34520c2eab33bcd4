"""Commands that change no run: judge one answer, show traces, list and copy recipes."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from mixdistill.command import open_run, shared
from mixdistill.records import AnswerType, Leniency

if TYPE_CHECKING:
    from mixdistill.recipe import Recipe
    from mixdistill.run import Run


@click.command(short_help="Judge one response and say why.", context_settings={"ignore_unknown_options": True})
@click.argument("reference")
@click.argument("response")
@click.option(
    "--answer-type",
    type=click.Choice(get_args(AnswerType)),
    default="math",
    show_default=True,
    help="What kind of answer it is.",
)
@click.option("--grading", metavar="JSON", help="What else the comparison needs: options, tolerance ...")
@click.option("--problem", default="", metavar="TEXT", help="The question; nothing is found in a copy of it.")
@click.option(
    "--leniency",
    type=click.Choice(get_args(Leniency)),
    default="default",
    show_default=True,
    help="How much may differ.",
)
@click.option("--timeout", default=5.0, show_default=True, metavar="SECONDS", help="Limit on the comparison.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(
    reference: str, response: str, answer_type: "AnswerType", grading: str | None, problem: str,
    leniency: "Leniency", timeout: float, as_json: bool,
) -> None:  # fmt: skip
    """Judge one RESPONSE ('-' reads it from stdin) against a REFERENCE, and say why.

    \b
    Example:
      mixdistill check '1/2' 'Half of it, so the answer is \\boxed{0.5}.'
    """
    from mixdistill.terminal import print_json, print_pairs
    from mixdistill.verifiers.explain import explain

    text = sys.stdin.read() if response == "-" else response
    told = explain(
        reference, text, answer_type=answer_type, grading=grading, problem=problem, leniency=leniency,
        timeout_seconds=timeout,
    )  # fmt: skip
    if as_json:
        print_json(told._asdict())
    else:
        print_pairs(
            [(name.replace("_", " "), value) for name, value in told._asdict().items() if name != "seconds"]
        )


@click.command(short_help="Show a problem's traces side by side.")
@shared
@click.option("--problem", metavar="ID", help="Problem, by id or the beginning of one.  [default: the first]")
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write all traces of the run as a page for the browser, to filter and compare them.",
)
def show(
    recipe: str, folder: Path | None, settings: tuple[str, ...], limit: int | None, as_json: bool,
    dry_run: bool, yes: bool, problem: str | None, page: Path | None,
) -> None:  # fmt: skip
    """Show the traces of a problem side by side, with their verdicts.

    \b
    Example:
      mixdistill show quickstart --problem p-1f
      mixdistill show quickstart --html traces.html
    """
    from mixdistill.show import find_problem, traces_of
    from mixdistill.terminal import print_json, print_side_by_side, trace_title

    opened, opened_run = open_run(recipe, folder, settings, limit)
    if page is not None:
        if problem is not None:
            raise click.UsageError(
                "--html shows all problems; leave out --problem, or add it to the page's address as #ID."
            )
        _write_page(opened, opened_run, page, as_json=as_json)
        return
    found = find_problem(opened_run, problem)
    traces = traces_of(opened_run, found.problem_id)
    if as_json:
        print_json({"problem_id": found.problem_id, "problem": found.problem, "reference": found.reference,
                     "traces": traces})  # fmt: skip
        return
    print_side_by_side([(f"{found.problem_id}, reference {found.reference}", found.problem)])
    print_side_by_side([(trace_title(trace), str(trace["text"])) for trace in traces])


def _write_page(recipe: "Recipe", run: "Run", page: Path, *, as_json: bool) -> None:
    from mixdistill.cards.page import make_page
    from mixdistill.files import write_text
    from mixdistill.terminal import print_json

    write_text(page, make_page(recipe, run))
    n_bytes = page.stat().st_size
    if as_json:
        print_json({"html": str(page), "bytes": n_bytes})
    else:
        click.echo(f"{page} ({n_bytes / 1e6:.1f} MB); open it in a browser")


@click.command(short_help="List the shipped recipes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def recipes(as_json: bool) -> None:
    """List the recipes that come with mixdistill.

    \b
    Example:
      mixdistill recipes
    """
    from mixdistill.recipe_file import shipped_recipes
    from mixdistill.terminal import print_json, print_table

    about = {name: _first_comment(path) for name, path in shipped_recipes().items()}
    if as_json:
        print_json(about)
        return
    print_table(["recipe", "what it does"], [[name, text] for name, text in about.items()])


@click.command(short_help="Copy a shipped recipe to change it.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--from", "source", default="quickstart", show_default=True, help="Shipped recipe to start from.")
def init(folder: Path, source: str) -> None:
    """Copy a shipped recipe, its prompts and its problems into FOLDER, to change them there.

    \b
    Example:
      mixdistill init my-recipe --from quickstart
    """
    from mixdistill.recipe_file import copy_recipe

    for path in copy_recipe(source, folder):
        click.echo(path)
    click.echo(f"Next: edit {folder / 'recipe.yaml'}, then: mixdistill run {folder}", err=True)


def _first_comment(path: Path) -> str:
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        lines.append(line.removeprefix("# "))
    return " ".join(lines).partition(". ")[0].rstrip(".")
