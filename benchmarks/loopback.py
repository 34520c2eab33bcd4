r"""A loopback OpenAI-compatible server in a process of its own, too fast to be what is measured.

    python benchmarks/loopback.py --delay 0.02 --core 0

Prints its port, and serves until its stdin is closed. Every good answer is the same 400 tokens, after the delay.
With `--faulty` three requests in ten fail, each in one of the ways of FAULTS, and what became of every request is
counted. `GET /counts` says what was asked and answered so far. Needs nothing but Python; with uvloop it is faster.
"""

import argparse
import asyncio
import importlib
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, cast

FAULTS = (
    "429", "429 with Retry-After", "500", "slow first byte", "stall mid-body", "reset", "truncated JSON",
    "not JSON", "no choices", "HTML page",
)  # fmt: skip
FAULT_RATE = 0.3
CLIENT_TIMEOUT_SECONDS = 1.0
"What the clients of a faulty server must set: slow answers come shortly before and after it."
_TEXT = (
    "".join(
        f"**Step {n}.** Now \\(a = {n}\\) and \\(b = {42 - n}\\), so \\(a + b = 42\\) still holds.\n\n"
        for n in range(10, 22)
    )
    + r"The answer is \boxed{42}."
)
"About 400 tokens, as tokenizers of today count them."
_USAGE = {"prompt_tokens": 60, "completion_tokens": 400, "total_tokens": 460}
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Counts(NamedTuple):
    """What a server has seen so far, by what a request is known by: `[last message, seed]` as JSON."""

    n_asked: int
    n_answered: int
    "Good answers that were sent in full."
    asked: dict[str, int]
    answered: dict[str, int]
    faults: dict[str, int]


class Loopback(NamedTuple):
    """A server that runs."""

    base_url: str

    def counts(self) -> Counts:
        with urllib.request.urlopen(f"{self.base_url}/counts", timeout=30) as response:
            return Counts(**json.loads(response.read()))


@contextmanager
def serving(
    *, delay_seconds: float, core: int | None = None, faulty: bool = False, seed: int = 0,
    python: str = sys.executable,
) -> Iterator[Loopback]:  # fmt: skip
    """The server as a process, until the block ends."""
    command = [python, __file__, "--delay", str(delay_seconds), "--seed", str(seed)]
    command += ["--core", str(core)] if core is not None else []
    command += ["--faulty"] if faulty else []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        port = process.stdout.readline().strip()
        if not port:
            raise SystemExit("the loopback server did not start")
        try:
            yield Loopback(f"http://127.0.0.1:{port}/v1")
        finally:
            process.stdin.close()


def main() -> None:
    """Serves until stdin is closed."""
    parser = argparse.ArgumentParser(description="Serve 400 tokens to whoever asks.")
    parser.add_argument("--delay", type=float, default=0.02, metavar="SECONDS", help="before each answer")
    parser.add_argument("--core", type=int, metavar="N", help="run on this core only")
    parser.add_argument("--faulty", action="store_true", help="let three requests in ten fail")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, [options.core])
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(options.delay, random.Random(options.seed) if options.faulty else None))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return asyncio.new_event_loop
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)


