"""The engine `openai` against a server of our own that fails as it is told."""

import asyncio
import inspect
import json
import random
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest
from fault_server import FAULTS, RESET, Asked, FaultServer, Reply, in_turn, refuses, says

from mixdistill.builders.completions import Completion, Load, Request
from mixdistill.builders.engine_openai import OpenAIEngine, open_openai
from mixdistill.builders.server_answers import TransientError, read_answer
from mixdistill.errors import TeacherError
from mixdistill.teachers import OpenAITeacher

KEY = "sk-secret-0123456789"
KEY_ENV = "TEACHER_KEY"
ALWAYS_DOWN = "http://127.0.0.1:1/v1"  # tcpmux: nobody listens


Sleep = Callable[[float], Awaitable[None]]
Answers = TypeVar("Answers")


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


def teacher(**fields: object) -> OpenAITeacher:
    return OpenAITeacher.model_validate(
        {"engine": "openai", "model": "big", "style": "long", "api_key_env": KEY_ENV, "concurrency": 4, **fields}
    )


def with_engine(
    asking: Callable[[OpenAIEngine], Awaitable[Answers]], sleep: Sleep = asyncio.sleep, **fields: object
) -> Answers:
    """What asking an engine comes to; the key is that of the environment."""

    async def opened() -> Answers:
        async with open_openai(teacher(**fields), sleep=sleep) as engine:
            return await asking(engine)

    return asyncio.run(opened())


def ask(
    base_url: str | list[str], *requests: Request, clock: Clock | None = None, **fields: object
) -> list[Completion]:
    """The answers to some requests, one after the other; sleeps between tries are only noted."""

    async def answers(engine: OpenAIEngine) -> list[Completion]:
        return [await engine.complete(each) for each in requests]

    return with_engine(answers, (clock or Clock()).sleep, base_url=base_url, **fields)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


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
        ask(server.base_url, request())
    monkeypatch.delenv(KEY_ENV)
    ask(server.base_url, request())

    assert [asked.authorization for asked in server.asked] == [None, None, None]


def test_the_newline_at_the_end_of_a_key_file_is_no_part_of_the_key(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, f"{KEY}\n")

    ask(server.base_url, request())

    assert server.asked[0].authorization == f"Bearer {KEY}"


