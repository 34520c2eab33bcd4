"""The command `mixdistill`: one verb a stage, in the order of the street.

A command reads its options, calls one library function and prints: results to stdout, progress and errors to
stderr. Every MixdistillError becomes one line and an exit code here, and nowhere else. Nothing heavy is
imported before a command needs it.
"""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_args

import click

from mixdistill import __version__
from mixdistill.errors import BudgetReached, MixdistillError, RecipeError
from mixdistill.records import AnswerType, Leniency, Status

if TYPE_CHECKING:
    from mixdistill.recipe import Recipe
    from mixdistill.run import Run, StageRecord

F = TypeVar("F", bound=Callable[..., Any])
_EXIT_INTERRUPTED = 130


def main() -> NoReturn:
    """Runs the command line and exits: 0 done, 1 could not, 2 wrong use, 3 budget reached, 130 interrupted."""
    try:
        cli.main(standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except click.ClickException as error:
        if not _as_json():
            error.show()
            sys.exit(error.exit_code)
        _fail(error.format_message(), error.exit_code)
    except MixdistillError as error:
        _fail(str(error), error.exit_code, plain=f"Error: {error}")
    except (KeyboardInterrupt, click.Abort):
        message = "Interrupted. What was finished is kept; the same command goes on from there."
        _fail(message, _EXIT_INTERRUPTED, plain=f"\n{message}")
    except BrokenPipeError:  # the reader of a pipe went away
        sys.stderr.close()
        sys.exit(0)
    sys.exit(0)


def _as_json() -> bool:
    return "--json" in sys.argv[1:]  # click may not have got as far as the options


def _fail(message: str, exit_code: int, *, plain: str = "") -> NoReturn:
    """The last line on stderr, an event like those of progress with --json, and the end."""
    told = {"event": "error", "message": message, "exit_code": exit_code}
    click.echo(json.dumps(told) if _as_json() else plain, err=True)
    sys.exit(exit_code)


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
    problems -> generate -> verify -> stats -> mix -> card -> publish
    `mixdistill run RECIPE` walks all of them and does only what is missing.

    \b
    Example:
      mixdistill run quickstart
    """


def _shared(command: F) -> F:
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


def _open(recipe: str, folder: Path | None, settings: tuple[str, ...], limit: int | None) -> "tuple[Recipe, Run]":
    from mixdistill.recipe_file import load_recipe
    from mixdistill.run import Run

    loaded = load_recipe(recipe, [*settings, *([f"limit={limit}"] if limit else [])])
    return loaded, Run(folder or Path("runs") / loaded.name)


def _stage_command(name: str, short: str, summary: str, example: str) -> None:
    """Adds the command of one stage: they differ in nothing but the stage and the table at the end."""

    @cli.command(name, help=f"{summary}\n\n\b\nExample:\n  {example}", short_help=short)
    @_shared
    def command(
        recipe: str, folder: Path | None, settings: tuple[str, ...], limit: int | None, as_json: bool,
        dry_run: bool, yes: bool,
    ) -> None:  # fmt: skip
        from mixdistill.show import result
        from mixdistill.terminal import print_json, print_plan, print_result

        opened, run = _open(recipe, folder, settings, limit)
        if dry_run:
            print_plan(opened, run, [name], as_json=as_json)
            return
        records = _walk(opened, run, [name], as_json=as_json)
        done = result(opened, run, records)
        if as_json:
            print_json(done)
        else:
            print_result(opened, run, done, records)


_stage_command(
    "problems",
    "Take problems in; say what was dropped.",
    "Take problems from files, the Hub or reasoning-gym; say what was dropped and why.",
    "mixdistill problems quickstart",
)


def _count(text: str) -> int:
    """A whole number above 0, also as 2e6 or 2_000_000."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not number >= 1 or not number.is_integer():
        raise click.BadParameter(f"{text!r} is no whole number above 0, such as 2000000, 2_000_000 or 2e6.")
    return int(number)


def _budget(command: F) -> F:
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


def _budget_settings(usd: float | None, tokens: int | None, hours: float | None) -> tuple[str, ...]:
    """The options of a budget as settings of the recipe."""
    options = {"usd": usd, "tokens": tokens, "hours": hours}
    return tuple(f"budget.{name}={value}" for name, value in options.items() if value is not None)


@cli.command(short_help="Ask teachers for the missing traces.")
@_shared
@_budget
@click.option("--pilot", type=click.IntRange(min=2), metavar="N",
              help="Ask about N problems only, and reckon tokens, hours and USD of the rest.")  # fmt: skip
@click.option("--batch-out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Ask nobody: write the missing requests as OpenAI batch JSONL.")  # fmt: skip
@click.option("--batch-in", type=click.Path(dir_okay=False, exists=True, path_type=Path), metavar="FILE",
              help="Ask nobody: take the results of such a file.")  # fmt: skip
def generate(
    recipe: str, folder: Path | None, settings: tuple[str, ...], limit: int | None, as_json: bool,
    dry_run: bool, yes: bool, budget_usd: float | None, budget_tokens: int | None, budget_hours: float | None,
    pilot: int | None, batch_out: Path | None, batch_in: Path | None,
) -> None:  # fmt: skip
    """Ask every teacher for the traces that are still missing; finished ones are never asked again.

    A budget is for one call: when it is reached, nothing more is asked, what is finished is kept, the exit code
    is 3, and the same command later goes on with a new budget.

    \b
    Example:
      mixdistill generate quickstart --limit 5
      mixdistill generate quickstart --pilot 20
      mixdistill generate quickstart --budget-usd 25 --budget-hours 8
      mixdistill generate quickstart --batch-out requests.jsonl
    """
    from mixdistill import street
    from mixdistill.show import Asking, result
    from mixdistill.terminal import (
        Reporter,
        print_batches,
        print_counts,
        print_estimate,
        print_json,
        print_plan,
        print_result,
    )

    asking = Asking(pilot, batch_out, batch_in)
    if sum(chosen is not None for chosen in asking) > 1:
        raise click.UsageError("--pilot, --batch-out and --batch-in are three ways of asking; choose one")
    budget = _budget_settings(budget_usd, budget_tokens, budget_hours)
    opened, run = _open(recipe, folder, (*settings, *budget), limit)
    if dry_run:
        print_plan(opened, run, ["generate"], as_json=as_json, asking=asking)
    elif pilot is not None:
        with Reporter(as_json=as_json) as reporter:
            estimate = street.ask_pilot(opened, run, reporter("generate"), pilot)
        print_estimate(estimate, as_json=as_json)
        if estimate.ended is not None:
            raise BudgetReached(estimate.ended)
    elif batch_out is not None:
        print_batches(street.write_requests(opened, run, batch_out), as_json=as_json)
    elif batch_in is not None:
        counts = street.take_results(opened, run, batch_in)
        print_json(counts) if as_json else print_counts(counts)
    else:
        records = _walk(opened, run, ["generate"], as_json=as_json)
        done = result(opened, run, records)
        if as_json:
            print_json(done)
        else:
            print_result(opened, run, done, records)


@cli.command(short_help="Judge every trace; audit the references.")
@_shared
@click.option("--audit", is_flag=True, help="List the references that look wrong, with the evidence.")
@click.option(
    "--examples",
    type=click.Choice(get_args(Status)),
    metavar="STATUS",
    help="Show up to ten verdicts of a status: incorrect, unparsable, no_answer ...",
)
def verify(
    recipe: str, folder: Path | None, settings: tuple[str, ...], limit: int | None, as_json: bool,
    dry_run: bool, yes: bool, audit: bool, examples: str | None,
) -> None:  # fmt: skip
    """Find the answer in every trace, judge it against the reference, and audit the references.

    Also asks the model that verify.judge names, if any, about answers that could not be decided.

    \b
    Example:
      mixdistill verify quickstart --audit --examples incorrect
    """
    from mixdistill.show import verdict_result
    from mixdistill.terminal import print_json, print_plan, print_verdicts

    opened, opened_run = _open(recipe, folder, settings, limit)
    if dry_run:
        print_plan(opened, opened_run, ["verify"], as_json=as_json)
        return
    records = _walk(opened, opened_run, ["verify"], as_json=as_json)
    if as_json:
        print_json(verdict_result(opened, opened_run, records, examples))
    else:
        print_verdicts(opened_run, audit=audit, examples=examples)


_stage_command(
    "stats",
    "Pass rates, lengths, difficulty, plots.",
    "Compute pass rates with intervals, lengths and difficulty, and draw them.",
    "mixdistill stats quickstart",
)
_stage_command(
    "mix",
    "Mix right traces in exact ratios.",
    "Mix right traces in the exact ratios of the recipe, over the same problems.",
    "mixdistill mix quickstart --set mixes.mix-long='{long: 0.4, short: 0.6}'",
)
_stage_command(
    "card",
    "Write the dataset folder with its card.",
    "Write the dataset folder: Parquet, card, plots, manifest.",
    "mixdistill card quickstart",
)


@cli.command(short_help="Send the dataset to the Hub, in one commit.")
@_shared
def publish(
    recipe: str, folder: Path | None, settings: tuple[str, ...], limit: int | None, as_json: bool,
    dry_run: bool, yes: bool,
) -> None:  # fmt: skip
    """Send the dataset folder to the Hub, in one commit; private unless the recipe says otherwise.

    The card is brought up to date first; any other stage that is to do is a reason to stop.

    \b
    Example:
      mixdistill publish quickstart --set publish.repo=you/quickstart --dry-run
    """
    from mixdistill.street import prepare_publish
    from mixdistill.terminal import print_json

    opened, opened_run = _open(recipe, folder, settings, limit)
    prepare_publish(opened, opened_run)
    done = _publish(opened, opened_run, as_json=as_json, dry_run=dry_run, yes=yes)
    if as_json:
        print_json(done)


@cli.command(short_help="Walk the whole way; do only what is missing.")
@_shared
@_budget
def run(
    recipe: str, folder: Path | None, settings: tuple[str, ...], limit: int | None, as_json: bool,
    dry_run: bool, yes: bool, budget_usd: float | None, budget_tokens: int | None, budget_hours: float | None,
) -> None:  # fmt: skip
    """Walk the whole way from problems to dataset; what is finished is not done again.

    A budget that is reached ends the walk with exit code 3; the same command goes on later. Ends with
    publishing if the recipe says where to, after asking (or with --yes).

    \b
    Example:
      mixdistill run quickstart
    """
    from mixdistill.show import result
    from mixdistill.street import STAGES, is_published
    from mixdistill.terminal import print_json, print_plan, print_result

    budget = _budget_settings(budget_usd, budget_tokens, budget_hours)
    opened, opened_run = _open(recipe, folder, (*settings, *budget), limit)
    if dry_run:
        print_plan(opened, opened_run, list(STAGES), as_json=as_json)
        return
    records = _walk(opened, opened_run, list(STAGES), as_json=as_json)
    done = result(opened, opened_run, records)
    if not as_json:
        print_result(opened, opened_run, done, records)
    if opened.publish is not None and not is_published(opened, opened_run):
        done["published"] = _publish(opened, opened_run, as_json=as_json, dry_run=False, yes=yes)
    if as_json:
        print_json(done)


@cli.command(short_help="Judge one response and say why.", context_settings={"ignore_unknown_options": True})
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


@cli.command(short_help="Show a problem's traces side by side.")
@_shared
@click.option("--problem", metavar="ID", help="Problem, by id or the beginning of one.  [default: the first]")
def show(
    recipe: str, folder: Path | None, settings: tuple[str, ...], limit: int | None, as_json: bool,
    dry_run: bool, yes: bool, problem: str | None,
) -> None:  # fmt: skip
    """Show the traces of a problem side by side, with their verdicts.

    \b
    Example:
      mixdistill show quickstart --problem p-1f
    """
    from mixdistill.show import find_problem, traces_of
    from mixdistill.terminal import print_json, print_side_by_side, trace_title

    _, opened_run = _open(recipe, folder, settings, limit)
    found = find_problem(opened_run, problem)
    traces = traces_of(opened_run, found.problem_id)
    if as_json:
        print_json({"problem_id": found.problem_id, "problem": found.problem, "reference": found.reference,
                     "traces": traces})  # fmt: skip
        return
    print_side_by_side([(f"{found.problem_id}, reference {found.reference}", found.problem)])
    print_side_by_side([(trace_title(trace), str(trace["text"])) for trace in traces])


@cli.command(short_help="List the shipped recipes.")
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


@cli.command(short_help="Copy a shipped recipe to change it.")
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


def _walk(recipe: "Recipe", run: "Run", stages: list[str], *, as_json: bool) -> "list[StageRecord]":
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


def _publish(recipe: "Recipe", run: "Run", *, as_json: bool, dry_run: bool, yes: bool) -> dict[str, object]:
    """Tells what would go, asks, sends, tells what went; returns that for --json."""
    from mixdistill import street
    from mixdistill.cards.hub import plan_publish
    from mixdistill.terminal import print_table

    plan = plan_publish(recipe, run)
    changes = [change._asdict() for change in plan.changes]
    told = f"{plan.repo}: {'private' if plan.private else 'public'}, {'exists' if plan.exists else 'new'}"
    if not as_json:
        rows = [[str(change["action"]), str(change["path"]), f"{change['bytes']:,}"] for change in changes]
        print_table(["action", "file", "bytes"], rows, title=told)
    if dry_run:
        return {**plan._asdict(), "changes": changes}
    if plan.sends() and not yes:
        if as_json or not sys.stdin.isatty():
            raise RecipeError(f"{told}: nothing was sent; add --yes to send it, or --dry-run to look only")
        click.confirm(f"Send {len(plan.sends())} changes to {plan.repo}?", abort=True, err=True)
    sent = street.publish(recipe, run, plan)
    if not as_json:
        click.echo(f"Published: {sent['url']}" if plan.sends() else f"Nothing to send: {sent['url']}")
    return {"repo": plan.repo, **sent}


def _first_comment(path: Path) -> str:
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        lines.append(line.removeprefix("# "))
    return " ".join(lines).partition(". ")[0].rstrip(".")
