"""The stage `generate`: every trace that the recipe wants and that is not there yet.

In: `problems.parquet` and the recipe's teachers. Out: `traces/wanted.parquet` (what the recipe asks for) and one
append-only JSONL file for each process that wrote. A trace that stands there is never asked for again, unless it
failed or was cut by a smaller `max_tokens`. Killing the process at any moment loses none that was finished; a line
that was being written is asked for again. How teachers are asked is `lines`, on a cluster `remote`.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mixdistill.builders.batch_files import BatchFile, read_batch, write_batches
from mixdistill.builders.budget import Ledger
from mixdistill.builders.completions import Request
from mixdistill.builders.engines import asked_teachers
from mixdistill.builders.judging import Judging
from mixdistill.builders.lines import ask_teachers, due_requests
from mixdistill.builders.pilot import Estimate, Outcome, estimate
from mixdistill.builders.plan import Plan, existing_requests, keep_wanted, plan_traces, requested, sampled
from mixdistill.builders.prices import price_of, token_cost_usd
from mixdistill.builders.tally import Tally
from mixdistill.errors import BudgetReached, TeacherError
from mixdistill.recipe import Budget, Recipe
from mixdistill.records import Problem, draw_seed
from mixdistill.run import Figures, Progress, Run
from mixdistill.tables import read_problems

if TYPE_CHECKING:
    import polars


def generate_traces(recipe: Recipe, run: Run, progress: Progress, judging: Judging) -> dict[str, int]:
    """Asks for all missing traces; returns counts: `traces`, `asked`, `failed`, `cut` and `left_out_<reason>`.

    `failed` are requests of this call that ended in an error; running again asks for them again.
    Raises TeacherError if a teacher cannot be reached, refuses, or fails too often (`failures` of the recipe), and
    if nothing but errors is there in the end; BudgetReached if a budget is spent. What is finished is kept.
    """
    plan = plan_traces(recipe, run)
    keep_wanted(recipe, run, plan)
    tally = _tally(recipe, run, plan, progress, judging)
    if plan.missing:
        _ask(recipe, run, plan, read_problems(run, recipe.limit), judging, tally)
    there = requested(run, plan.wanted)
    if tally.n_failed and there["error"].null_count() == 0:
        raise TeacherError(f"all {tally.n_failed} requests failed, the last with: {tally.last_error}")
    cut = there.filter(there["finish_reason"] == "length").height
    counts = {"traces": there.height, "asked": tally.n_asked, "failed": tally.n_failed, "cut": cut}
    return counts | {f"left_out_{reason}": n for reason, n in sorted(plan.left_out.items())}


def requests_due(recipe: Recipe, run: Run, plan: Plan, judging: Judging) -> Iterator[Request]:
    """The missing requests that can be sent now, without a verdict on any other of them."""
    problems = read_problems(run, recipe.limit) if plan.missing else []
    return due_requests(recipe, run, plan, problems, judging, _unlimited_tally(recipe, run, plan, judging))


def may_be_asked(recipe: Recipe, run: Run, plan: Plan, judging: Judging) -> "polars.DataFrame":
    """The missing rows of the plan that teachers may still be asked: not those of problems that need no more."""
    import polars as pl

    is_missing = pl.col("request_key").is_in(list(plan.missing))
    missing = plan.wanted.filter(is_missing & pl.col("teacher").is_in(list(asked_teachers(recipe))))
    if not any(map(recipe.asks_by_verdicts, recipe.teachers)):
        return missing
    chain = recipe.escalate
    pairs = {
        (teacher, request.problem_id)
        for request in requests_due(recipe, run, plan, judging)
        for teacher in (chain[chain.index(request.teacher) :] if request.teacher in chain else [request.teacher])
    }
    schema = {"teacher": pl.String(), "problem_id": pl.String()}
    still = pl.DataFrame([*pairs], schema=schema, orient="row")
    return missing.join(still, on=[*schema], how="semi", maintain_order="left")


def pilot_problems(recipe: Recipe, missing: "polars.DataFrame", n_problems: int) -> set[str]:
    """The problems that a pilot asks about, drawn by the run's seed from those that are missing."""
    ids = sorted(set(missing["problem_id"]))
    return set(random.Random(draw_seed(recipe.seed, "pilot")).sample(ids, min(n_problems, len(ids))))


