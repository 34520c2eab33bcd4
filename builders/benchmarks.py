"""The problems of benchmarks, from the Hub or from files, as decontamination compares them.

In: the recipe's `decontaminate.against`. Out: one BenchmarkProblem a row. A row that cannot be read stops the
stage: a problem that was not compared is not known to be clean.
"""

from collections.abc import Collection, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from mixdistill.builders.hub_rows import read_hub_rows
from mixdistill.decontamination import Benchmark
from mixdistill.errors import RecordError
from mixdistill.files import Row, read_rows, with_columns

_USUAL_NAMES = ("problem", "question", "prompt")
_USUAL_IDS = ("unique_id", "problem_id", "source_id", "uuid", "id")


class BenchmarkProblem(NamedTuple):
    """A problem that is evaluated on."""

    benchmark: str
    item: str
    "Its id there, or the number of its row."
    text: str


def read_benchmarks(benchmarks: Iterable[Benchmark]) -> list[BenchmarkProblem]:
    """All problems of some benchmarks, in order.

    Raises RecordError or HubError if one cannot be read, RecipeError if it lacks the column.
    """
    return [problem for benchmark in benchmarks for problem in _read(benchmark)]


def _read(benchmark: Benchmark) -> Iterator[BenchmarkProblem]:
    if benchmark.file is not None:
        rows = read_rows(benchmark.file)
    else:
        rows = read_hub_rows(
            str(benchmark.hub), config=benchmark.config, split=benchmark.split, revision=benchmark.revision
        )
    empty = True
    for row in with_columns(rows, partial(_lacking, benchmark)):
        empty = False
        yield _problem(benchmark, row)
    if empty:
        raise RecordError(f"decontaminate: benchmark {benchmark.title} has no problem")


def _lacking(benchmark: Benchmark, columns: Collection[str]) -> str | None:
    if _column(benchmark, columns) is not None:
        return None
    wanted = benchmark.problem or " or ".join(_USUAL_NAMES)
    return (
        f"benchmark {benchmark.title}: no column {wanted!r} (there are: {', '.join(columns)}); "
        "name it in the recipe: decontaminate: {against: [{..., problem: ...}]}"
    )


def _column(benchmark: Benchmark, columns: Collection[str]) -> str | None:
    names = (benchmark.problem,) if benchmark.problem else _USUAL_NAMES
    return next((name for name in names if name in columns), None)


def _problem(benchmark: Benchmark, row: Row) -> BenchmarkProblem:
    text = row.values.get(_column(benchmark, row.values) or "")
    if row.fault or not isinstance(text, str) or not text.strip():
        fault = row.fault or "no problem in this row"
        raise RecordError(f"benchmark {benchmark.title}: {row.place}: {fault}; mend the row or remove it")
    ids = (row.values.get(name) for name in _USUAL_IDS)
    item = next((each for each in ids if isinstance(each, str | int) and each != ""), None)
    return BenchmarkProblem(benchmark.title, str(item if item is not None else row.place.rpartition(":")[2]), text)
