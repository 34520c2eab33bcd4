"""Traces: asks every teacher for every sample that is wanted and not there yet, and writes each as it comes.

In: `problems.parquet` and the recipe's teachers. Out: `traces/wanted.parquet` (what the recipe asks for) and
one append-only JSONL file for each process that wrote. A trace that stands there is never asked for again,
unless it failed or was cut by a smaller `max_tokens`. Killing the process at any moment loses none that
was finished; a line that was being written is asked for again. Judging them is `verify`'s business.
"""

import asyncio
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple, Never, cast

from mixdistill.builders.asking import Engine, ask_each, together
from mixdistill.builders.completions import Request, sampled_requests
from mixdistill.builders.engine_dataset import stored_requests
from mixdistill.builders.engine_llamacpp import open_llamacpp, weights_revision
from mixdistill.builders.engine_openai import open_openai
from mixdistill.errors import RecipeError, TeacherError
from mixdistill.files import LineWriter, read_lines, write_parquet
from mixdistill.recipe import DatasetTeacher, LlamaCppTeacher, OpenAITeacher, Recipe
from mixdistill.records import Problem, Trace, polars_schema
from mixdistill.run import Progress, Run
from mixdistill.tables import read_problems, read_traces, stored_traces

if TYPE_CHECKING:
    import polars

_AskedTeacher = OpenAITeacher | LlamaCppTeacher


ENGINES: Mapping[str, Callable[[Never], AbstractAsyncContextManager[Engine]]] = {
    "openai": open_openai,
    "llamacpp": open_llamacpp,
}  # each takes the teachers of its own name


class Plan(NamedTuple):
    """What the recipe asks for, and what of it is still to be asked."""

    wanted: "polars.DataFrame"
    "One row a request: request_key, problem_id, teacher, style, size, sample, max_tokens."
    missing: frozenset[str]
    "Request keys that are still to be asked."
    left_out: Counter[str]
    "Rows of existing traces that were not taken, by reason."


def generate_traces(recipe: Recipe, run: Run, progress: Progress) -> dict[str, int]:
    """Asks for all missing traces; returns counts: `traces`, `asked`, `failed`, `cut` and `left_out_<reason>`.

    `failed` are requests of this call that ended in an error; running again asks for them again.
    Raises TeacherError if a teacher cannot be reached, refuses, or fails 20 times in a row, not counting what
    had failed in an earlier call, and if nothing but errors is there in the end. What is finished is kept.
    """
    plan = plan_traces(recipe, run)
    write_parquet(run.wanted, plan.wanted)
    problems = read_problems(run, recipe.limit)
    failed_before = _failed_keys(run)
    tally: Counter[str] = Counter()
    writer = LineWriter(run.traces / f"{time.time_ns():020d}-{os.getpid()}.jsonl")

    last_error: str | None = None

    def keep(trace: Trace) -> None:
        nonlocal last_error
        last_error = trace.error or last_error
        writer.write({name: value for name, value in asdict(trace).items() if value is not None})
        tally.update(asked=1, failed=int(trace.error is not None), tokens=trace.completion_tokens or 0)
        note = f"{tally['tokens']:,} tokens" + (f", {tally['failed']} failed" if tally["failed"] else "")
        progress(tally["asked"], len(plan.missing), note)

    try:
        if plan.missing:
            progress(0, len(plan.missing), "")
            _keep_existing(recipe, problems, plan.missing, keep)
            asyncio.run(_ask_all(recipe, problems, plan.missing, failed_before, keep))
    finally:
        writer.close()
    traces = read_traces(run)
    if tally["failed"] and traces["error"].null_count() == 0:
        raise TeacherError(f"all {tally['failed']} requests failed, the last with: {last_error}")
    cut = traces.filter(traces["finish_reason"] == "length").height
    counts = {"traces": traces.height, "asked": tally["asked"], "failed": tally["failed"], "cut": cut}
    return counts | {f"left_out_{reason}": n for reason, n in sorted(plan.left_out.items())}


