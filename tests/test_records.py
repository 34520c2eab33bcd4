"""Ids that are the same everywhere, and rows that keep their types in a table."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, fields
from typing import get_args

import polars as pl
import pytest

from mixdistill.records import (
    AnswerType,
    DroppedProblem,
    Message,
    MixRow,
    Problem,
    Trace,
    Verdict,
    canonical_json,
    digest,
    draw_seed,
    normalise_text,
    polars_schema,
    problem_id,
    request_key,
    same_text_key,
    to_frame,
    trace_id,
)

MESSAGES: tuple[Message, ...] = ({"role": "user", "content": "1 + 1 = ?"},)
TRACE = Trace(
    trace_id="t-1", problem_id="p-1", teacher="long", model="m", style="long", sample=0,
    prompt=({"role": "system", "content": "Think."}, {"role": "user", "content": "Größe?\u2028\0"}),
    response="", completion_tokens=2**62, cost_usd=0.1, request_key="r-1",
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected", "why"),
    [
        (" two\r\nlines \n", "two\nlines", "Windows newlines, blank edges"),
        ("old\rMac", "old\nMac", "newlines of the last century"),
        ("cafe\u0301", "caf\u00e9", "one spelling for one letter"),
        ("\ud83d x", "? x", "half of an emoji can be written to no file"),
        ("\U0001f600", "\U0001f600", "a whole one can"),
        ("a\0b", "a\0b", "NUL is a character like others"),
        ("\u00a0x\u3000", "x", "blanks of other scripts"),
        ("", "", "nothing"),
    ],
)
def test_text_is_normalised(text: str, expected: str, why: str) -> None:
    assert normalise_text(text) == expected, why
    assert normalise_text(expected) == expected, "twice is once"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What  is\r\n1?", "What is 1?", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("a\u00a0b", "a b", True),
        ("ab", "a b", False),
        ("A", "a", False),
    ],
)
def test_only_white_space_and_spelling_are_folded(one: str, other: str, same: bool) -> None:
    assert (same_text_key(one) == same_text_key(other)) is same
    assert (problem_id(one, "1", "math") == problem_id(other, "1", "math")) is same
    assert (problem_id("p", one, "math") == problem_id("p", other, "math")) is same


def test_a_problem_whose_answers_are_compared_otherwise_is_another_one() -> None:
    answer_types = get_args(AnswerType)
    assert len({problem_id("p", "A", answer_type) for answer_type in answer_types}) == len(answer_types)
    ids = {problem_id("p", "A", "choice", grading) for grading in (None, '{"options": {"A": "1"}}', "{}")}
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("a\0b", "c"), ("a", "b\0c")),
        (("a", ""), ("a",)),
        (('a","b',), ("a", "b")),
        (("\ud800",), ("?",)),
    ],
)
def test_a_digest_tells_its_parts_apart(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert digest(*one) != digest(*other)
    assert len(digest(*one)) == 24


def test_ids_are_the_same_in_every_process() -> None:
    code = (
        "from mixdistill.records import *\n"
        "key = request_key([{'content': 'é', 'role': 'user'}], 'm', None, {'b': 1, 'a': [0.5]}, 0)\n"
        "print(problem_id('é', '1', 'math'), key, trace_id(key, None, 'x', None), draw_seed(42, 'p', 'long', 0))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True
        )
        for seed in ("1", "2")
    ]
    key = request_key([{"role": "user", "content": "é"}], "m", None, {"a": [0.5], "b": 1}, 0)
    here = [problem_id("é", "1", "math"), key, trace_id(key, None, "x", None)]
    here.append(str(draw_seed(42, "p", "long", 0)))

    assert [run.stdout.split() for run in runs] == [here, here]
    assert [part[:2] for part in here[:3]] == ["p-", "r-", "t-"]


@pytest.mark.parametrize(
    "key",
    [
        request_key(({"role": "user", "content": "1 + 2 = ?"},), "m", None, {"temperature": 0.0}, 0),
        request_key(({"role": "system", "content": "1 + 1 = ?"},), "m", None, {"temperature": 0.0}, 0),
        request_key(MESSAGES, "n", None, {"temperature": 0.0}, 0),
        request_key(MESSAGES, "m", "v2", {"temperature": 0.0}, 0),
        request_key(MESSAGES, "m", None, {"temperature": 0.7}, 0),
        request_key(MESSAGES, "m", None, {"temperature": 0.0, "stop": ["x"]}, 0),
        request_key(MESSAGES, "m", None, {"temperature": 0.0}, 1),
    ],
)
def test_a_request_key_depends_on_everything_that_the_answer_does(key: str) -> None:
    assert key != request_key(MESSAGES, "m", None, {"temperature": 0.0}, 0)


def test_a_trace_id_depends_on_what_came_back() -> None:
    ids = {trace_id(*parts) for parts in [("r", "a", "b", None), ("r", "a", "b", "stop"), ("r", None, "ab", None)]}

    assert len(ids) == 3
    assert trace_id("r", None, "b", None) == trace_id("r", "", "b", None)


def test_seeds_of_draws_are_spread_and_fit_every_engine() -> None:
    seeds = {draw_seed(run_seed, "p", sample) for run_seed in (0, 1, 2**70, -1) for sample in range(250)}

    assert len(seeds) == 1000
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert draw_seed(1, "\ud800", None) == draw_seed(1, "\ud800", None)
    assert draw_seed(1, "a", "b") != draw_seed(1, "ab")


def test_canonical_json_has_one_text_for_one_value() -> None:
    assert canonical_json({"b": [1, None], "a": "é"}) == '{"a":"é","b":[1,null]}'
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})


@pytest.mark.parametrize("record", [Problem, DroppedProblem, Trace, Verdict, MixRow])
def test_a_frame_has_the_fields_of_its_record_also_when_empty(record: type) -> None:
    frame = to_frame(record, [])

    assert frame.columns == [field.name for field in fields(record)]
    assert frame.schema == polars_schema(record)
    assert frame.height == 0


def test_a_trace_is_the_same_after_a_table() -> None:
    (row,) = to_frame(Trace, [TRACE]).iter_rows(named=True)

    assert row | {"prompt": tuple(row["prompt"])} == asdict(TRACE)
    assert Trace(**row | {"prompt": tuple(row["prompt"])}) == TRACE


def test_the_types_of_a_frame_are_those_of_the_record() -> None:
    schema = polars_schema(Trace)

    assert (schema["sample"], schema["cost_usd"], schema["style"]) == (pl.Int64(), pl.Float64(), pl.String())
    assert schema["prompt"] == pl.List(pl.Struct({"role": pl.String, "content": pl.String}))


def test_a_field_of_an_unknown_type_is_no_column() -> None:
    @dataclass
    class Odd:
        field: complex

    with pytest.raises(TypeError, match="no Polars type for <class 'complex'>"):
        polars_schema(Odd)


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises((TypeError, pl.exceptions.PolarsError)):
        to_frame(Verdict, [Verdict(trace_id="t", problem_id="p", status="correct", reason="", seconds="x")])  # type: ignore[arg-type]


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        TRACE.response = "x"  # type: ignore[misc]
    assert json.loads(json.dumps(asdict(TRACE)))["sample"] == 0
