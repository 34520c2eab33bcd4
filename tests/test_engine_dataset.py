"""Traces that exist already take the same way as traces that are asked for now."""

import json
from collections import Counter
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub

from mixdistill.builders.completions import Completion, Request
from mixdistill.builders.engine_dataset import stored_requests
from mixdistill.errors import HubError, MixdistillError, RecipeError, RecordError
from mixdistill.records import Problem, problem_id
from mixdistill.teachers import DatasetTeacher


def make_problem(text: str, reference: str = "2") -> Problem:
    identity = problem_id(text, reference, "math")
    return Problem(problem_id=identity, problem=text, reference=reference, source="made")


Q = "What is 1 + 1?"
PROBLEMS = [make_problem(Q), make_problem("What is 2 + 2?", "4")]


def requests(
    source: Path | str, left_out: Counter[str] | None = None, name: str = "old", **keys: object
) -> list[Request]:
    where = {"hub": source} if isinstance(source, str) else {"file": source}
    teacher = DatasetTeacher.model_validate({"engine": "dataset", "style": "long"} | where | keys)
    return list(stored_requests(name, teacher, PROBLEMS, Counter() if left_out is None else left_out))


def write(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "t.jsonl"
    path.write_bytes(
        b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)
    )
    return path


def answers(found: list[Request]) -> list[tuple[int, str | None, str, str | None]]:
    """Sample, reasoning, response and finish reason of each."""
    stored = [(request.sample, request.stored) for request in found]
    return [(n, each.reasoning, each.response, each.finish_reason) for n, each in stored if each is not None]


def test_a_row_becomes_a_request_that_brings_its_answer(tmp_path: Path) -> None:
    path = write(tmp_path, {"problem": " What is  1 + 1?\r\n", "response": "It is 2.", "why": "stop"})

    (request,) = requests(path, columns={"finish_reason": "why"}, model="gpt", revision="r1", size="large")

    assert request.stored == Completion(response="It is 2.", finish_reason="stop")
    assert (request.problem_id, request.teacher, request.model, request.revision) == (
        PROBLEMS[0].problem_id, "old", "gpt", "r1",
    )  # fmt: skip
    assert (request.style, request.size, request.sample) == ("long", "large", 0)
    assert request.messages == ({"role": "user", "content": Q},)
    trace = request.trace(request.stored)
    assert (trace.response, trace.error, trace.request_key) == ("It is 2.", None, request.request_key)


def test_rows_that_are_not_taken_are_counted_by_reason(tmp_path: Path) -> None:
    left_out: Counter[str] = Counter()
    path = write(
        tmp_path,
        b"{broken",
        {"problem": Q, "response": "2"},
        {"problem": "Who knows?", "response": "2"},
        {"problem": 7, "response": "2"},
        {"problem": None, "response": "2"},
        {"response": "2"},
        {"problem": Q, "response": ""},
        {"problem": Q, "response": " \n"},
        {"problem": Q, "response": None},
        {"problem": Q, "response": 2},
        {"problem": Q, "response": []},
        {"problem": Q},
        b"[]",
    )

    found = requests(path, left_out)

    assert answers(found) == [(0, None, "2", None)]
    assert left_out == {"unreadable_row": 2, "unknown_problem": 4, "no_response": 6}


def test_samples_are_counted_per_problem_and_teacher(tmp_path: Path) -> None:
    rows = [(Q, "x"), ("What is 2 + 2?", "x"), (Q, "y"), (Q, "x")]
    path = write(tmp_path, *({"problem": text, "response": "same", "who": who} for text, who in rows))

    found = requests(path, columns={"teacher": "who"})

    assert [(request.teacher, request.model, request.sample) for request in found] == [
        ("x", "x", 0), ("x", "x", 0), ("y", "y", 0), ("x", "x", 1),
    ]  # fmt: skip
    assert len({request.request_key for request in found}) == 4


def test_a_list_of_responses_is_a_list_of_samples_and_its_neighbours_stay_beside_it(tmp_path: Path) -> None:
    left_out: Counter[str] = Counter()
    lists = {
        "response": ["", "b", None, "d"],
        "thought": ["A", "B", "C", "D"],
        "why": ["stop", "length", "x", "stop"],
    }
    path = write(
        tmp_path, {"problem": Q} | lists, {"problem": Q, "response": ["e", "f"], "thought": ["E"], "why": "stop"}
    )

    found = requests(path, left_out, columns={"reasoning": "thought", "finish_reason": "why"})

    assert answers(found) == [
        (0, "B", "b", "length"), (1, "D", "d", "stop"), (2, "E", "e", "stop"), (3, None, "f", "stop"),
    ]  # fmt: skip
    assert left_out == {"no_response": 2}


@pytest.mark.parametrize(
    ("response", "reasoning", "expected", "why"),
    [
        ("<think>1 and 1</think>\n2", None, ("1 and 1", "2"), "thinking inside the response"),
        ("1 and 1</think>2", None, ("1 and 1", "2"), "the opener may be missing"),
        ("<think>1 and", None, ("1 and", ""), "cut while thinking"),
        ("2", "1 and 1", ("1 and 1", "2"), "thinking in its own column"),
        ("<think>in</think>2", "beside", ("beside", "2"), "the column goes before the mark"),
        ("<think>in</think>2", "", ("in", "2"), "an empty column does not"),
        ("a\r\nb", " x\r\ny ", ("x\ny", "a\nb"), "Windows newlines"),
        ("2\ud800", "\ud800", ("?", "2?"), "half a character can be written to no file"),
    ],
)
def test_thinking_is_kept_apart(
    tmp_path: Path, response: str, reasoning: str | None, expected: tuple[str, str], why: str
) -> None:
    path = write(tmp_path, {"problem": Q, "response": response, "thought": reasoning})

    assert answers(requests(path, columns={"reasoning": "thought"})) == [(0, *expected, None)], why


