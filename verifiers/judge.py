"""The stage `verify`: a verdict for every trace of a run.

In: problems and traces. Out: `verdicts.parquet`, one row for each trace that came back; a request that failed
has no trace to judge and gets no verdict. A verdict that stands there for the same trace and problem, by this
version of the verifier at this leniency, is kept, so that a rerun judges only what is new; verdicts are saved
every minute and when the stage is interrupted. What a model says is `opinions`, wrong references `audit`.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import mixdistill
from mixdistill.files import read_lines, read_parquet, write_parquet
from mixdistill.recipe import Recipe
from mixdistill.records import Problem, Verdict, polars_schema, to_frame
from mixdistill.run import Progress, Run
from mixdistill.tables import read_problems, read_traces
from mixdistill.verifiers.verify import Case, Judgement, verify_many

if TYPE_CHECKING:
    import polars

Place = TypeVar("Place")

_SAVE_SECONDS = 60.0
# These say nothing about the response: it ran out of time or memory, or lacked a package that is there now.
_TRIED_AGAIN = ("timeout", "unscored")
# Goes up when verdicts say more or other things than those of the same version of the package; 2: repetition.
_EDITION = 2


def judge_traces(recipe: Recipe, run: Run, progress: Progress) -> dict[str, int]:
    """Writes verdicts.parquet; returns counts: `verdicts` in all, `new`, and one for each status."""
    problems = {problem.problem_id: problem for problem in read_problems(run, recipe.limit)}
    verifier = verifier_of(recipe)
    kept, todo = plan_verdicts(recipe, run)
    rows = todo.select("problem_id", "reasoning", "response", "finish_reason").iter_rows()
    cases = (case_of(problems[name], *texts) for name, *texts in rows)
    places = zip(todo["trace_id"], todo["problem_id"], strict=True)
    new: list[Verdict] = []
    correct, saved = 0, time.monotonic()
    try:
        for (trace, problem), judgement in judged(recipe, places, cases):
            new.append(Verdict(trace_id=trace, problem_id=problem, verifier=verifier, **judgement._asdict()))
            correct += judgement.status == "correct"
            progress(len(new), todo.height, f"{correct:,} correct")
            if time.monotonic() - saved > _SAVE_SECONDS:
                _save(run, kept, new)
                saved = time.monotonic()
    finally:  # an interrupted call has not judged for nothing
        verdicts = _save(run, kept, new)
    return {"verdicts": verdicts.height, "new": len(new), **dict(sorted(Counter(verdicts["status"]).items()))}


def case_of(problem: Problem, reasoning: str | None, response: str, finish_reason: str | None) -> Case:
    """What is judged of a trace."""
    return Case(
        problem.reference, response, finish_reason, problem.answer_type, problem.problem, problem.grading,
        reasoning=reasoning or "",
    )  # fmt: skip


def judged(recipe: Recipe, places: Iterable[Place], cases: Iterable[Case]) -> Iterator[tuple[Place, Judgement]]:
    """The judgement of each case, with its place in another list; on a cluster in the order that they come."""
    settings = recipe.verify
    if recipe.cluster is not None:
        from mixdistill.verifiers.remote import judged_on_cluster

        return judged_on_cluster(recipe.cluster, settings, places, cases)
    judgements = verify_many(
        cases, leniency=settings.leniency, timeout_seconds=settings.timeout_seconds,
        processes=settings.processes or None,
    )  # fmt: skip
    return zip(places, judgements, strict=True)


class Plan(NamedTuple):
    """What is judged already, and what is still to be judged."""

    kept: "polars.DataFrame"
    "Verdicts that are there and still hold."
    todo: "polars.DataFrame"
    "Traces without one."


def plan_verdicts(recipe: Recipe, run: Run) -> Plan:
    """The traces of the run, by whether they have a verdict that still holds. Judges nothing."""
    import polars as pl

    traces = read_traces(run).filter(pl.col("error").is_null())
    held = kept_verdicts(run, verifier_of(recipe))
    kept = held.join(traces, on=["trace_id", "problem_id"], how="semi", maintain_order="left")
    return Plan(kept, traces.join(kept, on=["trace_id", "problem_id"], how="anti", maintain_order="left"))


def verifier_of(recipe: Recipe) -> str:
    """What a verdict depends on besides the trace and the problem; their ids hold all the rest."""
    return f"mixdistill {mixdistill.__version__} ({_EDITION}), {recipe.verify.leniency}"


def kept_verdicts(run: Run, verifier: str) -> "polars.DataFrame":
    """The verdicts that are there and still hold, without what a model said of them: columns of Verdict."""
    import polars as pl

    schema = polars_schema(Verdict)
    frames = [read_lines(path, schema) for path in run.verdict_files()]
    if run.verdicts.exists():
        verdicts = read_parquet(run.verdicts, "verify")
        if {"verifier", "repetition"} <= set(verdicts.columns):  # else made before verdicts had them
            unasked = [pl.lit(None, pl.String()).alias(name) for name in ("judge_status", "judge_reason")]
            frames.append(verdicts.with_columns(unasked).select(*schema))
    verdicts = pl.concat([pl.DataFrame(schema=schema), *frames])
    held = verdicts.filter((pl.col("verifier") == verifier) & ~pl.col("status").is_in(_TRIED_AGAIN))
    return held.unique(["trace_id", "problem_id"], keep="last", maintain_order=True)


def _save(run: Run, kept: "polars.DataFrame", new: list[Verdict]) -> "polars.DataFrame":
    import polars as pl

    verdicts = pl.concat([kept, to_frame(Verdict, new)]).sort("problem_id", "trace_id")
    write_parquet(run.verdicts, verdicts)
    return verdicts
