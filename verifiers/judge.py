"""The stage `verify`: a verdict for every trace of a run.

In: problems and traces. Out: `verdicts.parquet`, one row for each trace that came back; a request that failed
has no trace to judge and gets no verdict. A verdict that stands there for the same trace and problem, by this
version of the verifier at this leniency, is kept, so that a rerun judges only what is new; verdicts are saved
every minute and when the stage is interrupted. What a model says is `opinions`, wrong references `audit`.
"""

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import mixdistill
from mixdistill.files import write_parquet
from mixdistill.recipe import Recipe
from mixdistill.records import Verdict, polars_schema, to_frame
from mixdistill.run import Progress, Run
from mixdistill.tables import read_problems, read_traces, read_verdicts
from mixdistill.verifiers.verify import Case, verify_many

if TYPE_CHECKING:
    import polars

_SAVE_SECONDS = 60.0
# These say nothing about the response: it ran out of time or memory, or lacked a package that is there now.
_TRIED_AGAIN = ("timeout", "unscored")


def judge_traces(recipe: Recipe, run: Run, progress: Progress) -> dict[str, int]:
    """Writes verdicts.parquet; returns counts: `verdicts` in all, `new`, and one for each status."""
    problems = {problem.problem_id: problem for problem in read_problems(run, recipe.limit)}
    verifier = _verifier(recipe)
    kept, todo = plan_verdicts(recipe, run)
    rows = todo.select("problem_id", "response", "finish_reason").iter_rows()
    cases = (
        Case(problem.reference, response, finish_reason, problem.answer_type, problem.problem, problem.grading)
        for problem, response, finish_reason in ((problems[name], *rest) for name, *rest in rows)
    )
    settings = recipe.verify
    judgements = verify_many(
        cases, leniency=settings.leniency, timeout_seconds=settings.timeout_seconds,
        processes=settings.processes or None,
    )  # fmt: skip
    new: list[Verdict] = []
    correct, saved = 0, time.monotonic()
    try:
        for trace, problem, judgement in zip(todo["trace_id"], todo["problem_id"], judgements, strict=True):
            new.append(Verdict(trace_id=trace, problem_id=problem, verifier=verifier, **judgement._asdict()))
            correct += judgement.status == "correct"
            progress(len(new), todo.height, f"{correct:,} correct")
            if time.monotonic() - saved > _SAVE_SECONDS:
                _save(run, kept, new)
                saved = time.monotonic()
    finally:  # an interrupted call has not judged for nothing
        verdicts = _save(run, kept, new)
    return {"verdicts": verdicts.height, "new": len(new), **dict(sorted(Counter(verdicts["status"]).items()))}


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
    kept = _kept_verdicts(run, traces, _verifier(recipe))
    return Plan(kept, traces.join(kept, on=["trace_id", "problem_id"], how="anti", maintain_order="left"))


def _verifier(recipe: Recipe) -> str:
    """What a verdict depends on besides the trace and the problem; their ids hold all the rest."""
    return f"mixdistill {mixdistill.__version__}, {recipe.verify.leniency}"


def _kept_verdicts(run: Run, traces: "polars.DataFrame", verifier: str) -> "polars.DataFrame":
    """The verdicts that are there and still hold, without what a model said of them."""
    import polars as pl

    schema = polars_schema(Verdict)
    if not run.verdicts.exists():
        return pl.DataFrame(schema=schema)
    verdicts = read_verdicts(run)
    if "verifier" not in verdicts.columns:  # made before verdicts had one
        return pl.DataFrame(schema=schema)
    kept = verdicts.filter((pl.col("verifier") == verifier) & ~pl.col("status").is_in(_TRIED_AGAIN))
    unasked = [pl.lit(None, pl.String()).alias(name) for name in ("judge_status", "judge_reason")]
    return kept.with_columns(unasked).join(traces, on=["trace_id", "problem_id"], how="semi").select(*schema)


def _save(run: Run, kept: "polars.DataFrame", new: list[Verdict]) -> "polars.DataFrame":
    import polars as pl

    verdicts = pl.concat([kept, to_frame(Verdict, new)]).sort("problem_id", "trace_id")
    write_parquet(run.verdicts, verdicts)
    return verdicts
