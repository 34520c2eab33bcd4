"""Batch files: what is written for a provider, and what its results mean."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixdistill.builders.batch_files import BatchFile, read_batch, write_batches
from mixdistill.builders.completions import Completion, Request
from mixdistill.errors import RecordError, StorageError


def request(key: str, teacher: str = "long", model: str = "big", text: str = "1 + 1 = ?") -> Request:
    return Request(
        request_key=key, problem_id="p-1", teacher=teacher, model=model, revision=None, style="long", size=None,
        sample=0, messages=({"role": "user", "content": text},), max_tokens=100, seed=7,
        body={"temperature": 0.7, "stop": ["END"]},
    )  # fmt: skip


def keys_in(path: Path) -> list[str]:
    return [json.loads(line)["custom_id"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_holds_the_body_that_a_server_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "new" / "batch.jsonl"

    [written] = write_batches(path, [request("r-1", text="π ≈ ?\n")])

    assert written == BatchFile(path, "long", "big", 1, path.stat().st_size)
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "custom_id": "r-1",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "big", "messages": [{"role": "user", "content": "π ≈ ?\n"}], "max_tokens": 100, "seed": 7,
            "temperature": 0.7, "stop": ["END"],
        },
    }  # fmt: skip


def test_each_teacher_has_its_own_file(tmp_path: Path) -> None:
    requests = [request("r-1"), request("r-2", "short", "small"), request("r-3"), request("r-1")]

    written = write_batches(tmp_path / "batch.jsonl", requests)

    assert {file.path.name: (file.model, keys_in(file.path)) for file in written} == {
        "batch.long.jsonl": ("big", ["r-1", "r-3"]),
        "batch.short.jsonl": ("small", ["r-2"]),
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batch.long.jsonl", "batch.short.jsonl"]


@pytest.mark.parametrize("limit", [{"max_requests": 2}, {"max_bytes": 500}])
def test_a_full_file_is_followed_by_another(tmp_path: Path, limit: dict[str, int]) -> None:
    requests = [request(f"r-{i}") for i in range(5)]

    written = write_batches(tmp_path / "batch.jsonl", requests, **limit)

    names = ["batch.long.jsonl", "batch.long.2.jsonl", "batch.long.3.jsonl"]
    assert [file.path.name for file in written] == names
    assert [keys_in(file.path) for file in written] == [["r-0", "r-1"], ["r-2", "r-3"], ["r-4"]]
    assert all(file.n_bytes <= 500 for file in written)


def test_no_two_files_share_a_name(tmp_path: Path) -> None:
    requests = [request("r-1", "a"), request("r-2", "a"), request("r-3", "a.2"), request("r-4", "A")]

    written = write_batches(tmp_path / "batch.jsonl", requests, max_requests=1)

    assert [file.path.name for file in written] == [
        "batch.a.jsonl", "batch.a.2.jsonl", "batch.a.2.2.jsonl", "batch.A.3.jsonl",
    ]  # fmt: skip


def test_no_requests_make_no_file(tmp_path: Path) -> None:
    assert write_batches(tmp_path / "batch.jsonl", []) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["batch.jsonl", "batch.short.jsonl"])
def test_a_file_that_is_there_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("dear\n")

    with pytest.raises(StorageError, match=rf"{name}: is there already; move it away, or choose another"):
        write_batches(tmp_path / "batch.jsonl", [request("r-1"), request("r-2", "short")])

    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "dear\n"


def test_a_fault_midway_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[Request]:
        yield request("r-1")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_batches(tmp_path / "batch.jsonl", broken())

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match=r"batch.jsonl: cannot be written: .*; free space, or choose another"):
        write_batches(tmp_path / "file" / "batch.jsonl", [request("r-1")])


BODY = {
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "<think>1 + 1</think>2"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14},
}
GOOD = Completion(
    response="2", reasoning="1 + 1", finish_reason="stop", prompt_tokens=5, completion_tokens=9
)  # fmt: skip
EXPIRED = "This request could not be executed before the completion window expired."


def result(status: int = 200, body: object = BODY, error: object = None, key: str = "r-1") -> dict[str, object]:
    response = {"status_code": status, "request_id": "req", "body": body}
    return {"id": "batch_req_1", "custom_id": key, "response": response, "error": error}


def failed(error: str) -> Completion:
    return Completion(error=error)


def read(path: Path, *rows: object) -> tuple[list[tuple[str, Completion]], Counter[str]]:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    left_out: Counter[str] = Counter()
    return list(read_batch(path, {"r-1", "r-2"}, left_out)), left_out


@pytest.mark.parametrize(
    ("row", "completion"),
    [
        pytest.param(result(), GOOD, id="OpenAI, Azure, Groq, Mistral, vLLM"),
        pytest.param({"custom_id": "r-1", "response": {"status_code": 200, "body": BODY}}, GOOD, id="Together"),
        pytest.param({"custom_id": "r-1", "response": BODY}, GOOD, id="Fireworks: no body inside"),
        pytest.param(result(body=json.dumps(BODY)), GOOD, id="the body as a text"),
        pytest.param(
            result(400, {"error": {"message": "max_tokens is too large", "type": "invalid_request_error"}}),
            failed("HTTP 400: max_tokens is too large"), id="OpenAI's error file",
        ),
        pytest.param(
            {"custom_id": "r-1", "response": None, "error": {"code": "batch_expired", "message": EXPIRED}},
            failed(EXPIRED), id="expired",
        ),
        pytest.param(
            {"custom_id": "r-1", "response": {"status_code": 500, "message": "Server Error"}, "error": None},
            failed("HTTP 500: Server Error"), id="a message in the place of the body",
        ),
        pytest.param(
            result(400, None, "The model does not support Chat\nCompletions API"),
            failed("HTTP 400: The model does not support Chat Completions API"), id="vLLM: a text",
        ),
        pytest.param(
            result(400, None, {"error": {"message": "too long", "type": "BadRequestError", "code": 400}}),
            failed("HTTP 400: too long"), id="vLLM: its ErrorResponse",
        ),
        pytest.param(
            {"custom_id": "r-1", "error": {"message": "", "code": "rate_limit"}}, failed("rate_limit"),
            id="a code without a message",
        ),
        pytest.param(result(429, None), failed("HTTP 429: no answer"), id="a status and nothing else"),
        pytest.param(
            result(body={"choices": []}),
            failed('no choice with a message in the answer: {"choices": []}'), id="200 and no choice",
        ),
        pytest.param(
            result(body={"error": {"code": 401, "message": "no"}}),
            failed("answered 401: the key is refused"), id="an error in an answer that says 200",
        ),
    ],
)  # fmt: skip
def test_result(tmp_path: Path, row: dict[str, object], completion: Completion) -> None:
    assert read(tmp_path / "results.jsonl", row) == ([("r-1", completion)], Counter())


def test_what_is_not_taken_is_counted(tmp_path: Path) -> None:
    completions, left_out = read(
        tmp_path / "results.jsonl",
        '{"custom_id": "r-1", "resp',
        "[1]",
        "",
        result(key="r-9"),
        {"custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": {}},
        {"id": "b", "response": {"status_code": 200, "body": BODY}},
        result(key="r-2"),
    )

    assert completions == [("r-2", GOOD)]
    assert left_out == {"not_json": 2, "not_wanted": 1, "not_a_result": 2}


def test_the_last_good_result_of_a_request_counts(tmp_path: Path) -> None:
    later = {**BODY, "usage": {}}
    completions, left_out = read(
        tmp_path / "results.jsonl",
        result(500, None), result(), result(body=later), result(500, None),
        result(500, None, key="r-2"), result(503, None, key="r-2"),
    )  # fmt: skip

    assert dict(completions) == {
        "r-1": Completion(response="2", reasoning="1 + 1", finish_reason="stop"),
        "r-2": failed("HTTP 503: no answer"),
    }
    assert left_out == {"duplicate": 4}


def test_a_mark_at_the_beginning_and_windows_newlines_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "results.txt"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(result()).encode() + b"\r\n\r\n")

    assert list(read_batch(path, {"r-1"}, Counter())) == [("r-1", GOOD)]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "no line at all"),
        ("id,answer\n1,2\n", "no JSON object in 2 lines"),
        ('{"custom_id": "r-1", "body": {}}\n[]\n', "no JSON object in 1 line, another object in 1 line"),
    ],
    ids=["empty", "a table", "the requests"],
)
def test_a_file_without_a_result_is_told(tmp_path: Path, content: str, found: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(RecordError) as raised:
        list(read_batch(path, {"r-1"}, Counter()))

    assert str(raised.value).startswith(f"{path}: no line is the result of a batch, found {found}; give ")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"none.jsonl: cannot be read: No such file"):
        list(read_batch(tmp_path / "none.jsonl", set(), Counter()))