def test_passwords_of_other_programs_are_neither_sent_nor_in_the_way(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password netrc-secret\n")
    monkeypatch.setenv("NETRC", str(netrc))

    (with_key,) = ask(server.base_url, request())
    monkeypatch.delenv(KEY_ENV)
    (without_key,) = ask(server.base_url, request())

    assert [with_key.error, without_key.error] == [None, None]
    assert [asked.authorization for asked in server.asked] == [f"Bearer {KEY}", None]


def test_the_proxy_of_the_environment_is_used_but_not_for_hosts_in_no_proxy(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    (through, direct) = [
        ask(base_url, request())[0] for base_url in ("http://teacher.invalid/v1", server.base_url)
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
            says("4", usage={"prompt_tokens": 12.0, "completion_tokens": 2**53 - 1}),
            Completion(
                response="4", finish_reason="stop", prompt_tokens=12, completion_tokens=9_007_199_254_740_991
            ),
            id="counts that a gateway made floats of",
        ),
        pytest.param(
            says(
                "4",
                usage={
                    "prompt_tokens": -1,
                    "completion_tokens": 2**53,
                    "completion_tokens_details": {"reasoning_tokens": 3.5},
                },
            ),
            Completion(response="4", finish_reason="stop"),
            id="counts that count nothing",
        ),
        pytest.param(
            says("4", usage={"prompt_tokens": 2**64, "completion_tokens": float("nan")}),
            Completion(response="4", finish_reason="stop"),
            id="counts that are read as floats",
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


class Outcome(NamedTuple):
    """What the trace says of a request whose server does one thing for good."""

    error: str | None
    n_sent: int = 5
    response: str = ""
    reasoning: str | None = None
    finish_reason: str | None = None
    completion_tokens: int | None = None


def good(**fields: object) -> Outcome:
    outcome = Outcome(None, 1, r"\boxed{4}", finish_reason="stop", completion_tokens=34)
    return outcome._replace(**fields)  # type: ignore[arg-type]


INJECTED = '{"error": {"message": "injected fault"}}'
OUTCOMES = {
    "429 with Retry-After": Outcome(f"HTTP 429: {INJECTED} (5 tries)"),
    "429 without Retry-After": Outcome(f"HTTP 429: {INJECTED} (5 tries)"),
    "500": Outcome(f"HTTP 500: {INJECTED} (5 tries)"),
    "slow first byte": Outcome("no bytes within 0.1 s (5 tries)"),
    "stall within the body": Outcome("no bytes within 0.1 s (5 tries)"),
    "reset": Outcome("ClientOSError: [Errno 104] Connection reset by peer (5 tries)"),
    "connection closed within the body": Outcome("ClientPayloadError: Response payload is not completed"),
    "truncated JSON": Outcome('not JSON: {"choices": [{"mess (5 tries)'),
    "invalid JSON": Outcome("not JSON: {'choices': None} (5 tries)"),
    "a page instead of JSON": Outcome("not JSON: <html>busy</html> (5 tries)"),
    "error inside a good status": Outcome(
        'error 502 in the answer: {"error": {"code": 502, "message": "upstream is down"}} (5 tries)'
    ),
    "empty choices": Outcome(
        'no choice with a message in the answer: {"choices": [], "usage": {"completion_tokens": 0}} (5 tries)'
    ),
    "missing usage": good(completion_tokens=None),
    "wrong content type": good(),
    "finish_reason length": good(response="", reasoning="2 + 2 is", finish_reason="length"),
    "content filter": good(response="", finish_reason="content_filter"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_trace_says_what_the_server_did(server: FaultServer, name: str) -> None:
    expected = OUTCOMES[name]
    server.script = lambda asked, before: FAULTS[name] if asked.request.text == "faulty" else says("fine")

    random.seed(0)  # of the jitter: what came too early is tried for a second
    first, completion = ask(
        server.base_url, request("first"), request("faulty", timeout_seconds=1.0), read_seconds=0.1
    )

    trace = request("faulty").trace(completion)
    sent = sum(asked.request.text == "faulty" for asked in server.asked)
    error = trace.error if trace.error is None else trace.error.partition(": <ContentLengthError")[0]
    assert first.response == "fine"
    assert expected == Outcome(
        error, sent, trace.response, trace.reasoning, trace.finish_reason, trace.completion_tokens
    )
    assert trace.latency_seconds is not None


@pytest.mark.parametrize("name", [name for name, outcome in OUTCOMES.items() if outcome.n_sent > 1])
def test_what_may_pass_is_tried_again(server: FaultServer, name: str) -> None:
    server.script = in_turn(FAULTS[name], FAULTS[name], says("4"))
    clock = Clock()

    (completion,) = ask(server.base_url, request(), clock=clock, read_seconds=0.1)

    assert (completion.response, completion.error) == ("4", None)
    assert list(server.times().values()) == [3]
    assert len(clock.slept_seconds) == 2
    assert clock.slept_seconds[0] <= 0.3
    assert clock.slept_seconds[1] <= 0.6


def test_every_fault_has_an_outcome() -> None:
    assert OUTCOMES.keys() == FAULTS.keys()


def test_a_slow_answer_is_given_up_and_asked_again(server: FaultServer) -> None:
    server.script = in_turn(says("slow", delay_seconds=30), says("4"))

    (completion,) = ask(server.base_url, request(timeout_seconds=0.3))

    assert (completion.response, completion.error) == ("4", None)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refuses(500), 'HTTP 500: {"error": {"message": "injected fault"}} (5 tries)'),
        (Reply(b"", 502), "HTTP 502: (empty) (5 tries)"),
        (Reply(b"<html>\n busy </html>"), "not JSON: <html> busy </html> (5 tries)"),
        (Reply(b"x" * 10_000, 500), f"HTTP 500: {'x' * 300} (5 tries)"),
        (Reply(b""), "not JSON: (empty) (5 tries)"),
        (Reply(b"[" * 100_000), f"nested too deeply: {'[' * 300} (5 tries)"),
        (Reply(b"[1, 2]"), "not a JSON object: [1, 2] (5 tries)"),
        (Reply(b'{"choices": [7]}'), 'no choice with a message in the answer: {"choices": [7]} (5 tries)'),
        (
            Reply(b'{"choices": [{"message": {"content": "a half"}, "error": {"code": "504"}}]}'),
            'error 504 in the answer: {"choices": [{"message": {"content": "a half"}, "error": {"code": "504"}}]}'
            " (5 tries)",
        ),
        (
            Reply(b'{"error": {"code": "overloaded"}}'),
            'no choice with a message in the answer: {"error": {"code": "overloaded"}} (5 tries)',
        ),
    ],
)
def test_after_five_tries_the_fault_is_the_requests_error(server: FaultServer, reply: Reply, error: str) -> None:
    server.script = in_turn(reply)

    (completion,) = ask(server.base_url, request())

    assert (completion.error, completion.response, completion.finish_reason) == (error, "", None)
    assert list(server.times().values()) == [5]


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0.01"}])
def test_too_early_is_no_failure(server: FaultServer, headers: dict[str, str]) -> None:
    """A limit of requests a minute is over in a minute; five tries are over in five seconds."""
    clock = Clock()
    server.script = in_turn(*[refuses(429, **headers)] * 8, refuses(500), says("4"))

    (completion,) = ask(server.base_url, request(timeout_seconds=600), clock=clock)

    assert completion.response == "4"
    assert len(clock.slept_seconds) == 9
    assert max(clock.slept_seconds) <= 20


def test_a_server_that_always_says_too_early_is_given_up_when_the_time_of_the_request_is_over(
    server: FaultServer,
) -> None:
    clock = Clock()
    server.script = in_turn(refuses(429))

    (completion,) = ask(server.base_url, request(timeout_seconds=100), clock=clock)

    n_tries = len(server.asked)
    assert completion.error == f'HTTP 429: {{"error": {{"message": "injected fault"}}}} ({n_tries} tries)'
    assert sum(clock.slept_seconds) >= 100 > sum(clock.slept_seconds[:-1])


@pytest.mark.parametrize("status", [503, 529])
def test_a_server_that_may_be_starting_has_five_tries_and_a_minute(server: FaultServer, status: int) -> None:
    clock = Clock()
    server.script = in_turn(refuses(status, "Loading model"))

    (completion,) = ask(server.base_url, request(), clock=clock)

    n_tries = len(server.asked)
    assert completion.error == f'HTTP {status}: {{"error": {{"message": "Loading model"}}}} ({n_tries} tries)'
    assert sum(clock.slept_seconds) >= 60 > sum(clock.slept_seconds[:-1])


def test_a_pause_is_waited_for_once_and_not_again_between_tries(server: FaultServer) -> None:
    clock = Clock()
    server.script = in_turn(*[refuses(429, Retry_After="0.01")] * 20, says("4"))

    (completion,) = ask(server.base_url, request(timeout_seconds=600), clock=clock)

    assert completion.response == "4"
    assert len(clock.slept_seconds) == 20
    assert max(clock.slept_seconds) <= 1


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_retry_after_is_kept_whatever_may_pass(server: FaultServer, status: int) -> None:
    server.script = in_turn(*[refuses(status, Retry_After="0.05")] * 6, says("4"))
    started = time.monotonic()

    (completion,) = ask(server.base_url, request())

    assert (completion.response, len(server.asked)) == ("4", 7)
    assert time.monotonic() - started >= 6 * 0.05


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refuses(400, "too long"), 'HTTP 400: {"error": {"message": "too long"}}'),
        (refuses(422), 'HTTP 422: {"error": {"message": "injected fault"}}'),
        (Reply(b"\xff\xfe", 413), "HTTP 413: \ufffd\ufffd"),
        (
            Reply(b'{"error": {"code": 400, "message": "too long"}}'),
            'error 400 in the answer: {"error": {"code": 400, "message": "too long"}}',
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

    assert (hard.error, easy.response) == ("no answer within 0.1 s (5 tries)", "4")


def die(server: FaultServer) -> None:
    """Ends a server; also over the connections that are kept open, nothing comes any more."""
    server.script = in_turn(RESET)
    server.__exit__()


def test_a_server_that_is_away_for_a_while_costs_no_request(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mixdistill.builders.pace._OUT_SECONDS", 0.01)
    monkeypatch.setattr("mixdistill.builders.pace._OUT_MAX_SECONDS", 0.02)
    clock = Clock()

    async def answers(engine: OpenAIEngine) -> list[Completion]:
        first = await engine.complete(request())
        die(server)
        waiting = [asyncio.create_task(engine.complete(each)) for each in numbered(8)]
        await asyncio.sleep(0.5)  # time for some twenty tries
        with FaultServer(in_turn(says("back")), port=server.port):
            return [first, *await asyncio.gather(*waiting)]

    completions = with_engine(answers, clock.sleep, base_url=server.base_url)

    assert [completion.error for completion in completions] == [None] * 9
    assert [completion.response for completion in completions[1:]] == ["back"] * 8
    assert len(clock.slept_seconds) <= 8


def test_a_server_that_resets_all_for_a_while_costs_no_request(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a proxy or a tunnel does whose server is away."""
    monkeypatch.setattr("mixdistill.builders.pace._OUT_SECONDS", 0.01)
    monkeypatch.setattr("mixdistill.builders.pace._OUT_MAX_SECONDS", 0.02)

    async def answers(engine: OpenAIEngine) -> list[Completion]:
        await engine.complete(request())
        server.script = in_turn(RESET)
        waiting = [asyncio.create_task(engine.complete(each)) for each in numbered(8)]
        await asyncio.sleep(0.5)
        server.script = in_turn(says("back"))
        return await asyncio.gather(*waiting)

    completions = with_engine(answers, Clock().sleep, base_url=server.base_url, concurrency=8)

    assert [(completion.response, completion.error) for completion in completions] == [("back", None)] * 8


def test_a_request_that_alone_is_reset_gets_its_error_and_the_run_goes_on(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mixdistill.builders.pace._OUT_SECONDS", 0.01)
    server.script = lambda asked, before: RESET if "poison" in asked.request.text else says("4")

    before, poisoned, after = ask(server.base_url, request("first"), request("poison"), request("last"))

    assert (before.response, after.response) == ("4", "4")
    assert poisoned.error is not None
    assert poisoned.error.endswith("Connection reset by peer (5 tries)")


def test_a_server_that_stays_away_stops_the_run(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixdistill.builders.pace._OUT_SECONDS", 0.01)
    monkeypatch.setattr("mixdistill.builders.pace._OUT_MAX_SECONDS", 0.02)
    monkeypatch.setattr("mixdistill.builders.engine_openai._AWAY_SECONDS", 0.3)

    async def answers(engine: OpenAIEngine) -> Completion:
        await engine.complete(request())
        die(server)
        return await engine.complete(request())

    with pytest.raises(TeacherError) as raised:
        with_engine(answers, Clock().sleep, base_url=server.base_url)

    told = f"teacher 'long': {server.base_url}/chat/completions: no answer for 0.005 minutes, at last "
    assert str(raised.value).startswith(f"{told}ClientConnectorError: Cannot connect to host 127.0.0.1:")
    assert str(raised.value).endswith("; what is finished is kept, run again when it is mended")


def test_requests_that_take_too_long_are_no_server_that_is_away(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mixdistill.builders.pace._OUT_SECONDS", 0.01)
    monkeypatch.setattr("mixdistill.builders.pace._OUT_MAX_SECONDS", 0.02)
    monkeypatch.setattr("mixdistill.builders.engine_openai._AWAY_SECONDS", 0.1)
    server.script = lambda asked, before: says("4", delay_seconds=30 if "hard" in asked.request.text else 0)

    easy, *hard = ask(server.base_url, request("easy"), *[request("hard", timeout_seconds=0.05)] * 2)

    assert easy.response == "4"
    assert [completion.error for completion in hard] == ["no answer within 0.05 s (5 tries)"] * 2


def stopped(
    server: FaultServer, after_requests: int, *requests: Request, sleep: Sleep = asyncio.sleep, **fields: object
) -> list[Completion]:
    """What requests at once come to when the engine is stopped after the server got so many."""

    async def answers(engine: OpenAIEngine) -> list[Completion]:
        waiting = [asyncio.create_task(engine.complete(each)) for each in requests]
        await asyncio.to_thread(server.wait_for, after_requests)
        await asyncio.sleep(0.05)
        engine.stop()
        return await asyncio.wait_for(asyncio.gather(*waiting), 5)

    return with_engine(answers, sleep, base_url=server.base_url, **fields)


def test_after_a_stop_what_is_under_way_ends_and_what_waits_for_room_is_not_sent(server: FaultServer) -> None:
    server.script = in_turn(says("4", delay_seconds=0.3))

    completions = stopped(server, 1, *numbered(3), concurrency=1)

    assert [completion.error for completion in completions] == [None, "stopped", "stopped"]
    assert len(server.asked) == 1


def test_after_a_stop_there_is_no_other_try_and_the_wait_for_it_ends_at_once(server: FaultServer) -> None:
    server.script = in_turn(refuses(500))

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(3600)

    (completion,) = stopped(server, 1, request(), sleep=sleep)

    assert completion.error == 'HTTP 500: {"error": {"message": "injected fault"}} (1 tries)'
    assert len(server.asked) == 1


def test_after_a_stop_nobody_waits_for_the_end_of_a_pause(server: FaultServer) -> None:
    server.script = in_turn(refuses(429, Retry_After="100"))

    (completion,) = stopped(server, 1, request(), sleep=Clock().sleep)

    assert completion.error == 'HTTP 429: {"error": {"message": "injected fault"}} (1 tries)'


def test_a_stop_before_any_server_was_reached_raises_nothing() -> None:
    async def answer(engine: OpenAIEngine) -> Completion:
        waiting = asyncio.create_task(engine.complete(request()))
        await asyncio.sleep(0.1)
        engine.stop()
        return await asyncio.wait_for(waiting, 5)

    completion = with_engine(answer, lambda seconds: asyncio.sleep(3600), base_url=ALWAYS_DOWN)

    assert completion.error is not None
    assert completion.error.startswith("ClientConnectorError: Cannot connect to host 127.0.0.1:1 ")


def test_each_limit_on_time_names_itself_and_a_server_that_trickles_is_not_stalled(server: FaultServer) -> None:
    server.script = lambda asked, before: says("4", delay_seconds=0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, socket.create_connection(deaf.getsockname()):
        full = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"  # its queue is full: nobody gets a connection

        (total,) = ask(server.base_url, request(timeout_seconds=0.1))
        (read,) = ask(server.base_url, request(), read_seconds=0.1)
        (neither,) = ask(server.base_url, request(), read_seconds=5)
        with pytest.raises(TeacherError) as connect:
            ask(full, request(), connect_seconds=0.1)

    assert total.error == "no answer within 0.1 s (5 tries)"
    assert read.error == "no bytes within 0.1 s (5 tries)"
    assert neither.response == "4"
    assert str(connect.value) == (
        f"teacher 'long': {full}/chat/completions: no connection within 0.1 s; "
        "start the server, or look at base_url and the network"
    )


@pytest.mark.parametrize(
    ("status", "way_out"),
    [
        (401, "the key is refused; set the environment variable TEACHER_KEY"),
        (403, "the key may not use this model; look at the account or the variable TEACHER_KEY"),
        (402, "the account has no credit left"),
        (404, "no such address or model there; look at base_url and model"),
        (308, "it moved to another address; mend base_url"),
    ],
)
def test_what_would_fail_every_request_is_raised_at_once(server: FaultServer, status: int, way_out: str) -> None:
    server.script = in_turn(refuses(status, Location=f"{server.base_url}/elsewhere"))

    with pytest.raises(TeacherError) as raised:
        ask(server.base_url, request())

    assert str(raised.value) == (
        f"teacher 'long': {server.base_url}/chat/completions answered {status}: {way_out}"
    )
    assert list(server.times().values()) == [1]


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(b'{"error": {"code": 401, "message": "no"}}'), 401),
        (Reply(b'{"error": {"code": "insufficient_quota"}}', 429), 402),
    ],
)
def test_what_the_content_says_counts_where_the_status_is_milder(
    server: FaultServer, reply: Reply, code: int
) -> None:
    server.script = in_turn(reply)

    with pytest.raises(TeacherError, match=f"/chat/completions answered {code}: "):
        ask(server.base_url, request())

    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("base_url", "fault"),
    [
        (ALWAYS_DOWN, "ClientConnectorError: Cannot connect to host 127.0.0.1:1"),
        ("http://teacher.invalid/v1", "ClientConnectorDNSError: Cannot connect to host teacher.invalid:80"),
    ],
)
def test_a_server_that_cannot_be_reached_is_raised_after_five_tries(base_url: str, fault: str) -> None:
    clock = Clock()

    with pytest.raises(TeacherError) as raised:
        ask(base_url, request(), clock=clock)

    assert str(raised.value).startswith(f"teacher 'long': {base_url}/chat/completions: {fault}")
    assert str(raised.value).endswith("; start the server, or look at base_url and the network")
    assert len(clock.slept_seconds) == 4


def test_an_address_that_is_none_is_named_before_anything_is_sent() -> None:
    with pytest.raises(TeacherError) as raised:
        ask("http://127.0.0.1:99999/v1", request())

    assert str(raised.value) == "base_url: http://127.0.0.1:99999/v1: Port out of range 0-65535; mend base_url"


@pytest.mark.parametrize(
    ("header", "seconds", "why"),
    [
        ("7", 7, "seconds"),
        ("0.5", 0.5, "a part of a second"),
        ("100000", 120, "two minutes at most"),
        ("inf", 120, "two minutes at most"),
        ("-7", 0, "in the past"),
        ("nan", 0, "no number"),
        ("soon", 0, "no number and no date"),
        (formatdate(time.time() - 60, usegmt=True), 0, "a date that is over"),
        (formatdate(time.time() + 3600, usegmt=True), 120, "a date, two minutes at most"),
        ("Wed, 21 Oct 2099 07:28:00 -0000", 0, "a date without its time zone"),
    ],
)
def test_retry_after_is_read(header: str, seconds: float, why: str) -> None:
    with pytest.raises(TransientError) as raised:
        read_answer(429, {"Retry-After": header}, b"", 0.0, repr)

    assert raised.value.pause_seconds == seconds, why


@contextmanager
def few_frames() -> Iterator[None]:
    """So few that what the parser takes, which counts no frames, is too deep for what reads it."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 200)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def test_an_answer_that_is_nested_too_deeply_to_be_read_may_pass() -> None:
    thinking = b'[{"type": "thinking", "thinking": ' * 400 + b'"x"' + b"}]" * 400

    with pytest.raises(TransientError) as raised, few_frames():
        read_answer(200, {}, b'{"choices": [{"message": {"content": ' + thinking + b"}}]}", 0.0, repr)

    assert str(raised.value).startswith("nested too deeply: ")
    assert raised.value.fault == "bad answer"


def test_a_date_to_retry_after_is_waited_for() -> None:
    with pytest.raises(TransientError) as raised:
        read_answer(503, {"Retry-After": formatdate(time.time() + 60, usegmt=True)}, b"", 0.0, repr)

    assert 55 < raised.value.pause_seconds <= 60


def test_retry_after_is_waited_for_by_all_requests_and_takes_none_of_their_time(server: FaultServer) -> None:
    came: list[float] = []

    def script(asked: Asked, before: int) -> Reply:
        came.append(time.monotonic())
        return refuses(429, Retry_After="0.5") if len(came) == 1 else says("4")

    server.script = script

    async def answers(engine: OpenAIEngine) -> list[Completion]:
        first = asyncio.create_task(engine.complete(request("first", timeout_seconds=0.4)))
        while engine.load.limit == 4:
            await asyncio.sleep(0.005)
        others = [engine.complete(request(f"{i}", timeout_seconds=0.4)) for i in range(3)]
        return await asyncio.gather(first, *others)

    completions = with_engine(answers, Clock().sleep, base_url=server.base_url)

    assert [completion.error for completion in completions] == [None] * 4
    assert all((completion.latency_seconds or 0) < 0.4 for completion in completions)
    assert len(came) == 5
    assert min(came[1:]) - came[0] >= 0.45


def test_an_overloaded_server_is_asked_less_at_once_and_then_more_again(server: FaultServer) -> None:
    busy, most, lock = 0, [0], threading.Lock()
    room = 3

    def script(asked: Asked, before: int) -> Reply:
        nonlocal busy
        with lock:
            busy += 1
            most.append(busy)
            fits = busy <= room
        time.sleep(0.005)
        with lock:
            busy -= 1
        return says("4") if fits else refuses(429)

    server.script = script

    async def answers(engine: OpenAIEngine) -> tuple[list[Completion], Load, Load]:
        nonlocal room
        numbers = iter(range(120))

        async def work() -> list[Completion]:
            return [await engine.complete(request(f"{number}")) for number in numbers]

        done = await asyncio.gather(*(work() for _ in range(16)))
        slowed, room = engine.load, 99
        numbers = iter(range(120, 420))
        done += await asyncio.gather(*(work() for _ in range(16)))
        return [completion for completions in done for completion in completions], slowed, engine.load

    completions, slowed, recovered = with_engine(answers, base_url=server.base_url, concurrency=16)

    assert len(completions) == 420
    assert [completion.error for completion in completions if completion.error] == []
    assert max(most) > 3
    assert slowed.limit <= 9  # it is halved as often as it gets beyond 3, and may have grown since
    assert slowed.in_flight == 0
    assert 0 < slowed.retries == recovered.retries
    assert recovered.limit == 16


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
        ({"headers": {"X-Team": "a"}}, False),
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

    async def answers(engine: OpenAIEngine) -> list[Completion]:
        rounds = [await asyncio.gather(*(engine.complete(request()) for _ in range(4))) for _ in range(3)]
        return [completion for completions in rounds for completion in completions]

    completions = with_engine(answers, base_url=server.base_url)

    assert [completion.error for completion in completions] == [None] * 12
    assert len({asked.connection for asked in server.asked}) == 4


def test_more_headers_are_sent_with_variables_of_the_environment_in_them(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", "gate-${GATEWAY_TEAM}\n")
    monkeypatch.setenv("GATEWAY_TEAM", "blue")

    ask(server.base_url, request(), headers={"X-Gateway": "${GATEWAY_TEAM}:${GATEWAY_TOKEN}", "X-Plain": "$5 {1}"})
    ask(server.base_url, request(), headers={"authorization": "Basic ${GATEWAY_TEAM}"})

    first, second = server.asked
    assert (first.headers["X-Gateway"], first.headers["X-Plain"]) == ("blue:gate-${GATEWAY_TEAM}", "$5 {1}")
    assert (first.authorization, first.headers["Content-Type"]) == (f"Bearer {KEY}", "application/json")
    assert second.authorization == "Basic blue"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            "Token ${NOT_THERE}",
            "headers: X-Gateway: the environment variable NOT_THERE is not set; set it, or leave",
        ),
        ("${not-a-name}", "headers: X-Gateway: the environment variable not-a-name is not set; set it, or leave"),
        ("${TWO_LINES}", "headers: 'X-Gateway': a line break or the like stands in it; look at its variable"),
    ],
)
def test_a_header_that_cannot_be_sent_is_named_before_anything_is(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, value: str, told: str
) -> None:
    monkeypatch.setenv("TWO_LINES", "sk-1\nsk-2")

    with pytest.raises(TeacherError) as raised:
        ask(server.base_url, request(), headers={"X-Gateway": value})

    assert str(raised.value).startswith(told)
    assert server.asked == []


def test_headers_that_the_server_says_back_are_not_quoted(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", "tok")
    server.script = lambda asked, before: Reply("|".join(asked.headers.values()).encode(), 400)
    headers = {"X-Gateway": "Bearer ${GATEWAY_TOKEN}", "X-Org": "acme-corp", "X-Short": "yes"}

    (completion,) = ask(server.base_url, request(), headers=headers)

    assert completion.error is not None
    assert completion.error.startswith("HTTP 400: ")
    assert "|Bearer ***|***|***|yes|" in completion.error
    assert not any(secret in completion.error for secret in (KEY, "tok", "acme-corp"))


@pytest.fixture
def second(server: FaultServer) -> Iterator[FaultServer]:
    with FaultServer(in_turn(says("second"))) as running:
        yield running


def numbered(n: int) -> list[Request]:
    return [request(f"What is {i}?") for i in range(n)]


def test_several_servers_are_asked_in_turn(server: FaultServer, second: FaultServer) -> None:
    completions = ask([server.base_url, second.base_url, server.base_url], *numbered(6))

    assert [completion.error for completion in completions] == [None] * 6
    asked = [[each.request.text for each in one.asked] for one in (server, second)]
    assert asked == [[f"What is {i}?" for i in numbers] for numbers in ((0, 2, 4), (1, 3, 5))]


def test_a_request_that_failed_at_one_server_is_asked_at_the_other(
    server: FaultServer, second: FaultServer
) -> None:
    server.script = in_turn(refuses(500))

    completions = ask([server.base_url, second.base_url], *numbered(8))

    assert [completion.response for completion in completions] == ["second"] * 8
    assert set(server.times().values()) == {1}


def test_a_dead_server_is_left_out_at_once_and_costs_no_try(second: FaultServer) -> None:
    clock = Clock()

    completions = ask([ALWAYS_DOWN, second.base_url], *numbered(4), clock=clock)

    assert [completion.response for completion in completions] == ["second"] * 4
    assert clock.slept_seconds == []


def test_a_dead_server_that_comes_back_is_asked_again(
    server: FaultServer, second: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mixdistill.builders.pace._OUT_SECONDS", 0.5)
    back_at = server.port

    async def answers(engine: OpenAIEngine) -> list[list[str]]:
        both = [(await engine.complete(each)).response for each in numbered(2)]
        die(server)
        alone = [(await engine.complete(each)).response for each in numbered(3)]
        with FaultServer(in_turn(says("back")), port=back_at):
            early = [(await engine.complete(each)).response for each in numbered(2)]
            await asyncio.sleep(0.55)
            late = [(await engine.complete(each)).response for each in numbered(4)]
        return [both, alone, early, sorted(late)]

    rounds = with_engine(answers, base_url=[server.base_url, second.base_url], concurrency=1)

    assert rounds[0] == [r"\boxed{4}", "second"]
    assert rounds[1:3] == [["second"] * 3, ["second"] * 2]
    assert rounds[3] == ["back", "back", "second", "second"]


def test_if_no_server_of_several_was_ever_reached_all_are_named() -> None:
    clock = Clock()
    addresses = [ALWAYS_DOWN, "http://127.0.0.1:2/v1"]

    with pytest.raises(TeacherError) as raised:
        ask(addresses, request(), clock=clock)

    named = ", ".join(f"{address}/chat/completions" for address in addresses)
    assert str(raised.value).startswith(f"teacher 'long': {named}: ClientConnectorError: Cannot connect to host ")
    assert str(raised.value).endswith("; start the server, or look at base_url and the network")
    assert len(clock.slept_seconds) == 4


def test_if_all_servers_die_requests_wait_for_the_first_that_comes_back(
    server: FaultServer, second: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mixdistill.builders.pace._OUT_SECONDS", 0.01)
    monkeypatch.setattr("mixdistill.builders.pace._OUT_MAX_SECONDS", 0.02)

    async def answers(engine: OpenAIEngine) -> list[Completion]:
        await engine.complete(request())
        die(server)
        die(second)
        waiting = [asyncio.create_task(engine.complete(each)) for each in numbered(4)]
        await asyncio.sleep(0.3)
        with FaultServer(in_turn(says("back")), port=second.port):
            return await asyncio.gather(*waiting)

    completions = with_engine(answers, Clock().sleep, base_url=[server.base_url, second.base_url])

    assert [completion.response for completion in completions] == ["back"] * 4


def test_one_server_of_several_that_refuses_the_key_is_named(server: FaultServer, second: FaultServer) -> None:
    second.script = in_turn(refuses(401))

    with pytest.raises(TeacherError) as raised:
        ask([server.base_url, second.base_url], *numbered(2))

    assert str(raised.value).startswith(f"teacher 'long': {second.base_url}/chat/completions answered 401: ")


def test_no_proxy_holds_for_each_server_by_itself(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    through, direct = ask(["http://teacher.invalid/v1", server.base_url], *numbered(2))

    assert [through.error, direct.error] == [None, None]
    assert [asked.path for asked in server.asked] == [
        "http://teacher.invalid/v1/chat/completions",
        "/v1/chat/completions",
    ]


VLLM_MODEL = {
    "id": "big",
    "object": "model",
    "owned_by": "vllm",
    "root": "/data/weights/big-7b",
    "max_model_len": 4096,
}


@pytest.mark.parametrize(
    ("pages", "facts"),
    [
        pytest.param({}, {}, id="says nothing"),
        pytest.param(
            {"/version": {"version": "0.33.0"}, "/v1/models": {"data": [{"id": "other"}, VLLM_MODEL]}},
            {
                "server": "vllm 0.33.0",
                "models": {"big": {"owned_by": "vllm", "root": "big-7b", "max_model_len": 4096}},
            },
            id="vLLM",
        ),
        pytest.param(
            {
                "/props": {"build_info": "b1234-abc", "model_path": "/home/me/gguf/small.gguf"},
                "/v1/models": {"data": [{"id": "any", "owned_by": "llamacpp", "meta": {"n_ctx_train": 2048}}]},
            },
            {
                "server": "llama.cpp b1234-abc",
                "weights": "small.gguf",
                "models": {"big": {"owned_by": "llamacpp", "n_ctx_train": 2048}},
            },
            id="llama.cpp, which takes any name for its model",
        ),
        pytest.param(
            {
                "/version": ["0.33.0"],
                "/props": {"build_info": 7},
                "/v1/models": {"data": [7, {"id": "other"}, {}]},
            },
            {},
            id="other forms",
        ),
    ],
)
def test_what_serves_is_described(server: FaultServer, pages: dict[str, object], facts: dict[str, object]) -> None:
    server.pages = pages

    async def describe(engine: OpenAIEngine) -> dict[str, object]:
        await engine.complete(request())
        return await engine.describe()

    assert with_engine(describe, base_url=[ALWAYS_DOWN, server.base_url]) == {"engine": "openai", **facts}


def test_a_server_that_cannot_be_asked_what_it_is_is_no_error() -> None:
    assert with_engine(lambda engine: engine.describe(), base_url=ALWAYS_DOWN) == {"engine": "openai"}
