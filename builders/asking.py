"""Asks many requests at once, and stops where the engine is broken rather than the requests.

In: requests and what answers them. Out: a callback with the Completion of each, as it comes; nothing is kept
here. `ask_each` is for any engine, `ask_judge_server` puts plain questions to the judge: what is asked and what
the answers mean is `verifiers.opinions`.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence, Set
from typing import Protocol, TypeVar

from mixdistill.builders.completions import Completion, Load, Request
from mixdistill.builders.engine_openai import open_openai
from mixdistill.errors import TeacherError
from mixdistill.recipe import Failures, Judge
from mixdistill.records import Message

Returned = TypeVar("Returned")

_JUDGE = "verify.judge"


class Engine(Protocol):
    """What answers requests."""

    async def complete(self, request: Request) -> Completion:
        """The answer to a request. Raises TeacherError only for what would fail every request."""
        ...

    def stop(self) -> None:
        """No more tries: what is under way may end, what waits for another try or for room ends with an error."""
        ...

    async def describe(self) -> dict[str, object]:
        """What serves, for the record: `engine`, `version`, `revision`, `flags`; what is not known is left out."""
        ...

    @property
    def load(self) -> Load:
        """How busy it is."""
        ...


class FailureWindow:
    """The last requests of one engine; says when so many failed that the engine is broken and not the requests."""

    def __init__(self, settings: Failures, failed_before: Set[str] = frozenset()) -> None:
        self._settings = settings
        self._failed_before = failed_before
        self._last: deque[str | None] = deque(maxlen=settings.window)
        self._n_failed = 0

    def note(self, request: Request, completion: Completion) -> None:
        """Counts a request that ended; one that had failed in an earlier call may fail for good, by itself.

        Raises TeacherError, with the commonest error, once the window is full and too many of it failed.
        """
        fault = completion.error
        if fault and request.request_key in self._failed_before:
            return
        if len(self._last) == self._last.maxlen and self._last[0] is not None:
            self._n_failed -= 1
        self._last.append(fault)
        self._n_failed += fault is not None
        window, rate = self._settings.window, self._settings.rate
        if len(self._last) == window and fault and self._n_failed > rate * window:
            ((common, n),) = Counter(error for error in self._last if error).most_common(1)
            raise TeacherError(
                f"teacher {request.teacher!r}: {self._n_failed} of the last {window} requests failed, {n} of them "
                f"with: {common}; what is finished is kept, run again when it is mended"
            )


async def ask_each(
    engine: Engine, requests: Iterator[Request], concurrency: int, failures: FailureWindow,
    keep: Callable[[Request, Completion], None],
) -> None:  # fmt: skip
    """Answers the requests, so many at once, and calls `keep` with each and its completion.

    Raises TeacherError where too many fail, and what the engine raises; `keep` had the completions that came
    until then.
    """

    async def work() -> None:
        for request in requests:  # shared by all workers: each request is taken once
            completion = await engine.complete(request)
            keep(request, completion)
            failures.note(request, completion)

    await together([work() for _ in range(concurrency)])


async def together(jobs: Sequence[Coroutine[None, None, Returned]]) -> list[Returned]:
    """What the jobs return, all run at once; the first exception stops the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
        return [task.result() for task in tasks]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__


def ask_judge_server(
    judge: Judge, questions: Mapping[str, tuple[Message, ...]], failed_before: Set[str],
    keep: Callable[[str, Completion], None],
) -> None:  # fmt: skip
    """Asks all the questions, and calls `keep` with the key and the completion of each.

    Raises TeacherError as `ask_each` does.
    """

    async def ask() -> None:
        requests = (_request(judge, key, messages) for key, messages in questions.items())
        async with open_openai(judge) as engine:
            await ask_each(
                engine, requests, judge.most_under_way, FailureWindow(Failures(), failed_before),
                lambda request, completion: keep(request.request_key, completion),
            )  # fmt: skip

    try:
        asyncio.run(ask())
    except TeacherError as error:
        raise TeacherError(f"{error}, or leave it out with --set {_JUDGE}=null") from error


def _request(judge: Judge, key: str, messages: tuple[Message, ...]) -> Request:
    return Request(
        request_key=key, problem_id="", teacher=_JUDGE, model=judge.model, revision=None, style="short", size=None,
        sample=0, messages=messages, max_tokens=judge.max_tokens, seed=0, timeout_seconds=judge.timeout_seconds,
        body={"temperature": 0.0, **judge.extra_body}, limit_field=judge.sent_limit_field,
    )  # fmt: skip
