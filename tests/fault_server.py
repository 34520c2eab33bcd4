"""A small OpenAI-compatible server on loopback that answers, or fails, as a script says.

Speaks POST /v1/chat/completions, without streaming, and GET for some pages. The script sees what is asked and
how often that was asked before, and returns the Reply; it runs in the thread of its request, so it may wait for
others. Every request is counted, also those of processes that die while they wait. `FAULTS` names what servers
do wrong.
"""

import http.server
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

USAGE = {"prompt_tokens": 12, "completion_tokens": 34, "completion_tokens_details": {"reasoning_tokens": 20}}


class Request(NamedTuple):
    """What a request is known by here: a sample of a problem has a seed of its own."""

    model: str
    text: str
    "The last message."
    seed: int | None


class Asked(NamedTuple):
    """One request as it came in."""

    path: str
    body: dict[str, Any]
    authorization: str | None
    connection: tuple[str, int]
    headers: Mapping[str, str]

    @property
    def request(self) -> Request:
        return Request(self.body["model"], self.body["messages"][-1]["content"], self.body.get("seed"))


@dataclass(frozen=True)
class Reply:
    """What goes back."""

    content: bytes | None
    "None: the connection is reset instead."
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    missing_bytes: int = 0
    "Promised in Content-Length, and never sent: the connection is closed in their place."
    stalls: bool = False
    "Whether it stays open instead, and nothing more comes."
    delay_seconds: float = 0.0
    "Before the first byte."
    content_type: str = "application/json"


Script = Callable[[Asked, int], Reply]
"Called with what is asked and how often the same request came before."

RESET = Reply(None)
HELD = Reply(None, delay_seconds=3600)
"Never answered: the server is stopped before that."


def says(
    response: str | None = r"\boxed{4}", *, finish_reason: str = "stop",
    usage: Mapping[str, object] | None = USAGE, delay_seconds: float = 0.0, **message: object,
) -> Reply:  # fmt: skip
    """A good answer; `message` takes more fields, such as reasoning_content."""
    turn = {"role": "assistant", "content": response, **message}
    answer: dict[str, object] = {"choices": [{"index": 0, "message": turn, "finish_reason": finish_reason}]}
    if usage is not None:
        answer["usage"] = dict(usage)
    return Reply(json.dumps(answer).encode(), delay_seconds=delay_seconds)


def refuses(status: int, words: str = "injected fault", **headers: str) -> Reply:
    """An error in OpenAI's form; `Retry_After="7"` sets the header Retry-After."""
    content = json.dumps({"error": {"message": words}}).encode()
    return Reply(content, status, {name.replace("_", "-"): value for name, value in headers.items()})


def _cut(reply: Reply, *, stalls: bool = False) -> Reply:
    """Half of a reply, which promises all of it."""
    content = reply.content or b""
    half = len(content) // 2
    return replace(reply, content=content[:half], missing_bytes=len(content) - half, stalls=stalls)


FAULTS: Mapping[str, Reply] = {
    "429 with Retry-After": refuses(429, Retry_After="0.01"),
    "429 without Retry-After": refuses(429),
    "500": refuses(500),
    "slow first byte": says(delay_seconds=3600),
    "stall within the body": _cut(says(), stalls=True),
    "reset": RESET,
    "connection closed within the body": _cut(says()),
    "truncated JSON": Reply(b'{"choices": [{"mess'),
    "invalid JSON": Reply(b"{'choices': None}"),
    "a page instead of JSON": Reply(b"<html>busy</html>", content_type="text/html"),
    "error inside a good status": Reply(b'{"error": {"code": 502, "message": "upstream is down"}}'),
    "empty choices": Reply(b'{"choices": [], "usage": {"completion_tokens": 0}}'),
    "missing usage": says(usage=None),
    "wrong content type": replace(says(), content_type="text/plain"),
    "finish_reason length": says("<think>2 + 2 is", finish_reason="length"),
    "content filter": says("", finish_reason="content_filter"),
}
"What each does for as long as it is asked; the client's own limits end what never ends."


def in_turn(*replies: Reply) -> Script:
    """A script that gives each request the replies one after the other, and then the last one for good."""
    return lambda asked, before: replies[min(before, len(replies) - 1)]


class FaultServer:
    """The server; serves inside its `with` block, on a free port or on the one that is named."""

    def __init__(self, script: Script, port: int = 0) -> None:
        self.script = script
        self.pages: dict[str, object] = {}
        "What GET answers, by path, as JSON; 404 for any other."
        self.asked: list[Asked] = []
        self.bugs: list[Exception] = []
        "What the script raised: a test must look at it, its client only saw a reset."
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._times: Counter[Request] = Counter()
        self._httpd = _Httpd(("127.0.0.1", port), _handler_of(self))
        self.port = self._httpd.server_address[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._httpd.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._httpd.shutdown()
        self._httpd.server_close()
        assert self.bugs == []

    def times(self) -> Counter[Request]:
        """How often each request came."""
        with self._changed:
            return self._times.copy()

    def wait_for(self, n_requests: int) -> None:
        """Waits until so many requests came in all; fails after a minute."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.asked) >= n_requests, timeout=60)
        assert came, f"only {len(self.asked)} of {n_requests} requests came"

    def reply_to(self, asked: Asked) -> Reply:
        """Counts a request and gives the reply to it, when it is due."""
        with self._changed:
            before = self._times[asked.request]
            self._times[asked.request] += 1
            self.asked.append(asked)
            self._changed.notify_all()
        try:
            reply = self.script(asked, before)
        except Exception as error:
            self.bugs.append(error)
            return RESET
        self.wait(reply.delay_seconds)
        return reply

    def wait(self, seconds: float) -> None:
        """Waits, but not longer than the server serves."""
        self._stopping.wait(seconds)


class _Httpd(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Closes only: saying goodbye first (FIN) would take the edge off a reset."""
        self.close_request(request)


def _handler_of(server: FaultServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = Asked(self.path, body, self.headers["Authorization"], self.client_address, dict(self.headers))
            with suppress(ConnectionError):  # the client may be dead by now
                self._send(server.reply_to(asked))

        def do_GET(self) -> None:
            page = server.pages.get(self.path)
            self._send(refuses(404) if page is None else Reply(json.dumps(page).encode()))

        def _send(self, reply: Reply) -> None:
            if reply.content is None:
                self._reset()
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.content) + reply.missing_bytes))
            self.end_headers()
            self.wfile.write(reply.content)
            if reply.stalls:
                server.wait(3600)
            self.close_connection = bool(reply.missing_bytes)

        def _reset(self) -> None:
            """Without lingering, closing is a reset (RST) instead of a goodbye (FIN)."""
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

        def handle(self) -> None:
            with suppress(ConnectionError):
                super().handle()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    return Handler
