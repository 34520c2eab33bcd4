"""The engine `openai`: any OpenAI-compatible server, over HTTP, many requests at once.

In: a Request. Out: a Completion; what fails for one request (400, a timeout, a server error after some tries)
is its `error`. What fails for all of them (no connection from the start, 401, 403, 404) is raised as
TeacherError before more is sent. The key is read from the environment and shows nowhere.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
import tenacity
import yarl
from aiohttp.helpers import get_env_proxy_for_url

from mixdistill.builders.completions import Completion, Request, read_message
from mixdistill.errors import TeacherError
from mixdistill.recipe import OpenAIServer

_TRIES = 5
_TRANSIENT_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_FATAL_STATUS = {
    401: "the key is refused; set the environment variable {key_env}",
    402: "the account has no credit left",
    403: "the key may not use this model; look at the account or the variable {key_env}",
    404: "no such address or model there; look at base_url and model",
}
_NO_CONNECTION = (aiohttp.ClientConnectionError, aiohttp.InvalidURL)
_CONNECT_SECONDS = 10.0
_RETRY_AFTER_MAX_SECONDS = 60.0
_QUOTE_CHARS = 300


class _TransientError(Exception):
    """Worth another try, not before `retry_after_seconds`."""

    def __init__(self, fault: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(fault)
        self.retry_after_seconds = retry_after_seconds


def _asked_to_wait(error: BaseException) -> float:
    return error.retry_after_seconds if isinstance(error, _TransientError) else 0.0


_WAIT = tenacity.wait_random_exponential(multiplier=0.3, max=20) + tenacity.wait_exception(_asked_to_wait)


class _Proxy(NamedTuple):
    url: yarl.URL | None
    auth: aiohttp.BasicAuth | None


_DIRECT = _Proxy(None, None)


class OpenAIEngine:
    """A connection to one server, shared by the teachers that it serves."""

    def __init__(
        self, session: aiohttp.ClientSession, base_url: str, key: str | None, key_env: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._session = session
        self._sleep = sleep
        self._url = f"{base_url}/chat/completions"
        self._key = key
        self._key_env = key_env
        self._reached = False

    async def complete(self, request: Request) -> Completion:
        """Asks once, or up to five times where the failure may pass."""
        started = time.monotonic()
        try:
            async for attempt in tenacity.AsyncRetrying(
                stop=tenacity.stop_after_attempt(_TRIES),
                wait=_WAIT,
                sleep=self._sleep,
                retry=tenacity.retry_if_exception_type(_TransientError),
                reraise=True,
            ):
                with attempt:
                    answer = await self._post(request)
        except _TransientError as error:
            if not self._reached and isinstance(error.__cause__, _NO_CONNECTION):
                raise TeacherError(
                    f"teacher {request.teacher!r}: {self._url}: {error}; start the server or mend base_url"
                ) from error
            return Completion(error=f"{error} ({_TRIES} tries)", latency_seconds=_since(started))
        if isinstance(answer, str):
            return Completion(error=answer, latency_seconds=_since(started))
        completion = _read_answer(answer, _since(started))
        if completion is None:
            fault = f"no choice with a message in the answer: {self._quote(json.dumps(answer).encode())}"
            return Completion(error=fault, latency_seconds=_since(started))
        return completion

    async def _post(self, request: Request) -> dict[str, object] | str:
        """The JSON object that came back, or the error of this one request as text."""
        body = {
            "model": request.model, "messages": list(request.messages), "max_tokens": request.max_tokens,
            "seed": request.seed, **request.body,
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = aiohttp.ClientTimeout(total=request.timeout_seconds, connect=_CONNECT_SECONDS)
        try:
            async with self._session.post(self._url, json=body, headers=headers, timeout=timeout) as response:
                self._reached = True
                content = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _TransientError(_transport_fault(error)) from error
        if status in _FATAL_STATUS:
            way_out = _FATAL_STATUS[status].format(key_env=self._key_env)
            raise TeacherError(f"teacher {request.teacher!r}: {self._url} answered {status}: {way_out}")
        if status in _TRANSIENT_STATUS:
            fault = f"HTTP {status}: {self._quote(content)}"
            raise _TransientError(fault, _retry_after_seconds(response.headers))
        if status != 200:
            return f"HTTP {status}: {self._quote(content)}"
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise _TransientError(f"not JSON: {self._quote(content)}") from error
        return answer if isinstance(answer, dict) else f"not a JSON object: {self._quote(content)}"

    def _quote(self, content: bytes) -> str:
        """The beginning of what a server said, on one line; some servers say the key they were sent."""
        if self._key:
            content = content.replace(self._key.encode(), b"***")
        text = content[: 4 * _QUOTE_CHARS].decode("utf-8", "replace")
        return " ".join(text.split())[:_QUOTE_CHARS] or "(empty)"


@asynccontextmanager
async def open_openai(server: OpenAIServer) -> AsyncIterator[OpenAIEngine]:
    """The connection to a server."""
    # `export KEY=$(cat file)` may bring a newline.
    key = os.environ.get(server.api_key_env, "").strip() or None
    async with client_session(server.concurrency, _environment_proxy(server.base_url)) as session:
        yield OpenAIEngine(session, server.base_url, key, server.api_key_env)


def client_session(concurrency: int, proxy: _Proxy = _DIRECT) -> aiohttp.ClientSession:
    """An HTTP client for so many requests at once."""
    connector = aiohttp.TCPConnector(limit=concurrency)
    return aiohttp.ClientSession(connector=connector, proxy=proxy.url, proxy_auth=proxy.auth)


def _environment_proxy(url: str) -> _Proxy:
    """The proxy that HTTPS_PROXY and its like name. Not `trust_env`: that sends passwords from ~/.netrc too."""
    try:
        return _Proxy(*get_env_proxy_for_url(yarl.URL(url)))
    except LookupError:
        return _DIRECT


def _retry_after_seconds(headers: Mapping[str, str]) -> float:
    """What the header Retry-After asks for; its form with a date is rare among these servers and not read."""
    text = headers.get("Retry-After", "")
    return min(float(text), _RETRY_AFTER_MAX_SECONDS) if text.isdecimal() else 0.0


def _read_answer(answer: Mapping[str, object], latency_seconds: float) -> Completion | None:
    """The completion in the answer of a server; None if there is none in it."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return None
    text = read_message(message)
    finish_reason = choice.get("finish_reason")
    usage = answer.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    details = counts.get("completion_tokens_details")
    return Completion(
        response=text.response,
        reasoning=text.reasoning,
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        prompt_tokens=_count(counts, "prompt_tokens"),
        completion_tokens=_count(counts, "completion_tokens"),
        reasoning_tokens=_count(details if isinstance(details, dict) else {}, "reasoning_tokens"),
        latency_seconds=latency_seconds,
    )


def _count(counts: Mapping[str, object], name: str) -> int | None:
    value = counts.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _transport_fault(error: Exception) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    return " ".join(f"{type(error).__name__}: {error}".split())[:_QUOTE_CHARS]


def _since(started: float) -> float:
    return round(time.monotonic() - started, 4)
