"""Asks many requests at once, and stops where the engine is broken rather than the requests.

In: requests and what answers them. Out: a callback with the Completion of each, as it comes; nothing is kept
here. `ask_each` is for any engine, `ask_judge_server` puts plain questions to the judge: what is asked and what
the answers mean is `verifiers.opinions`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence, Set
from typing import Protocol

from mixdistill.builders.completions import Completion, Request
from mixdistill.builders.engine_openai import open_openai
from mixdistill.errors import TeacherError
from mixdistill.recipe import Judge
from mixdistill.records import Message

_JUDGE = "verify.judge"
_FAILURES_IN_A_ROW = 20  # then the engine is taken to be broken, not the requests


class Engine(Protocol):
    """What answers requests."""

    async def complete(self, request: Request) -> Completion:
        """The answer to a request. Raises TeacherError only for what would fail every request."""
        ...


async def ask_each(
    engine: Engine, requests: Iterator[Request], concurrency: int, failed_before: Set[str],
    keep: Callable[[Request, Completion], None],
) -> None:  # fmt: skip
    """Answers the requests, so many at once, and calls `keep` with each and its completion.

    Raises TeacherError where 20 in a row fail, not counting the keys that had failed before, and what the
    engine raises; `keep` had the completions that came until then.
    """
    failures = 0

    async def work() -> None:
        nonlocal failures
        for request in requests:  # shared by all workers: each request is taken once
            completion = await engine.complete(request)
            keep(request, completion)
            if not completion.error:
                failures = 0
            elif request.request_key not in failed_before:  # what failed before may fail for good, by itself
                failures += 1
            if failures >= _FAILURES_IN_A_ROW:
                raise TeacherError(
                    f"teacher {request.teacher!r}: {failures} requests in a row failed, the last with: "
                    f"{completion.error}; what is finished is kept, run again when it is mended"
                )

    await together([work() for _ in range(concurrency)])


async def together(jobs: Sequence[Coroutine[None, None, None]]) -> None:
    """Runs all jobs at once; the first exception stops the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
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
                engine, requests, judge.concurrency, failed_before,
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
        body={"temperature": 0.0, **judge.extra_body},
    )  # fmt: skip
