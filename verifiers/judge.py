"""The stage `verify`: a verdict for every trace of a run.

In: problems and traces. Out: `verdicts.parquet`, one row for each trace that came back; a request that failed
has no trace to judge and gets no verdict. A verdict that stands there for the same trace and problem is kept,
so that a rerun judges only what is new; verdicts are saved every minute and when the stage is interrupted.
"""

import time
from collections import Counter
from typing import TYPE_CHECKING

from mixdistill.files import write_parquet
from mixdistill.recipe import Recipe
from mixdistill.records import Verdict, polars_schema, to_frame
from mixdistill.run import Progress, Run
from mixdistill.tables import read_problems, read_traces, read_verdicts
from mixdistill.verifiers.verify import Case, verify_many

if TYPE_CHECKING:
    import polars

_SAVE_SECONDS = 60.0


def judge_traces(recipe: Recipe, run: Run, progress: Progress, *, again: bool = False) -> dict[str, int]:
    """Writes verdicts.parquet; returns counts: `verdicts` in all, `new`, and one for each status.

    `again` judges all anew, which a new version of the verifier calls for.
    """
    import polars as pl

    problems = {problem.problem_id: problem for problem in read_problems(run, recipe.limit)}
    traces = read_traces(run).filter(pl.col("error").is_null())
    kept = _kept_verdicts(run, traces, again)
    todo = traces.join(kept, on=["trace_id", "problem_id"], how="anti", maintain_order="left")
    rows = list(todo.select("trace_id", "problem_id", "response", "finish_reason").iter_rows())
    cases = (
        Case(problems[problem].reference, response, finish_reason, problems[problem].answer_type)
        for _, problem, response, finish_reason in rows
    )
    judgements = verify_many(
        cases, timeout_seconds=recipe.verify.timeout_seconds, processes=recipe.verify.processes or None
    )
    new: list[Verdict] = []
    correct, saved = 0, time.monotonic()
    try:
        for (trace, problem, _, _), judgement in zip(rows, judgements, strict=True):
            new.append(Verdict(trace_id=trace, problem_id=problem, **judgement._asdict()))
            correct += judgement.status == "correct"
            progress(len(new), len(rows), f"{correct:,} correct")
            if time.monotonic() - saved > _SAVE_SECONDS:
                _save(run, kept, new)
                saved = time.monotonic()
    finally:  # an interrupted call has not judged for nothing
        verdicts = _save(run, kept, new)
    return {"verdicts": verdicts.height, "new": len(new), **dict(sorted(Counter(verdicts["status"]).items()))}


def _kept_verdicts(run: Run, traces: "polars.DataFrame", again: bool) -> "polars.DataFrame":
    """The verdicts that are there and still wanted; one that ran out of time gets another try."""
    import polars as pl

    if again or not run.verdicts.exists():
        return pl.DataFrame(schema=polars_schema(Verdict))
    verdicts = read_verdicts(run).filter(pl.col("status") != "timeout")
    return verdicts.join(traces, on=["trace_id", "problem_id"], how="semi")


def _save(run: Run, kept: "polars.DataFrame", new: list[Verdict]) -> "polars.DataFrame":
    import polars as pl

    verdicts = pl.concat([kept, to_frame(Verdict, new)]).sort("problem_id", "trace_id")
    write_parquet(run.verdicts, verdicts)
    return verdicts