def ask_pilot(recipe: Recipe, run: Run, progress: Progress, judging: Judging, n_problems: int) -> Estimate:
    """Asks about a few problems, drawn by the run's seed, and reckons what the rest will take.

    What came is kept as any trace. A budget that ends the pilot stands in the estimate, which is then from what
    came. Raises what else `generate_traces` raises.
    """
    import polars as pl

    plan = plan_traces(recipe, run)
    keep_wanted(recipe, run, plan)
    missing = may_be_asked(recipe, run, plan, judging)
    chosen = pilot_problems(recipe, missing, n_problems)
    keys = missing.filter(pl.col("problem_id").is_in(list(chosen)))["request_key"]
    plan = plan._replace(missing=frozenset(keys))
    tally = _tally(recipe, run, plan, progress, judging)
    outcomes: list[Outcome] = []
    tally.watch = lambda trace: outcomes.append(Outcome.of(trace))
    try:
        if plan.missing:
            problems = [one for one in read_problems(run, recipe.limit) if one.problem_id in chosen]
            _ask(recipe, run, plan, problems, judging, tally)
    except BudgetReached as reached:
        left = may_be_asked(recipe, run, plan_traces(recipe, run), judging)
        begun = {one.problem_id for one in outcomes}
        done = begun.difference(left["problem_id"]) or begun
        known = [one for one in outcomes if one.problem_id in done]
        return _reckoned(recipe, known, missing, done).ended_by(str(reached), len(done), len(chosen))
    return _reckoned(recipe, outcomes, missing, chosen)


def _reckoned(
    recipe: Recipe, outcomes: list[Outcome], missing: "polars.DataFrame", asked: Collection[str]
) -> Estimate:
    """What is missing will take, without the problems that the pilot asked about."""
    import polars as pl

    def by_teacher(rows: "polars.DataFrame") -> dict[str, set[str]]:
        return {name: set(rows.filter(pl.col("teacher") == name)["problem_id"]) for name in teachers}

    teachers = asked_teachers(recipe)
    is_asked = pl.col("problem_id").is_in(list(asked))
    return estimate(
        outcomes,
        {name: len(left) for name, left in by_teacher(missing.filter(~is_asked)).items()},
        {name: teacher.most_under_way for name, teacher in teachers.items()},
        {name: price_of(teacher) for name, teacher in teachers.items()},
        asked=by_teacher(missing.filter(is_asked)),
        engines={name: teacher.connection() for name, teacher in teachers.items()},
    )


def write_requests(recipe: Recipe, run: Run, judging: Judging, path: Path) -> list[BatchFile]:
    """Writes the missing requests that can be sent now as batch files; raises what `write_batches` raises.

    No budget applies, for nothing is asked.
    """
    plan = plan_traces(recipe, run)
    keep_wanted(recipe, run, plan)
    return write_batches(path, requests_due(recipe, run, plan, judging))