def test_a_row_may_name_its_teacher_style_and_size(tmp_path: Path) -> None:
    left_out: Counter[str] = Counter()
    cells = [
        ("x", "short", "small"),
        ("x", None, None),
        ("x", "", ""),
        ("x", "medium", None),
        ("x", "short", "Huge"),
        ("", "short", None),
        (None, "short", None),
    ]
    path = write(tmp_path, *({"problem": Q, "response": "2", "t": t, "y": y, "s": s} for t, y, s in cells))

    found = requests(path, left_out, size="large", columns={"teacher": "t", "style": "y", "size": "s"})

    assert [(request.style, request.size) for request in found] == [
        ("short", "small"), ("long", "large"), ("long", "large"),
    ]  # fmt: skip
    assert left_out == {"unknown_style_or_size": 2, "no_teacher": 2}


def test_keys_are_the_same_on_every_call_and_differ_with_the_answer(tmp_path: Path) -> None:
    first = requests(write(tmp_path, {"problem": Q, "response": "2"}))

    assert requests(write(tmp_path, {"response": "2", "problem": Q})) == first
    for row in ({"response": "3"}, {"response": "<think>x</think>2"}):
        assert requests(write(tmp_path, {"problem": Q} | row))[0].request_key != first[0].request_key
    path = write(tmp_path, {"problem": Q, "response": "2"})
    for keys in ({"name": "new"}, {"model": "m"}, {"revision": "r"}):
        assert requests(path, None, **{"name": "old"} | keys)[0].request_key != first[0].request_key


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"response": "respons"}, "teachers.old.columns.response: {path} has no column 'respons'"),
        ({"problem": "question"}, "teachers.old.columns.problem: {path} has no column 'question'"),
        ({"reasoning": "thought"}, "teachers.old.columns.reasoning: {path} has no column 'thought'"),
        ({"teacher": "who"}, "teachers.old.columns.teacher: {path} has no column 'who'"),
    ],
)
def test_a_missing_column_is_named_with_those_that_are_there(
    tmp_path: Path, columns: dict[str, str], message: str
) -> None:
    path = write(tmp_path, b"broken", {"problem": Q, "response": "2"})

    with pytest.raises(RecipeError) as raised:
        requests(path, columns=columns)

    assert str(raised.value) == f"{message.format(path=path)} (there are: problem, response)"


def test_a_column_need_not_stand_in_the_first_row(tmp_path: Path) -> None:
    left_out: Counter[str] = Counter()
    bare = {"problem": Q, "response": "2"}
    path = write(tmp_path, b"broken", {"problem": Q}, *[bare] * 98, bare | {"thought": "1 and 1"})

    found = requests(path, left_out, columns={"reasoning": "thought"})

    assert answers(found)[97:] == [(97, None, "2", None), (98, "1 and 1", "2", None)]
    assert left_out == {"unreadable_row": 1, "no_response": 1}


def test_a_column_that_the_first_hundred_rows_lack_is_missing(tmp_path: Path) -> None:
    bare = {"problem": Q, "response": "2"}
    path = write(tmp_path, b"broken", {"problem": Q}, *[bare] * 99, bare | {"thought": "1 and 1"})

    with pytest.raises(RecipeError, match=r"has no column 'thought' \(there are: problem, response\)"):
        requests(path, columns={"reasoning": "thought"})


def test_an_empty_file_has_no_traces(tmp_path: Path) -> None:
    left_out: Counter[str] = Counter()

    assert requests(write(tmp_path), left_out) == []
    assert left_out == {}


def test_csv_traces_may_hold_newlines_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f'problem,response\r\n{Q},"He said ""2"",\r\nso 2."\r\n', encoding="utf-8-sig", newline="")

    assert answers(requests(path)) == [(0, None, 'He said "2",\nso 2.', None)]


def test_traces_come_from_the_hub(hub: LoopbackHub) -> None:
    rows = [{"question": Q, "answers": ["2", "two"]}, {"question": "other", "answers": ["1"]}]
    hub.put("tester/traces", {"data/test.jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in rows)})
    left_out: Counter[str] = Counter()

    found = requests(
        "tester/traces", left_out, split="test", columns={"problem": "question", "response": "answers"}
    )

    assert answers(found) == [(0, None, "2", None), (1, None, "two", None)]
    assert left_out == {"unknown_problem": 1}


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        (Path("nowhere/t.jsonl"), RecordError, "nowhere/t.jsonl: no such file"),
        ("tester/private", HubError, "tester/private: Dataset 'tester/private' doesn't exist on the Hub or"),
        ("tester/traces", RecipeError,
         "teachers.old.columns.problem: tester/traces has no column 'problem' (there are: question)"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_had_is_named(
    hub: LoopbackHub, source: Path | str, kind: type[MixdistillError], message: str
) -> None:
    hub.put("tester/private", {"train.jsonl": b'{"problem": "x"}\n'}, private=True)
    hub.put("tester/traces", {"train.jsonl": b'{"question": "x"}\n'})

    with pytest.raises(kind) as raised:
        requests(source)

    assert str(raised.value).startswith(message)
