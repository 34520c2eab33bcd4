"""The engine `openai`: any OpenAI-compatible server, or several that serve the same, over HTTP.

In: a Request. Out: a Completion; what fails for one request (400, a timeout, a server error after some tries)
is its `error`. What fails for all of them (no connection from the start, 401, 403, 404) is raised as
TeacherError before more is sent. How much a server is asked at once is `pace`'s business, what its answers mean
that of `server_answers`. The key and other headers are read from the environment and show nowhere.
"""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
import tenacity
import yarl
from aiohttp.helpers import get_env_proxy_for_url
from multidict import CIMultiDict

from mixdistill.builders.completions import Completion, Load, Request
from mixdistill.builders.pace import Pace, Slots
from mixdistill.builders.server_answers import Fault, RefusedError, TransientError, read_answer
from mixdistill.builders.server_facts import FACT_SECONDS, server_facts
from mixdistill.errors import TeacherError
from mixdistill.json_bytes import dump_json, load_json
from mixdistill.teachers import OpenAIServer

_TRIES = 5  # that fail; one that only came too early is none
_RESTART_SECONDS = 60.0  # a server that starts says 503 for a while
_AWAY_SECONDS = 300.0  # then a server that had answered before is not merely started again
_WAIT = tenacity.wait_random_exponential(multiplier=0.3, max=20)
_WAIT_AFTER_PAUSE = tenacity.wait_random_exponential(multiplier=0.3, max=1)  # the slots keep the pause itself
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
_QUOTE_CHARS = 300
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_SECRET_CHARS = 4  # shorter values, such as "1" or "yes", hide nothing and stand in many texts


class _Endpoint(NamedTuple):
    """Where requests to one address go."""

    url: yarl.URL
    proxy: yarl.URL | None
    proxy_auth: aiohttp.BasicAuth | None