def plan_traces(recipe: Recipe, run: Run) -> Plan:
    """What the recipe asks for, compared with what is there.

    Calls no teacher; reads the sources of existing traces, and the beginning of GGUF files. Raises RecipeError
    if two teachers would send the same requests, and what `stored_requests` and `weights_revision` raise.
    """
    import polars as pl

    left_out: Counter[str] = Counter()
    names = ("teacher", "request_key", "problem_id", "style", "size", "sample", "max_tokens")
    rows: dict[str, tuple[object, ...]] = {}  # not the requests: existing traces come with all their text
    problems = read_problems(run, recipe.limit)
    for request in _requests(recipe, recipe.teachers, problems, left_out):
        if request.request_key in rows:
            raise RecipeError(
                f"teachers {rows[request.request_key][0]!r} and {request.teacher!r} would send the same requests; "
                "let them differ in model, prompt or sampling, or leave one out"
            )
        rows[request.request_key] = tuple(getattr(request, name) for name in names)
    schema = polars_schema(Trace)
    wanted = pl.DataFrame([*rows.values()], schema={name: schema[name] for name in names}, orient="row")
    if recipe.limit is not None and len(problems) >= recipe.limit:
        del left_out["unknown_problem"]  # nobody knows which of these rows belong to problems beyond the limit
    there = _finished_keys(run, wanted)
    return Plan(wanted, frozenset(key for key in rows if key not in there), left_out)


def _requests(
    recipe: Recipe, names: Iterable[str], problems: list[Problem], left_out: Counter[str]
) -> Iterator[Request]:
    """All requests of some teachers, teacher by teacher: their prompts begin alike, which engines cache."""
    for name in names:
        teacher = recipe.teachers[name]
        if isinstance(teacher, DatasetTeacher):
            yield from stored_requests(name, teacher, problems, left_out)
            continue
        if isinstance(teacher, LlamaCppTeacher):  # two files may have one name
            teacher = teacher.model_copy(update={"revision": weights_revision(teacher)})
        yield from sampled_requests(name, teacher, problems, recipe.seed)


def _finished_keys(run: Run, wanted: "polars.DataFrame") -> set[str]:
    """Keys that need not be asked: no error, and not cut by a limit below the one that is wanted now."""
    import polars as pl

    stored = stored_traces(run).select(
        "request_key", "error", "finish_reason", pl.col("max_tokens").alias("old_max_tokens")
    )
    cut = (pl.col("finish_reason") == "length") & (pl.col("old_max_tokens") < pl.col("max_tokens"))
    done = wanted.join(stored, on="request_key").filter(pl.col("error").is_null() & ~cut.fill_null(value=False))
    return set(done["request_key"])


def _failed_keys(run: Run) -> frozenset[str]:
    """Keys of requests that failed at some time, also where an earlier trace, one that was cut, is kept."""
    import polars as pl

    schema = pl.Schema({"request_key": pl.String(), "error": pl.String()})
    frames = [read_lines(path, schema).drop_nulls("error") for path in run.trace_files()]
    return frozenset(key for frame in frames for key in frame["request_key"])


def _keep_existing(
    recipe: Recipe, problems: list[Problem], missing: frozenset[str], keep: Callable[[Trace], None]
) -> None:
    """Keeps the traces that exist in a source and not yet in the run."""
    names = [name for name, teacher in recipe.teachers.items() if isinstance(teacher, DatasetTeacher)]
    for request in _requests(recipe, names, problems, Counter()):
        if request.stored is not None and request.request_key in missing:
            keep(request.trace(request.stored))


async def _ask_all(
    recipe: Recipe, problems: list[Problem], missing: frozenset[str], failed_before: frozenset[str],
    keep: Callable[[Trace], None],
) -> None:  # fmt: skip
    """Opens each engine once, for all the teachers that share it, and lets the engines work at the same time."""
    sharing: dict[tuple[object, ...], dict[str, _AskedTeacher]] = {}
    for name, teacher in recipe.teachers.items():
        if not isinstance(teacher, DatasetTeacher):
            sharing.setdefault(teacher.connection(), {})[name] = teacher
    jobs = []
    for teachers in sharing.values():
        requests = _requests(recipe, teachers, problems, Counter())
        todo = (request for request in requests if request.request_key in missing)
        first = next(todo, None)
        if first is not None:  # do not load a model, or need a server, that has nothing to do
            one = next(iter(teachers.values()))
            jobs.append(_ask_engine(one, itertools.chain([first], todo), failed_before, keep))
    await together(jobs)


async def _ask_engine(
    teacher: _AskedTeacher,
    requests: Iterator[Request],
    failed_before: frozenset[str],
    keep: Callable[[Trace], None],
) -> None:
    """Answers the requests with the engine of a teacher, as many at once as it takes."""
    opener = cast("Callable[[_AskedTeacher], AbstractAsyncContextManager[Engine]]", ENGINES[teacher.engine])
    async with opener(teacher) as engine:
        await ask_each(
            engine, requests, teacher.concurrency, failed_before,
            lambda request, completion: keep(request.trace(completion)),
        )  # fmt: skip