def take_results(recipe: Recipe, run: Run, judging: Judging, path: Path) -> dict[str, int]:
    """Keeps the traces in a file of batch results; counts `asked`, `failed`, `missing` and `left_out_<reason>`.

    A result that nobody misses is left out. Raises RecordError if the file cannot be read.
    """
    import polars as pl

    plan = plan_traces(recipe, run)
    keep_wanted(recipe, run, plan)
    teachers = asked_teachers(recipe)
    rows = plan.wanted.filter(
        pl.col("request_key").is_in(list(plan.missing)) & pl.col("teacher").is_in(list(teachers))
    )
    places = {key: place for key, *place in rows.select("request_key", "teacher", "problem_id", "sample").rows()}
    problems = {problem.problem_id: problem for problem in read_problems(run, recipe.limit)}
    calls = {name: sampled(recipe, name) for name in teachers}
    prices = {name: price_of(teacher, batch=True) for name, teacher in teachers.items()}
    tally = _unlimited_tally(recipe, run, plan, judging)
    left_out: Counter[str] = Counter()
    n_missing = len(plan.missing)
    try:
        for key, completion in read_batch(path, places, left_out):
            name, problem_id, sample = places[key]
            price = prices[name]
            counts = completion.prompt_tokens, completion.completion_tokens
            cost = None if price is None or completion.error else token_cost_usd(price, *counts)
            request = calls[name].request(problems[problem_id], sample, key)
            if completion.finish_reason == "length" and completion.completion_tokens:
                # The limit may have been raised since the file was written.
                limit = min(request.max_tokens or completion.completion_tokens, completion.completion_tokens)
                request = replace(request, max_tokens=limit)
            tally.keep(request.trace(completion, cost_usd=cost))
            n_missing -= completion.error is None
    finally:
        tally.close()
    counted = {f"left_out_{reason}": n for reason, n in sorted(left_out.items())}
    return {"asked": tally.n_asked, "failed": tally.n_failed, "missing": n_missing, **counted}


def _no_progress(done: int, total: int, note: str, figures: Figures | None = None, /) -> None:
    """Nothing takes long enough to be shown."""


def _unlimited_tally(recipe: Recipe, run: Run, plan: Plan, judging: Judging) -> Tally:
    """That of a call that asks nobody."""
    return _tally(recipe.model_copy(update={"budget": Budget()}), run, plan, _no_progress, judging)


def _tally(recipe: Recipe, run: Run, plan: Plan, progress: Progress, judging: Judging) -> Tally:
    asked = asked_teachers(recipe) if plan.missing else {}
    prices = {name: price_of(teacher) for name, teacher in asked.items()}
    local = {name for name, teacher in asked.items() if teacher.engine != "openai"}
    engines = {name: teacher.connection() for name, teacher in asked.items()}
    ledger = Ledger(recipe.budget, prices, local, engines)
    return Tally(run, ledger, judging, progress, len(plan.missing))


def _ask(
    recipe: Recipe, run: Run, plan: Plan, problems: list[Problem], judging: Judging, tally: Tally
) -> None:  # fmt: skip
    """Takes the existing traces that are missing, and asks for the others."""
    tally.show()
    try:
        for request in existing_requests(recipe, problems, Counter()) if _lacks_existing(recipe, plan) else ():
            if request.stored is not None and request.request_key in plan.missing:
                tally.keep(request.trace(request.stored))
                tally.show()
        stopped = _asked(recipe, run, plan, problems, judging, tally)
    finally:
        tally.close()
    if stopped:
        raise BudgetReached(
            f"the {stopped} is reached: spent {tally.ledger.told()}; what is finished is kept, and the same "
            "command goes on with a new budget"
        )


def _asked(
    recipe: Recipe, run: Run, plan: Plan, problems: list[Problem], judging: Judging, tally: Tally
) -> str | None:
    """Asks for what is missing, here or on the cluster; returns the budget that stopped it."""
    if recipe.cluster is None:
        return asyncio.run(ask_teachers(recipe, run, plan, problems, judging, tally))
    from mixdistill.builders.remote import ask_on_cluster

    return ask_on_cluster(recipe, run, plan, problems, judging, tally)


def _lacks_existing(recipe: Recipe, plan: Plan) -> bool:
    """Whether traces are missing that exist in a source."""
    asked = asked_teachers(recipe)
    names = plan.wanted.select("teacher", "request_key").filter(~plan.wanted["teacher"].is_in(list(asked)))
    return not plan.missing.isdisjoint(names["request_key"])
