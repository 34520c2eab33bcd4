"""Runs that a test makes itself: problems, traces and verdicts as it says, with no teacher and no verifier."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from mixdistill.files import LineWriter, write_parquet
from mixdistill.recipe import Recipe
from mixdistill.records import (
    Problem,
    Status,
    Style,
    Suspect,
    SuspectKind,
    Trace,
    Verdict,
    polars_schema,
    problem_id,
    to_frame,
    trace_id,
)
from mixdistill.run import Figures, Run


def make_recipe(mixes: Mapping[str, Mapping[str, Any]], **more: object) -> Recipe:
    """A recipe with the teachers `long` and `short`; `more` are further keys of it."""
    teachers = {style: {"engine": "dataset", "file": "t.jsonl", "style": style} for style in ("long", "short")}
    return Recipe.model_validate(
        {"name": "made", "problems": [{"file": "p.jsonl"}], "teachers": teachers, "mixes": mixes} | more
    )


def make_problem(number: int, level: str | None = None, subject: str | None = None) -> Problem:
    text, reference = f"What is {number} + 2?", str(number + 2)
    return Problem(
        problem_id=problem_id(text, reference, "math"), problem=text, reference=reference, source="made",
        license="mit", level=level, subject=subject,
    )  # fmt: skip


def make_trace(
    problem: Problem,
    teacher: str,
    style: Style = "short",
    *,
    sample: int = 0,
    response: str | None = None,
    finish_reason: str | None = "stop",
) -> Trace:
    key = f"r-{teacher}-{problem.problem_id}-{sample}"
    text = response if response is not None else rf"{teacher} {sample}: \boxed{{{problem.reference}}}"
    return Trace(
        trace_id=trace_id(key, None, text, finish_reason),
        problem_id=problem.problem_id,
        teacher=teacher,
        model=f"{teacher}-model",
        style=style,
        sample=sample,
        prompt=({"role": "user", "content": problem.problem},),
        response=text,
        finish_reason=finish_reason,
        request_key=key,
    )


def make_run(
    folder: Path,
    problems: Iterable[Problem],
    traces: Iterable[Trace],
    statuses: Mapping[str, Status] | None = None,
    suspects: Iterable[Suspect] = (),
) -> Run:
    """A run in which all traces that did not fail are correct, but for those that `statuses` names by trace id."""
    run, judged = Run(folder), statuses or {}
    kept = list(traces)
    write_parquet(run.problems, to_frame(Problem, problems))
    names = ("request_key", "problem_id", "teacher", "style", "size", "sample", "max_tokens")
    schema = {name: polars_schema(Trace)[name] for name in names}
    columns = {name: [getattr(trace, name) for trace in kept] for name in names}
    write_parquet(run.wanted, pl.DataFrame(columns, schema=schema))
    writer = LineWriter(run.traces / "1.jsonl")
    for row in to_frame(Trace, kept).iter_rows(named=True):
        writer.write(row)
    writer.close()
    verdicts = [
        Verdict(
            trace_id=trace.trace_id, problem_id=trace.problem_id, status=judged.get(trace.trace_id, "correct"),
            answer="an answer", reason="as the test says", seconds=0.0,
        )
        for trace in kept
        if trace.error is None
    ]  # fmt: skip
    write_parquet(run.verdicts, to_frame(Verdict, verdicts))
    write_parquet(run.suspects, to_frame(Suspect, suspects))
    return run


def make_suspect(problem: Problem, kind: SuspectKind = "teachers_agree") -> Suspect:
    return Suspect(
        problem_id=problem.problem_id, problem=problem.problem, reference=problem.reference, kind=kind,
        answer="another", evidence="as the test says", source=problem.source, license=problem.license,
    )  # fmt: skip


def finish_run(recipe: Recipe, run: Run) -> dict[str, int]:
    """Takes a made run through stats, mix and card; returns the rows of each config of the dataset."""
    from mixdistill.builders.mix import build_mixes
    from mixdistill.builders.stats import compute_stats
    from mixdistill.cards.dataset import build_dataset
    from mixdistill.cards.plots import draw_plots

    compute_stats(recipe, run)
    draw_plots(run)
    build_mixes(recipe, run, silent)
    return build_dataset(recipe, run)


def silent(done: int, total: int, note: str, figures: Figures | None = None, /) -> None:
    """Progress that nobody looks at."""