async def _serve(delay_seconds: float, draw: random.Random | None) -> None:
    loop = asyncio.get_running_loop()
    service = _Service(loop, delay_seconds, draw)
    server = await loop.create_server(lambda: _Connection(service), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


class _Service:
    """What all connections share: the answers that are due, and the counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delay_seconds: float, draw: random.Random | None) -> None:
        self.loop = loop
        self.draw = draw
        self._delay_seconds = delay_seconds
        self._due: deque[tuple[float, _Connection, str]] = deque()
        self._n_asked = self._n_answered = 0
        self._asked: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()

    def counts(self) -> bytes:
        found = Counts(self._n_asked, self._n_answered, self._asked, self._answered, self._faults)
        return _reply(200, json.dumps(found._asdict()).encode())

    def take(self, connection: "_Connection", body: bytes) -> None:
        """Counts a request, and answers it when it is due, or lets it fail."""
        self._n_asked += 1
        if self.draw is None:  # no look into the body: the client is what is measured
            self._answer_later(connection, "")
            return
        fields = json.loads(body)
        name = json.dumps([fields["messages"][-1]["content"], fields.get("seed")])
        self._asked[name] += 1
        if self.draw.random() >= FAULT_RATE:
            self._answer_later(connection, name)
            return
        fault = self.draw.choice(FAULTS)
        self._faults[fault] += 1
        if fault == "slow first byte":
            seconds = CLIENT_TIMEOUT_SECONDS * self.draw.uniform(0.5, 1.5)
            self.loop.call_later(seconds, self._answer, connection, name)
        else:
            self.loop.call_later(self._delay_seconds, _fail, connection, fault)

    def _answer_later(self, connection: "_Connection", name: str) -> None:
        """One timer for all: the delay is the same, so who came first is due first."""
        self._due.append((self.loop.time() + self._delay_seconds, connection, name))
        if len(self._due) == 1:
            self.loop.call_later(self._delay_seconds, self._answer_due)

    def _answer_due(self) -> None:
        now = self.loop.time()
        while self._due and self._due[0][0] <= now + 0.0005:
            _, connection, name = self._due.popleft()
            self._answer(connection, name)
        if self._due:
            self.loop.call_later(self._due[0][0] - now, self._answer_due)

    def _answer(self, connection: "_Connection", name: str) -> None:
        if connection.transport.is_closing():
            return
        connection.transport.write(GOOD)
        self._n_answered += 1
        if name:
            self._answered[name] += 1


class _Connection(asyncio.Protocol):
    """Requests of one client, one after the other."""

    transport: asyncio.Transport

    def __init__(self, service: _Service) -> None:
        self._service = service
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        head = received.find(b"\r\n\r\n")
        length = _LENGTH.search(received, 0, head) if head >= 0 else None
        end = head + 4 + (int(length[1]) if length else 0)
        if head < 0 or len(received) < end:
            self._received = received
            return
        self._received = received[end:]
        if received.startswith(b"POST"):
            self._service.take(self, received[head + 4 : end])
        else:
            self.transport.write(self._service.counts())

    def reset(self) -> None:
        """Without lingering, closing is a reset (RST) instead of a goodbye (FIN)."""
        peer = cast(socket.socket, self.transport.get_extra_info("socket"))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def _fail(connection: _Connection, fault: str) -> None:
    if connection.transport.is_closing():
        return
    if fault == "reset":
        connection.reset()
    elif fault == "stall mid-body":  # and nothing more, until the client gives up
        connection.transport.write(GOOD[: len(GOOD) // 2])
    else:
        connection.transport.write(_FAILURES[fault])


def _reply(status: int, content: bytes, kind: str = "application/json", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
    return head.encode() + content


def _answer(choices: Sequence[object]) -> bytes:
    fields = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "loopback"}
    return json.dumps({**fields, "choices": choices, "usage": _USAGE}).encode()


_CHOICE = {"index": 0, "message": {"role": "assistant", "content": _TEXT}, "finish_reason": "stop"}
_ERROR = json.dumps({"error": {"message": "injected fault"}}).encode()
GOOD = _reply(200, _answer([_CHOICE]))
"A good answer, as it goes over the wire."
_FAILURES = {
    "429": _reply(429, _ERROR),
    "429 with Retry-After": _reply(429, _ERROR, headers="Retry-After: 1\r\n"),
    "500": _reply(500, _ERROR),
    "truncated JSON": _reply(200, _answer([_CHOICE])[:-40]),
    "not JSON": _reply(200, repr(_CHOICE).encode()),
    "no choices": _reply(200, _answer([])),
    "HTML page": _reply(200, b"<html><body>Bad gateway</body></html>", "text/html"),
}

if __name__ == "__main__":
    main()
