"""What a recipe asks of its teachers, and what of it is there already: without a teacher, and without any text.

In: `problems.parquet`, the recipe's teachers, the index of finished traces. Out: `wanted`, one row a request, and
which of these are missing. The wanted rows are kept in `traces/wanted.parquet` with a hash of what they follow
from, so that a resume computes no key anew and reads no source of existing traces.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import mixdistill
from mixdistill.builders.completions import Request, Sampled
from mixdistill.builders.engine_dataset import stored_requests
from mixdistill.builders.engine_llamacpp import weights_revision
from mixdistill.errors import RecipeError
from mixdistill.files import write_parquet
from mixdistill.recipe import Recipe
from mixdistill.records import Problem, Trace, canonical_json, digest, polars_schema
from mixdistill.run import Run
from mixdistill.tables import read_problems
from mixdistill.teachers import DatasetTeacher, LlamaCppTeacher, SampledTeacher
from mixdistill.trace_files import last_rows, read_index

if TYPE_CHECKING:
    import polars

_COLUMNS = ("teacher", "request_key", "problem_id", "style", "size", "sample", "max_tokens")
_FOLLOWS_FROM = "mixdistill.follows_from"
_LEFT_OUT = "mixdistill.left_out"


class Plan(NamedTuple):
    """What the recipe asks for, and what of it is still to be asked."""

    wanted: "polars.DataFrame"
    "One row a request: request_key, problem_id, teacher, style, size, sample, max_tokens."
    missing: frozenset[str]
    "Request keys that are still to be asked; of sampling until correct, those that may be."
    finished: Mapping[str, str]
    "For the request keys that are finished, the id of the trace."
    failed: frozenset[str]
    "Request keys that failed at some time, also where an earlier trace, one that was cut, is kept."
    left_out: Counter[str]
    "Rows of existing traces that were not taken, by reason."


def plan_traces(recipe: Recipe, run: Run) -> Plan:
    """What the recipe asks for, compared with what is there.

    Calls no teacher and writes nothing; reads the sources of existing traces if they changed, and the beginning of
    GGUF files. Raises RecipeError if two teachers would send the same requests, and what `stored_requests` and
    `weights_revision` raise.
    """
    import polars as pl

    wanted, left_out = _wanted(recipe, run)
    index = read_index(run)
    there = last_rows(index, pl.col("error").is_null()).filter(pl.col("error").is_null())
    joined = wanted.select("request_key", "max_tokens").join(
        there.select("request_key", "trace_id", "finish_reason", old_max_tokens="max_tokens"), on="request_key"
    )
    cut = (pl.col("finish_reason") == "length") & (pl.col("old_max_tokens") < pl.col("max_tokens"))
    done = joined.filter(~cut.fill_null(value=False))
    finished = dict(zip(done["request_key"], done["trace_id"], strict=True))
    missing = frozenset(wanted.join(done, on="request_key", how="anti")["request_key"])
    failed = frozenset(index.filter(pl.col("error").is_not_null())["request_key"])
    return Plan(wanted, missing, finished, failed, left_out)


def keep_wanted(recipe: Recipe, run: Run, plan: Plan) -> None:
    """Writes `traces/wanted.parquet`, unless it is there for this very recipe."""
    follows_from = _follows_from(recipe, run)
    if _kept(run.wanted, follows_from) is None:
        metadata = {_FOLLOWS_FROM: follows_from, _LEFT_OUT: json.dumps(plan.left_out)}
        write_parquet(run.wanted, plan.wanted, metadata)


def requested(run: Run, wanted: "polars.DataFrame") -> "polars.DataFrame":
    """The wanted rows that have a trace, or an error, with what the index knows of it."""
    import polars as pl

    there = last_rows(read_index(run), pl.col("error").is_null()).drop("teacher", "problem_id", "max_tokens")
    return wanted.join(there, on="request_key", how="inner", maintain_order="left")


def sampled(recipe: Recipe, name: str) -> Sampled:
    """The calls of a teacher that is asked now."""
    return Sampled(name, _settled(recipe.teachers[name]), recipe.seed)


def existing_requests(recipe: Recipe, problems: list[Problem], left_out: Counter[str]) -> Iterator[Request]:
    """The requests whose answers exist in a source, with these answers."""
    for name, teacher in recipe.teachers.items():
        if isinstance(teacher, DatasetTeacher):
            yield from stored_requests(name, teacher, problems, left_out)


def _wanted(recipe: Recipe, run: Run) -> "tuple[polars.DataFrame, Counter[str]]":
    """The wanted rows: those that were kept if they follow from the same, else computed."""
    kept = _kept(run.wanted, _follows_from(recipe, run))
    if kept is not None:
        return kept
    import polars as pl

    left_out: Counter[str] = Counter()
    problems = read_problems(run, recipe.limit)
    rows: dict[object, tuple[object, ...]] = {}
    for row in _rows(recipe, problems, left_out):
        teacher, key = row[:2]
        if key in rows:
            raise RecipeError(
                f"teachers {rows[key][0]!r} and {teacher!r} would send the same requests; "
                "let them differ in model, prompt or sampling, or leave one out"
            )
        rows[key] = row
    if recipe.limit is not None and len(problems) >= recipe.limit:
        del left_out["unknown_problem"]  # nobody knows which of these rows belong to problems beyond the limit
    schema = polars_schema(Trace)
    columns = {name: schema[name] for name in _COLUMNS}
    return pl.DataFrame([*rows.values()], schema=columns, orient="row"), left_out


def _rows(recipe: Recipe, problems: list[Problem], left_out: Counter[str]) -> Iterator[tuple[object, ...]]:
    """The columns of all requests that may come, teacher by teacher; not the requests, which hold all the text."""
    for name, teacher in recipe.teachers.items():
        if isinstance(teacher, DatasetTeacher):
            for request in stored_requests(name, teacher, problems, left_out):
                yield tuple(getattr(request, column) for column in _COLUMNS)
            continue
        calls = sampled(recipe, name)
        for problem in problems:
            for sample, key in enumerate(calls.keys(problem)):
                yield name, key, problem.problem_id, teacher.style, teacher.size, sample, teacher.max_tokens


def _settled(teacher: object) -> SampledTeacher:
    """The teacher with the revision of its weights: two files may have one name."""
    if isinstance(teacher, LlamaCppTeacher):
        return teacher.model_copy(update={"revision": weights_revision(teacher)})
    return cast(SampledTeacher, teacher)


def _follows_from(recipe: Recipe, run: Run) -> str:
    """A hash of all that the wanted rows depend on."""
    teachers = {
        name: teacher.model_dump(mode="json") | {"revision": getattr(_settled(teacher), "revision", None)}
        for name, teacher in recipe.teachers.items()
    }
    files = [_identity(path) for path in (run.problems, *_sources(recipe))]
    return digest(canonical_json([mixdistill.__version__, teachers, files, recipe.limit, recipe.seed]))


def _identity(path: Path) -> tuple[int, int] | None:
    """Size and time, for a hash of all traces of a source would take longer than what it saves."""
    return (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else None


def _sources(recipe: Recipe) -> Iterable[Path]:
    teachers = (teacher for teacher in recipe.teachers.values() if isinstance(teacher, DatasetTeacher))
    return (teacher.file for teacher in teachers if teacher.file is not None)


def _kept(path: Path, follows_from: str) -> "tuple[polars.DataFrame, Counter[str]] | None":
    """The rows of the file and what was left out, if it is there and follows from the same."""
    import polars as pl

    if not path.is_file():
        return None
    try:
        metadata = pl.read_parquet_metadata(path)
        if metadata.get(_FOLLOWS_FROM) != follows_from:
            return None
        return pl.read_parquet(path, glob=False), Counter(json.loads(metadata[_LEFT_OUT]))
    except (pl.exceptions.ComputeError, KeyError):  # no Parquet file: it is written anew
        return None
