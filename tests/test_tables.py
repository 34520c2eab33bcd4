"""A run's tables: of several traces for one request, the one that counts."""

from pathlib import Path

import polars as pl
import pytest
from made_runs import make_problem

from mixdistill.errors import MixdistillError, RecordError, StorageError
from mixdistill.files import LineWriter, write_parquet
from mixdistill.records import Problem, Trace, Verdict, polars_schema, to_frame
from mixdistill.run import Run
from mixdistill.tables import read_problems, read_traces, read_verdicts
from mixdistill.trace_files import stored_traces


def stored(key: str, response: str = "", error: str | None = None, **other: object) -> dict[str, object]:
    """A line of a traces file, as the writer writes it: without what is None."""
    line = {
        "trace_id": f"t-{key}-{response or error}", "problem_id": "p-stored", "teacher": "stored", "model": "m",
        "style": "long", "sample": 9, "prompt": [{"role": "user", "content": "?"}], "response": response,
        "error": error, "request_key": key, "max_tokens": 7,
    }  # fmt: skip
    return {name: value for name, value in (line | other).items() if value is not None}


def make(folder: Path, wanted: list[str], *files: list[dict[str, object]]) -> Run:
    """A run that wants these request keys, and has these files of traces."""
    run = Run(folder)
    names = ("request_key", "problem_id", "teacher", "style", "size", "sample", "max_tokens")
    schema = {name: polars_schema(Trace)[name] for name in names}
    rows = [(key, f"p-{key}", "wanted", "short", None, number, 100) for number, key in enumerate(wanted)]
    write_parquet(run.wanted, pl.DataFrame(rows, schema=schema, orient="row"))
    for number, lines in enumerate(files):
        writer = LineWriter(run.traces / f"{number}.jsonl")
        for line in lines:
            writer.write(line)
        writer.close()
    return run


@pytest.mark.parametrize(
    ("files", "expected", "why"),
    [
        ([[stored("a", "x")]], ("x", None), "one trace"),
        ([[stored("a", error="e")]], ("", "e"), "an error is a row as well"),
        ([[stored("a", error="e"), stored("a", "x")]], ("x", None), "a success after an error counts"),
        ([[stored("a", error="e")], [stored("a", "x")]], ("x", None), "also in a later file"),
        ([[stored("a", "x"), stored("a", error="e")]], ("x", None), "an error after a success does not"),
        ([[stored("a", "x")], [stored("a", error="e")]], ("x", None), "nor in a later file"),
        ([[stored("a", "x"), stored("a", "y")]], ("y", None), "the last success counts: asked again, longer"),
        ([[stored("a", "y")], [stored("a", "x")]], ("x", None), "also by file"),
        ([[stored("a", error="e")], [stored("a", error="f")]], ("", "f"), "the last error counts"),
        (
            [[stored("a", "x"), stored("a", error="e"), stored("a", "y"), stored("a", error="f")]],
            ("y", None),
            "mixed",
        ),
    ],
)
def test_of_several_traces_the_last_success_counts(
    tmp_path: Path, files: list[list[dict[str, object]]], expected: tuple[str, str | None], why: str
) -> None:
    traces = read_traces(make(tmp_path, ["a"], *files))

    assert traces.select("response", "error").rows() == [expected], why


def test_traces_are_those_that_are_wanted_in_the_order_of_the_plan(tmp_path: Path) -> None:
    lines = [stored(key, key) for key in ("d", "old", "a", "c")]

    traces = read_traces(make(tmp_path, ["c", "missing", "a", "d"], lines))

    assert traces["response"].to_list() == ["c", "a", "d"]
    assert traces.schema == polars_schema(Trace)


def test_a_trace_stands_under_the_names_that_the_recipe_gives_it_now(tmp_path: Path) -> None:
    (row,) = read_traces(make(tmp_path, ["a"], [stored("a", "x")])).iter_rows(named=True)

    assert (row["teacher"], row["problem_id"], row["style"], row["sample"]) == ("wanted", "p-a", "short", 0)
    assert (row["model"], row["max_tokens"]) == ("m", 7), "what the request was stays as it was"
    assert row["prompt"] == [{"role": "user", "content": "?"}]


@pytest.mark.parametrize("files", [[], [[]]])
def test_a_run_whose_traces_are_all_missing_has_an_empty_table(
    tmp_path: Path, files: list[list[dict[str, object]]]
) -> None:
    run = make(tmp_path, ["a"], *files)

    assert read_traces(run).equals(pl.DataFrame(schema=polars_schema(Trace)))
    assert stored_traces(run).height == 0


def test_a_torn_line_is_asked_for_again_and_a_broken_one_is_named(tmp_path: Path) -> None:
    run = make(tmp_path, ["a", "b"], [stored("a", "x"), stored("b", "y")])
    (path,) = run.trace_files()
    content = path.read_bytes()

    path.write_bytes(content[:-5])
    assert read_traces(run)["response"].to_list() == ["x"]
    path.write_bytes(b"\n<<<<<<< HEAD\n" + content)
    with pytest.raises(RecordError) as raised:
        read_traces(run)
    assert str(raised.value) == f"{path}:2: not a trace; remove that line"


def test_problems_are_the_same_after_a_table(tmp_path: Path) -> None:
    problems = [make_problem(number, level="5" if number else None) for number in range(3)]
    run = Run(tmp_path)
    write_parquet(run.problems, to_frame(Problem, problems))

    assert read_problems(run) == problems
    assert read_problems(run, 2) == problems[:2]
    assert read_problems(run, 99) == problems


def test_verdicts_are_the_same_after_a_table(tmp_path: Path) -> None:
    run = Run(tmp_path)
    frame = to_frame(Verdict, [Verdict(trace_id="t", problem_id="p", status="timeout", reason="5 s", seconds=5.0)])
    write_parquet(run.verdicts, frame)

    assert read_verdicts(run).equals(frame)


@pytest.mark.parametrize(
    ("read", "file", "stage"),
    [
        (read_problems, "problems.parquet", "problems"),
        (read_traces, "traces/wanted.parquet", "generate"),
        (read_verdicts, "verdicts.parquet", "verify"),
    ],
)
def test_a_missing_table_names_the_stage_to_run(tmp_path: Path, read: object, file: str, stage: str) -> None:
    assert callable(read)
    with pytest.raises(MixdistillError) as raised:
        read(Run(tmp_path))

    assert isinstance(raised.value, StorageError)
    assert str(raised.value) == f"{tmp_path / file}: not there yet; run 'mixdistill {stage}' first"