class _Tries:
    """What the tries of one request know of each other."""

    __slots__ = ("_n_failed", "fault", "latency_seconds", "n", "pace", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.pace: Pace | None = None
        "Of the server that failed last: another one is asked next."
        self.fault = TransientError("stopped", "lost")
        "What came last; at first, what is told if nothing is ever sent."
        self.latency_seconds = 0.0
        self.n = 0
        self._n_failed = 0

    def count(self) -> None:
        """Counts the last one as one that failed."""
        self.n += 1
        self._n_failed += not self.fault.is_too_early

    def are_enough(self, state: tenacity.RetryCallState) -> bool:
        """Whether to give up: after five failures, of a server that may be starting also a minute; where some only
        came too early, when its time is over.
        """
        waited_seconds = max(state.idle_for, state.seconds_since_start or 0.0)
        if self._n_failed >= _TRIES:
            return self.fault.fault != "overloaded" or waited_seconds >= _RESTART_SECONDS
        return self.n >= _TRIES and waited_seconds >= self.request.timeout_seconds


class Embedded(NamedTuple):
    """What is known of a server that runs in this process; no proxy leads there."""

    key: str
    about: Mapping[str, object]
    "What serves."


class OpenAIEngine:
    """The connections to the servers of one teacher, shared by the teachers that they serve."""

    def __init__(
        self, session: aiohttp.ClientSession, server: OpenAIServer, endpoints: Mapping[str, _Endpoint],
        secrets: Sequence[str], embedded: Embedded | None, sleep: Callable[[float], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._session = session
        self._server = server
        self._endpoints = endpoints
        self._slots = Slots([Pace(address, server.concurrency) for address in endpoints])
        self._secrets = secrets
        self._embedded = embedded
        self._sleep = sleep
        self._stopped = asyncio.Event()
        self._retrying = tenacity.AsyncRetrying(
            wait=_wait_seconds,
            sleep=self._sleep_unless_stopped,
            retry=tenacity.retry_if_exception_type(TransientError),
            reraise=True,
        )
        self._retries = 0
        self._models: set[str] = set()
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    @property
    def load(self) -> Load:
        """How busy all servers together are."""
        paces = self._slots.paces
        in_flight, limit = sum(pace.in_flight for pace in paces), sum(int(pace.limit) for pace in paces)
        return Load(in_flight, limit, self._retries)

    async def complete(self, request: Request) -> Completion:
        """Asks once, or up to five times where the failure may pass; where the server wants it slower, as long as
        one request may take. While all servers are away that answered before, it waits.

        The latency is that of the last try, without the wait for room.
        """
        self._models.add(request.model)
        tries = _Tries(request)
        try:
            try:
                return await self._try(tries)
            except TransientError as error:
                return await self._try_again(tries, error)
        except TransientError as error:
            self._raise_if_unreached(request, error)
            told = f"{error} ({tries.n} tries)" if tries.n else f"{error}"
            return Completion(error=told, latency_seconds=tries.latency_seconds)

    def stop(self) -> None:
        """No more tries: what is under way may end, the rest ends at once with its last error, or as `stopped`."""
        self._slots.stop()
        self._stopped.set()

    async def _try_again(self, tries: _Tries, fault: TransientError) -> Completion:
        """The tries after the first one; apart, because few requests need what tenacity makes for each."""
        retrying = self._retrying.copy(stop=lambda state: self._slots.is_stopped or tries.are_enough(state))
        async for attempt in retrying:
            with attempt:
                if attempt.retry_state.attempt_number == 1:
                    raise fault
                self._retries += 1
                completion = await self._try(tries)
        return completion

    async def _try(self, tries: _Tries) -> Completion:
        """One try, once a server has room; where none can connect to it, the next one is asked at once.

        One that only finds that all servers are still away is none.
        """
        n_others = len(self._endpoints) - 1
        while pace := await self._slots.take(tries.pace):
            started = time.monotonic()
            is_outage = self._slots.outage_seconds(started) > 0
            try:
                completion = await self._post(tries.request, self._endpoints[pace.address], started)
                pace.answered(well=completion.error is None)
                return completion
            except TransientError as error:
                tries.pace, tries.fault, tries.latency_seconds = pace, error, _since(started)
                _note(error, pace, started)
                if is_outage and _is_unreached(error):
                    self._raise_if_away(tries.request, error)
                elif n_others and error.fault == "dead" and self._slots.has_other(pace):
                    n_others -= 1
                else:
                    tries.count()
                    raise
            finally:
                self._slots.give_back(pace)
        raise tries.fault

    async def _post(self, request: Request, endpoint: _Endpoint, started: float) -> Completion:
        """The completion that came back, or the error of this one request in its place."""
        timeout = self._timeout(request.timeout_seconds)
        try:
            async with self._session.post(
                endpoint.url, data=dump_json(request.payload()), timeout=timeout, allow_redirects=False,
                proxy=endpoint.proxy, proxy_auth=endpoint.proxy_auth,
            ) as response:  # fmt: skip
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            fault: Fault = "dead" if isinstance(error, _NEVER_SENT) else "lost"
            raise TransientError(self._transport_fault(error, timeout), fault) from error
        try:
            return read_answer(response.status, response.headers, content, _since(started), self._quote)
        except RefusedError as error:
            told = f"{error}".format(key_env=self._server.api_key_env)
            raise TeacherError(f"teacher {request.teacher!r}: {endpoint.url} {told}") from error

    def _raise_if_unreached(self, request: Request, error: TransientError) -> None:
        """Raises TeacherError if no server ever answered and none can be reached."""
        if _is_unreached(error) and not self._slots.any_reached() and not self._slots.is_stopped:
            told = f"{error}; start the server, or look at base_url and the network"
            raise TeacherError(f"teacher {request.teacher!r}: {self._urls()}: {told}") from error

    def _raise_if_away(self, request: Request, error: TransientError) -> None:
        """Raises TeacherError if no server can be reached any more, and that for too long."""
        if self._slots.outage_seconds(time.monotonic()) >= _AWAY_SECONDS:
            told = f"no answer for {_AWAY_SECONDS / 60:g} minutes, at last {error}"
            way_out = "what is finished is kept, run again when it is mended"
            raise TeacherError(f"teacher {request.teacher!r}: {self._urls()}: {told}; {way_out}") from error

    def _urls(self) -> str:
        return ", ".join(str(endpoint.url) for endpoint in self._endpoints.values())

    async def _sleep_unless_stopped(self, seconds: float) -> None:
        waits = [asyncio.ensure_future(wait) for wait in (self._sleep(seconds), self._stopped.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _quote(self, content: bytes) -> str:
        """The beginning of what a server said, on one line; some servers say the key they were sent."""
        for secret in self._secrets:
            content = content.replace(secret.encode(), b"***")
        text = content[: 4 * _QUOTE_CHARS].decode("utf-8", "replace")
        return " ".join(text.split())[:_QUOTE_CHARS] or "(empty)"

    def _transport_fault(self, error: Exception, timeout: aiohttp.ClientTimeout) -> str:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return f"no connection within {timeout.connect:g} s"
        if isinstance(error, aiohttp.SocketTimeoutError):
            return f"no bytes within {timeout.sock_read:g} s"
        if isinstance(error, TimeoutError):
            return f"no answer within {timeout.total:g} s"
        return f"{type(error).__name__}: {self._quote(str(error).encode())}"

    def _timeout(self, total_seconds: float) -> aiohttp.ClientTimeout:
        timeout = self._timeouts.get(total_seconds)
        if timeout is None:
            timeout = aiohttp.ClientTimeout(
                total=total_seconds, connect=self._server.connect_seconds, sock_read=self._server.read_seconds
            )
            self._timeouts[total_seconds] = timeout
        return timeout

    async def describe(self) -> dict[str, object]:
        """What the first server that answered says it is."""
        if self._embedded is not None:
            return dict(self._embedded.about)
        paces = self._slots.paces
        pace = next((pace for pace in paces if pace.reached), paces[0])
        endpoint = self._endpoints[pace.address]
        # A session of its own, so that the connections of the requests stay theirs.
        async with aiohttp.ClientSession(
            headers=self._session.headers, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            facts = await server_facts(
                lambda url: _get(session, endpoint._replace(url=url)), yarl.URL(pace.address), sorted(self._models)
            )
        return {"engine": "openai", **facts}


@asynccontextmanager
async def open_openai(
    server: OpenAIServer,
    embedded: Embedded | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[OpenAIEngine]:
    """The connections to a server, or to the several that serve the same.

    Raises TeacherError where an address or a header cannot be used.
    """
    # `export KEY=$(cat file)` may bring a newline.
    key = embedded.key if embedded else os.environ.get(server.api_key_env, "").strip()
    headers, secrets = _read_headers(server.headers, key)
    endpoints = {address: _endpoint(address, proxied=embedded is None) for address in server.base_url}
    connector = aiohttp.TCPConnector(limit=0)  # the slots are the limit
    async with aiohttp.ClientSession(
        connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield OpenAIEngine(session, server, endpoints, secrets, embedded, sleep)


async def _get(session: aiohttp.ClientSession, endpoint: _Endpoint) -> Mapping[str, object]:
    """What a server says there; nothing where it cannot be had."""
    try:
        async with session.get(
            endpoint.url, timeout=aiohttp.ClientTimeout(total=FACT_SECONDS), allow_redirects=False,
            proxy=endpoint.proxy, proxy_auth=endpoint.proxy_auth,
        ) as response:  # fmt: skip
            answer = load_json(await response.read()) if response.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _wait_seconds(state: tenacity.RetryCallState) -> float:
    """How long to wait before the next try."""
    error = state.outcome.exception() if state.outcome else None
    is_paused = isinstance(error, TransientError) and error.pause_seconds > 0
    return (_WAIT_AFTER_PAUSE if is_paused else _WAIT)(state)


def _is_unreached(error: TransientError) -> bool:
    """Whether nobody may be there; one that is slow is."""
    lost = isinstance(error.__cause__, aiohttp.ClientConnectionError)
    return lost and not isinstance(error.__cause__, aiohttp.SocketTimeoutError)


def _note(error: TransientError, pace: Pace, started: float) -> None:
    """What a fault of a request from `started` says of the server."""
    now = time.monotonic()
    if error.fault in ("dead", "lost"):
        pace.failed(started, now, dead=error.fault == "dead")
        return
    pace.answered(well=False)
    if error.fault == "overloaded":
        pace.overloaded(started, now, error.pause_seconds)


def _read_headers(written: Mapping[str, str], key: str) -> tuple[CIMultiDict[str], list[str]]:
    """The headers of every request, and what in them must show nowhere, the longest first."""
    headers = CIMultiDict({"Content-Type": "application/json"})
    secrets = {key}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    for name, text in written.items():
        parts = _VARIABLE.split(text)  # every second one is the name of a variable
        parts[1::2] = [_variable(name, variable) for variable in parts[1::2]]
        headers[name] = "".join(parts)
        secrets.update(parts[1::2], {headers[name]} if len(headers[name]) >= _SECRET_CHARS else ())
    for name, value in headers.items():
        if not f"{name}{value}".isprintable():
            raise TeacherError(f"headers: {name!r}: a line break or the like stands in it; look at its variable")
    return headers, sorted(secrets - {""}, key=len, reverse=True)


def _variable(header: str, variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise TeacherError(
            f"headers: {header}: the environment variable {variable} is not set; set it, or leave the header out"
        )
    return value


def _endpoint(address: str, *, proxied: bool) -> _Endpoint:
    """Where to send, and the proxy that HTTPS_PROXY and its like name for that.

    Not aiohttp's `trust_env`: that sends passwords from ~/.netrc too.
    """
    try:
        url = yarl.URL(f"{address}/chat/completions")
    except ValueError as error:
        raise TeacherError(f"base_url: {address}: {error}; mend base_url") from error
    try:
        return _Endpoint(url, *(get_env_proxy_for_url(url) if proxied else (None, None)))
    except LookupError:
        return _Endpoint(url, None, None)


def _since(started: float) -> float:
    return round(time.monotonic() - started, 4)
