"""Asks the judge: plain questions to one OpenAI-compatible model, many at once.

In: the judge's settings and messages by key. Out: a callback with the key and the Completion of each, as it
comes. What is asked and what the answers mean is `verifiers.opinions`; nothing is kept here.
"""

import asyncio
from collections.abc import Callable, Mapping

from mixdistill.builders.completions import Completion, Request
from mixdistill.builders.engine_openai import open_openai
from mixdistill.errors import TeacherError
from mixdistill.recipe import Judge, OpenAITeacher
from mixdistill.records import Message

_NAME = "verify.judge"
_FAILURES_IN_A_ROW = 20  # then the judge is taken to be broken, not the requests


def ask_all(
    judge: Judge, questions: Mapping[str, tuple[Message, ...]], keep: Callable[[str, Completion], None]
) -> None:
    """Asks all the questions, and calls `keep` with the key and the completion of each.

    Raises TeacherError if the judge cannot be reached, refuses, or fails 20 times in a row; `keep` had the
    completions that came before.
    """
    asyncio.run(_ask_all(judge, questions, keep))


async def _ask_all(
    judge: Judge, questions: Mapping[str, tuple[Message, ...]], keep: Callable[[str, Completion], None]
) -> None:
    requests = (_request(judge, key, messages) for key, messages in questions.items())
    failures = 0

    async def work() -> None:
        nonlocal failures
        for request in requests:  # shared by all workers: each request is taken once
            completion = await engine.complete(request)
            keep(request.request_key, completion)
            failures = failures + 1 if completion.error else 0
            if failures >= _FAILURES_IN_A_ROW:
                raise TeacherError(
                    f"{_NAME}: {failures} requests in a row failed, the last with: {completion.error}; what it "
                    f"said is kept, run again when it is mended, or leave it out with --set {_NAME}=null"
                )

    async with open_openai(_as_teacher(judge)) as engine:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(judge.concurrency, len(questions))):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors.exceptions[0].__cause__


def _request(judge: Judge, key: str, messages: tuple[Message, ...]) -> Request:
    return Request(
        request_key=key, problem_id="", teacher=_NAME, model=judge.model, revision=None, style="short", size=None,
        sample=0, messages=messages, max_tokens=judge.max_tokens, seed=0, timeout_seconds=judge.timeout_seconds,
        body={"temperature": 0.0, **judge.extra_body},
    )  # fmt: skip


def _as_teacher(judge: Judge) -> OpenAITeacher:
    """A teacher behind the same server; its style is never looked at."""
    return OpenAITeacher(
        engine="openai", style="short", model=judge.model, base_url=judge.base_url,
        api_key_env=judge.api_key_env, concurrency=judge.concurrency,
    )  # fmt: skip
