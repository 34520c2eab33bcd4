"""The engine `openai` against a server of our own that fails as it is told."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fault_server import RESET, FaultServer, Reply, in_turn, refuses, says

from mixdistill.builders.completions import Completion, Request
from mixdistill.builders.engine_openai import OpenAIEngine, client_session, open_openai
from mixdistill.errors import TeacherError
from mixdistill.recipe import OpenAITeacher

KEY = "sk-secret-0123456789"
KEY_ENV = "TEACHER_KEY"
ALWAYS_DOWN = "http://127.0.0.1:1/v1"  # tcpmux: nobody listens


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(in_turn(says())) as running:
        yield running


@dataclass
class Clock:
    """Notes how long it was asked to sleep instead of sleeping."""

    slept_seconds: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept_seconds.append(seconds)


def request(text: str = "What is 2 + 2?", *, timeout_seconds: float = 30.0, **body: object) -> Request:
    return Request(
        request_key="r-1", problem_id="p-1", teacher="long", model="big", revision=None, style="long", size=None,
        sample=0, messages=({"role": "user", "content": text},), max_tokens=50, seed=7,
        timeout_seconds=timeout_seconds, body=body,
    )  # fmt: skip


def ask(base_url: str, *requests: Request, clock: Clock | None = None, key: str | None = KEY) -> list[Completion]:
    """The answers to some requests, one after the other; sleeps between tries are only noted."""

    async def answers() -> list[Completion]:
        async with client_session(4) as session:
            engine = OpenAIEngine(session, base_url, key, KEY_ENV, (clock or Clock()).sleep)
            return [await engine.complete(each) for each in requests]

    return asyncio.run(answers())


def teacher(**fields: object) -> OpenAITeacher:
    return OpenAITeacher.model_validate(
        {"engine": "openai", "model": "big", "style": "long", "api_key_env": KEY_ENV, "concurrency": 2, **fields}
    )


def ask_as_a_recipe_does(base_url: str, *requests: Request) -> list[Completion]:
    async def answers() -> list[Completion]:
        async with open_openai(teacher(base_url=base_url)) as engine:
            return [await engine.complete(each) for each in requests]

    return asyncio.run(answers())


def test_a_request_is_sent_as_openai_servers_read_it(server: FaultServer) -> None:
    ask(server.base_url, request(temperature=0.7, chat_template_kwargs={"enable_thinking": True}))

    (asked,) = server.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.body == {
        "model": "big",
        "messages": [{"role": "user", "content": "What is 2 + 2?"}],
        "max_tokens": 50,
        "seed": 7,
        "temperature": 0.7,
        "chat_template_kwargs": {"enable_thinking": True},
    }
    assert asked.authorization == f"Bearer {KEY}"


def test_without_a_key_none_is_sent(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "  \n"):
        monkeypatch.setenv(KEY_ENV, value)
        ask_as_a_recipe_does(server.base_url, request())
    monkeypatch.delenv(KEY_ENV)
    ask_as_a_recipe_does(server.base_url, request())

    assert [asked.authorization for asked in server.asked] == [None, None, None]


def test_the_newline_at_the_end_of_a_key_file_is_no_part_of_the_key(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, f"{KEY}\n")

    ask_as_a_recipe_does(server.base_url, request())

    assert server.asked[0].authorization == f"Bearer {KEY}"


def test_passwords_of_other_programs_are_neither_sent_nor_in_the_way(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password netrc-secret\n")
    monkeypatch.setenv("NETRC", str(netrc))

    monkeypatch.setenv(KEY_ENV, KEY)
    (with_key,) = ask_as_a_recipe_does(server.base_url, request())
    monkeypatch.delenv(KEY_ENV)
    (without_key,) = ask_as_a_recipe_does(server.base_url, request())

    assert [with_key.error, without_key.error] == [None, None]
    assert [asked.authorization for asked in server.asked] == [f"Bearer {KEY}", None]


def test_the_proxy_of_the_environment_is_used_but_not_for_hosts_in_no_proxy(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    (through, direct) = [
        ask_as_a_recipe_does(base_url, request())[0] for base_url in ("http://teacher.invalid/v1", server.base_url)
    ]

    assert [through.error, direct.error] == [None, None]
    assert [asked.path for asked in server.asked] == [
        "http://teacher.invalid/v1/chat/completions",
        "/v1/chat/completions",
    ]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        pytest.param(
            says("4"),
            Completion(
                response="4", finish_reason="stop", prompt_tokens=12, completion_tokens=34, reasoning_tokens=20
            ),
            id="an answer",
        ),
        pytest.param(
            says("4", reasoning="2 + 2", usage=None),
            Completion(response="4", reasoning="2 + 2", finish_reason="stop"),
            id="reasoning; no usage",
        ),
        pytest.param(
            says("4", reasoning_content="2 + 2", usage={"prompt_tokens": 3}),
            Completion(response="4", reasoning="2 + 2", finish_reason="stop", prompt_tokens=3),
            id="reasoning_content; a part of the usage",
        ),
        pytest.param(
            says(
                "4",
                reasoning_details=[{"text": "2 + 2"}],
                usage={"completion_tokens": "34", "prompt_tokens": True},
            ),
            Completion(response="4", reasoning="2 + 2", finish_reason="stop"),
            id="reasoning_details; counts that are no numbers",
        ),
        pytest.param(
            says("<think>2 + 2</think>4", usage={"completion_tokens": 9, "completion_tokens_details": None}),
            Completion(response="4", reasoning="2 + 2", finish_reason="stop", completion_tokens=9),
            id="thinking inside the content; details are null",
        ),
        pytest.param(
            says(None, reasoning="2 +", finish_reason="length", usage=None),
            Completion(response="", reasoning="2 +", finish_reason="length"),
            id="cut by max_tokens while thinking",
        ),
        pytest.param(
            says("\ud83d\ude00 π\u2028\x00", usage=None),
            Completion(response="😀 π\u2028\x00", finish_reason="stop"),
            id="unicode",
        ),
    ],
)
def test_an_answer_is_read(server: FaultServer, reply: Reply, expected: Completion) -> None:
    server.script = in_turn(reply)

    (completion,) = ask(server.base_url, request())

    assert completion.latency_seconds is not None
    assert replace(completion, latency_seconds=None) == expected


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(refuses(429), id="too many requests"),
        pytest.param(refuses(500), id="server error"),
        pytest.param(refuses(503), id="model is loading"),
        pytest.param(RESET, id="connection reset"),
        pytest.param(Reply(says().content, missing_bytes=10), id="connection lost within the answer"),
        pytest.param(Reply(b'{"choices": [{"mess'), id="half a JSON text"),
        pytest.param(Reply(b"<html>busy</html>"), id="no JSON"),
        pytest.param(Reply(b""), id="nothing"),
        pytest.param(Reply(b"[" * 100_000), id="JSON too deep for Python"),
    ],
)
def test_what_may_pass_is_tried_again(server: FaultServer, reply: Reply) -> None:
    server.script = in_turn(reply, reply, says("4"))
    clock = Clock()

    (completion,) = ask(server.base_url, request(), clock=clock)

    assert (completion.response, completion.error) == ("4", None)
    assert list(server.times().values()) == [3]
    assert len(clock.slept_seconds) == 2


def test_a_slow_answer_is_given_up_and_asked_again(server: FaultServer) -> None:
    server.script = in_turn(says("slow", delay_seconds=30), says("4"))

    (completion,) = ask(server.base_url, request(timeout_seconds=0.3))

    assert (completion.response, completion.error) == ("4", None)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refuses(500), 'HTTP 500: {"error": {"message": "injected fault"}} (5 tries)'),
        (refuses(503, "Loading model"), 'HTTP 503: {"error": {"message": "Loading model"}} (5 tries)'),
        (Reply(b"", 502), "HTTP 502: (empty) (5 tries)"),
        (Reply(b"<html>\n busy </html>"), "not JSON: <html> busy </html> (5 tries)"),
        (Reply(b"x" * 10_000, 500), f"HTTP 500: {'x' * 300} (5 tries)"),
    ],
)
def test_after_five_tries_the_fault_is_the_requests_error(server: FaultServer, reply: Reply, error: str) -> None:
    server.script = in_turn(reply)

    (completion,) = ask(server.base_url, request())

    assert (completion.error, completion.response, completion.finish_reason) == (error, "", None)
    assert list(server.times().values()) == [5]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refuses(400, "too long"), 'HTTP 400: {"error": {"message": "too long"}}'),
        (refuses(422), 'HTTP 422: {"error": {"message": "injected fault"}}'),
        (Reply(b"\xff\xfe", 413), "HTTP 413: \ufffd\ufffd"),
        (Reply(b"[1, 2]"), "not a JSON object: [1, 2]"),
        (Reply(b'{"choices": []}'), 'no choice with a message in the answer: {"choices": []}'),
        (Reply(b'{"choices": [7]}'), 'no choice with a message in the answer: {"choices": [7]}'),
        (
            Reply(b'{"error": {"code": 502, "message": "upstream is down"}}'),
            'no choice with a message in the answer: {"error": {"code": 502, "message": "upstream is down"}}',
        ),
    ],
)
def test_what_another_try_would_not_mend_is_asked_once(server: FaultServer, reply: Reply, error: str) -> None:
    server.script = in_turn(reply)

    (completion,) = ask(server.base_url, request())

    assert (completion.error, completion.response) == (error, "")
    assert list(server.times().values()) == [1]


def test_a_fault_of_the_first_request_is_not_one_of_the_next(server: FaultServer) -> None:
    server.script = lambda asked, before: refuses(500) if "poison" in asked.request.text else says("4")

    poisoned, good = ask(server.base_url, request("poison"), request("What is 2 + 2?"))

    assert (poisoned.error, good.response) == (
        'HTTP 500: {"error": {"message": "injected fault"}} (5 tries)', "4"
    )  # fmt: skip


def test_a_first_request_that_takes_too_long_is_not_a_server_that_is_down(server: FaultServer) -> None:
    server.script = lambda asked, before: says("4", delay_seconds=30 if "hard" in asked.request.text else 0)

    hard, easy = ask(server.base_url, request("hard", timeout_seconds=0.1), request("easy"))

    assert (hard.error, easy.response) == ("no answer in time (5 tries)", "4")


def test_a_server_that_goes_down_later_fails_requests_not_the_run() -> None:
    async def answers() -> list[Completion]:
        with FaultServer(in_turn(says("4"))) as server:
            async with client_session(4) as session:
                engine = OpenAIEngine(session, server.base_url, KEY, KEY_ENV, Clock().sleep)
                first = await engine.complete(request())
                server.script = in_turn(RESET)
                return [first, await engine.complete(request())]

    first, second = asyncio.run(answers())

    assert (first.error, second.response) == (None, "")
    assert second.error is not None
    assert second.error.endswith("(5 tries)")


@pytest.mark.parametrize(
    ("status", "way_out"),
    [
        (401, "the key is refused; set the environment variable TEACHER_KEY"),
        (403, "the key may not use this model; look at the account or the variable TEACHER_KEY"),
        (404, "no such address or model there; look at base_url and model"),
    ],
)
def test_what_would_fail_every_request_is_raised_at_once(server: FaultServer, status: int, way_out: str) -> None:
    server.script = in_turn(refuses(status))

    with pytest.raises(TeacherError) as raised:
        ask(server.base_url, request())

    assert str(raised.value) == (
        f"teacher 'long': {server.base_url}/chat/completions answered {status}: {way_out}"
    )
    assert list(server.times().values()) == [1]


@pytest.mark.parametrize(
    ("base_url", "fault"),
    [
        (ALWAYS_DOWN, "ClientConnectorError: Cannot connect to host 127.0.0.1:1"),
        ("http://teacher.invalid/v1", "ClientConnectorDNSError: Cannot connect to host teacher.invalid:80"),
        ("http://127.0.0.1:99999/v1", "InvalidUrlClientError: http://127.0.0.1:99999/v1/chat/completions"),
    ],
)
def test_a_server_that_cannot_be_reached_is_raised_after_five_tries(base_url: str, fault: str) -> None:
    clock = Clock()

    with pytest.raises(TeacherError) as raised:
        ask(base_url, request(), clock=clock)

    assert str(raised.value).startswith(f"teacher 'long': {base_url}/chat/completions: {fault}")
    assert str(raised.value).endswith("; start the server or mend base_url")
    assert len(clock.slept_seconds) == 4


@pytest.mark.parametrize(
    ("header", "at_least", "below", "why"),
    [
        ("7", 7, 7.7, "the server's wish, and a little chance so that not all come back at once"),
        ("100000", 60, 61, "a minute at most"),
        ("-7", 0, 0.7, "no number of seconds"),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0, 0.7, "dates are not read"),
    ],
)
def test_retry_after_is_waited_for(
    server: FaultServer, header: str, at_least: float, below: float, why: str
) -> None:
    server.script = in_turn(refuses(429, Retry_After=header), says("4"))
    clock = Clock()

    (completion,) = ask(server.base_url, request(), clock=clock)

    assert completion.response == "4"
    (slept_seconds,) = clock.slept_seconds
    assert at_least <= slept_seconds < below, why


@pytest.mark.parametrize("status", [400, 500, 200])
def test_a_key_that_the_server_says_back_is_not_quoted(server: FaultServer, status: int) -> None:
    server.script = lambda asked, before: Reply(json.dumps({"error": asked.authorization}).encode(), status)

    (completion,) = ask(server.base_url, request())

    assert completion.error is not None
    assert '{"error": "Bearer ***"}' in completion.error


@pytest.mark.parametrize("n_spaces", range(1150, 1200, 10))
def test_half_a_key_is_not_quoted_either(server: FaultServer, n_spaces: int) -> None:
    server.script = lambda asked, before: Reply(b" " * n_spaces + f"{asked.authorization}".encode(), 400)

    (completion,) = ask(server.base_url, request())

    assert completion.error in {f"HTTP 400: {'Bearer ***'[:n]}" for n in range(11)} | {"HTTP 400: (empty)"}


@pytest.mark.parametrize(
    ("fields", "shared"),
    [
        ({"model": "small", "style": "short", "max_tokens": 5, "temperature": 1.0, "timeout_seconds": 1}, True),
        ({"base_url": "https://api.openai.com/v1/"}, True),
        ({"base_url": ALWAYS_DOWN}, False),
        ({"api_key_env": "OTHER"}, False),
        ({"concurrency": 3}, False),
    ],
)
def test_teachers_share_a_connection_if_they_agree_in_what_makes_it(
    fields: dict[str, object], shared: bool
) -> None:
    assert (teacher(**fields).connection() == teacher().connection()) is shared


def test_requests_are_under_way_at_once_over_connections_that_are_kept(server: FaultServer) -> None:
    all_there = threading.Barrier(4, timeout=30)

    def answers_when_all_are_there(asked: object, before: int) -> Reply:
        all_there.wait()
        return says("4")

    server.script = answers_when_all_are_there

    async def answers() -> list[Completion]:
        async with client_session(4) as session:
            engine = OpenAIEngine(session, server.base_url, KEY, KEY_ENV)
            rounds = [await asyncio.gather(*(engine.complete(request()) for _ in range(4))) for _ in range(3)]
            return [completion for completions in rounds for completion in completions]

    assert [completion.error for completion in asyncio.run(answers())] == [None] * 12
    assert len({asked.connection for asked in server.asked}) == 4
