"""The command `mixdistill`: one verb a stage, in the order of the street.

A command reads its options, calls one library function and prints: results to stdout, progress and errors to
stderr. Every MixdistillError becomes one line and an exit code here, and nowhere else. Nothing heavy is
imported before a command needs it.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, get_args

import click

from mixdistill import diagnosis, looking
from mixdistill.command import budget, budget_settings, open_run, shared, walk_stages
from mixdistill.command import cli as cli
from mixdistill.errors import BudgetReached, MixdistillError, RecipeError
from mixdistill.records import Status, Trainer

if TYPE_CHECKING:
    from mixdistill.recipe import Recipe
    from mixdistill.run import Run

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


def _stage_command(name: str, short: str, summary: str, example: str) -> None:
    """Adds the command of one stage: they differ in nothing but the stage and the table at the end."""

    @cli.command(name, help=f"{summary}\n\n\b\nExample:\n  {example}", short_help=short)
    @shared
    def command(
        recipe: str, folder: Path | None, settings: tuple[str, ...], limit: int | None, as_json: bool,
        dry_run: bool, yes: bool,
    ) -> None:  # fmt: skip
        from mixdistill.show import result
        from mixdistill.terminal import print_json, print_plan, print_result

        opened, run = open_run(recipe, folder, settings, limit)
        if dry_run:
            print_plan(opened, run, [name], as_json=as_json)
            return
        records = walk_stages(opened, run, [name], as_json=as_json)
        done = result(opened, run, records)
        if as_json:
            print_json(done)
        else:
            print_result(opened, run, done, records)


@cli.command(short_help="Take problems in; say what was dropped.")
@shared
@click.option("--audit-decontamination", "audit", is_flag=True,
              help="Write nothing: say how many altered copies of benchmark problems are found.")  # fmt: skip
def problems(
    recipe: str, folder: Path | None, settings: tuple[str, ...], limit: int | None, as_json: bool,
    dry_run: bool, yes: bool, audit: bool,
) -> None:  # fmt: skip
    """Take problems from files, the Hub or reasoning-gym; say what was dropped and why.

    Problems that stand in a benchmark of decontaminate.against are dropped, with the evidence in
    problems.contaminated.parquet, and so are near-duplicates.

    \b
    Example:
      mixdistill problems quickstart
      mixdistill problems quickstart --limit 20 --set decontaminate.against=[gsm8k] --audit-decontamination
    """
    from mixdistill.show import result
    from mixdistill.terminal import print_json, print_plan, print_result

    opened, run = open_run(recipe, folder, settings, limit)
    if audit:
        _audit_decontamination(opened, as_json=as_json)
        return
    if dry_run:
        print_plan(opened, run, ["problems"], as_json=as_json)
        return
    records = walk_stages(opened, run, ["problems"], as_json=as_json)
    done = result(opened, run, records)
    if as_json:
        print_json(done)
    else:
        print_result(opened, run, done, records)


def _audit_decontamination(recipe: "Recipe", *, as_json: bool) -> None:
    """Tells what decontamination finds of altered copies, and what it should not."""
    from mixdistill.builders.decontamination_audit import audit_decontamination, audit_rows
    from mixdistill.terminal import Reporter, print_json, print_table

    with Reporter(as_json=as_json) as reporter:
        audit = audit_decontamination(recipe, reporter("audit"))
    if as_json:
        told = {**audit._asdict(), "recall": [finding._asdict() for finding in audit.recall],
                "false_positives": [finding._asdict() for finding in audit.false_positives]}  # fmt: skip
        print_json(told)
        return
    click.echo(f"{audit.benchmark_problems:,} benchmark problems, {audit.problems:,} of the recipe, "
               f"{audit.contaminated:,} of these contaminated.")  # fmt: skip
    print_table(
        ["copies", "put in", "found", "recall", "95%", "found by"], audit_rows(audit.recall), title="Recall"
    )
    heads = ["problems of", "n", "flagged", "rate", "95%", "flagged by"]
    print_table(
        heads, audit_rows(audit.false_positives), title="Unrelated problems, held against all other benchmarks"
    )


@cli.command(short_help="Ask teachers for the missing traces.")
@shared
@budget
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
    limits = budget_settings(budget_usd, budget_tokens, budget_hours)
    opened, run = open_run(recipe, folder, (*settings, *limits), limit)
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
        records = walk_stages(opened, run, ["generate"], as_json=as_json)
        done = result(opened, run, records)
        if as_json:
            print_json(done)
        else:
            print_result(opened, run, done, records)


@cli.command(short_help="Judge every trace; audit the references.")
@shared
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

    opened, opened_run = open_run(recipe, folder, settings, limit)
    if dry_run:
        print_plan(opened, opened_run, ["verify"], as_json=as_json)
        return
    records = walk_stages(opened, opened_run, ["verify"], as_json=as_json)
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


@cli.command(short_help="Mix right traces in exact ratios.")
@shared
@click.option("--allow-smaller", is_flag=True,
              help="Take what there is where the recipe asks for more rows or tokens.")  # fmt: skip
@click.option("--export", "exported", nargs=2, metavar="TRAINER DIR",
              type=(click.Choice(get_args(Trainer)), click.Path(file_okay=False, path_type=Path)),
              help="Also write the mixes as files for a trainer: trl, llamafactory or axolotl.")  # fmt: skip
def mix(
    recipe: str, folder: Path | None, settings: tuple[str, ...], limit: int | None, as_json: bool,
    dry_run: bool, yes: bool, allow_smaller: bool, exported: "tuple[Trainer, Path] | None",
) -> None:  # fmt: skip
    """Mix right traces in the exact ratios of the recipe, and say what each mix came out as.

    \b
    Example:
      mixdistill mix quickstart --set mixes.mix-long='{long: 0.4, short: 0.6}'
      mixdistill mix quickstart --export axolotl exported
    """
    from mixdistill.builders.views import export_mixes
    from mixdistill.show import result
    from mixdistill.terminal import print_json, print_plan, print_result

    smaller = ("mixing.allow_smaller=true",) if allow_smaller else ()
    opened, opened_run = open_run(recipe, folder, (*settings, *smaller), limit)
    if dry_run:
        print_plan(opened, opened_run, ["mix"], as_json=as_json)
        return
    records = walk_stages(opened, opened_run, ["mix"], as_json=as_json)
    done = result(opened, opened_run, records)
    if exported is not None:
        trainer, where = exported
        done["exported"] = export_mixes(opened, opened_run, trainer, where)
    if as_json:
        print_json(done)
        return
    print_result(opened, opened_run, done, records)
    if exported is not None:
        print(f"Exported for {exported[0]}: {exported[1]}")


cli.add_command(diagnosis.doctor)
_stage_command(
    "card",
    "Write the dataset folder with its card.",
    "Write the dataset folder: Parquet, card, plots, manifest.",
    "mixdistill card quickstart",
)


@cli.command(short_help="Send the dataset to the Hub, in one commit.")
@shared
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

    opened, opened_run = open_run(recipe, folder, settings, limit)
    prepare_publish(opened, opened_run)
    done = _publish(opened, opened_run, as_json=as_json, dry_run=dry_run, yes=yes)
    if as_json:
        print_json(done)


@cli.command(short_help="Walk the whole way; do only what is missing.")
@shared
@budget
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

    limits = budget_settings(budget_usd, budget_tokens, budget_hours)
    opened, opened_run = open_run(recipe, folder, (*settings, *limits), limit)
    if dry_run:
        print_plan(opened, opened_run, list(STAGES), as_json=as_json)
        return
    records = walk_stages(opened, opened_run, list(STAGES), as_json=as_json)
    done = result(opened, opened_run, records)
    if not as_json:
        print_result(opened, opened_run, done, records)
    if opened.publish is not None and not is_published(opened, opened_run):
        done["published"] = _publish(opened, opened_run, as_json=as_json, dry_run=False, yes=yes)
    if as_json:
        print_json(done)


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


for command in (looking.check, looking.show, looking.recipes, looking.init):
    cli.add_command(command)
