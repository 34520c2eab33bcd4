"""What is asked of a teacher, and what comes back: Request and Completion.

A Request is one call: messages, sampling settings, and the key that it is known by. A Completion is the
answer, or the error that came instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mixdistill.prompt import Prompt, fill
from mixdistill.records import Message, Problem, Size, Style, Trace, draw_seed, request_key, trace_id
from mixdistill.teachers import LimitField, SampledTeacher, without_folders


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What came back for one request."""

    response: str = ""
    "The final text."
    reasoning: str | None = None
    "The thinking, where it is apart from the response."
    finish_reason: str | None = None
    "As the server said; None is unknown."
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    latency_seconds: float | None = None
    error: str | None = None
    "Why there is no response."
    unseeded: bool = False
    "Whether the engine could not use the seed of the request."


class Load(NamedTuple):
    """How busy an engine is."""

    in_flight: int
    "Requests under way."
    limit: int
    "Requests that it takes at once now."
    retries: int
    "Tries after the first one, since it was opened."


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of a teacher."""

    request_key: str
    "What the call is known by."
    problem_id: str
    teacher: str
    model: str
    "What the engine is asked for; the path of a folder is no part of a trace."
    revision: str | None
    style: Style
    size: Size | None
    sample: int
    messages: tuple[Message, ...]
    max_tokens: int | None = None
    limit_field: LimitField = "max_tokens"
    "Field of the call that max_tokens is sent in."
    seed: int | None = None
    timeout_seconds: float = 600.0
    body: Mapping[str, object] = field(default_factory=dict)
    "The other fields of the call: temperature, top_p, stop ..."
    stored: Completion | None = None
    "The answer, where it exists already (engine dataset)."

    def payload(self) -> dict[str, object]:
        """The body of the call, as an OpenAI-compatible server takes it."""
        return {
            "model": self.model, "messages": list(self.messages), self.limit_field: self.max_tokens,
            "seed": self.seed, **self.body,
        }  # fmt: skip

    def trace(self, completion: Completion, *, cost_usd: float | None = None) -> Trace:
        """The trace that the completion makes of this request."""
        done = completion
        return Trace(
            trace_id=trace_id(self.request_key, done.reasoning, done.response, done.finish_reason),
            problem_id=self.problem_id,
            teacher=self.teacher,
            model=without_folders(self.model),
            revision=self.revision,
            style=self.style,
            size=self.size,
            sample=self.sample,
            prompt=self.messages,
            reasoning=done.reasoning,
            response=done.response,
            finish_reason=done.finish_reason,
            prompt_tokens=done.prompt_tokens,
            completion_tokens=done.completion_tokens,
            reasoning_tokens=done.reasoning_tokens,
            max_tokens=self.max_tokens,
            seed=None if done.unseeded else self.seed,
            latency_seconds=done.latency_seconds,
            cost_usd=cost_usd,
            error=done.error,
            request_key=self.request_key,
        )


def render_prompt(prompt: Prompt, problem: str) -> tuple[Message, ...]:
    """The messages that put a problem to a teacher.

    >>> render_prompt(Prompt(problem="Solve: {{problem}}"), "1 + 1 = ?")
    ({'role': 'user', 'content': 'Solve: 1 + 1 = ?'},)
    """
    messages: list[Message] = []
    if prompt.system:
        messages.append({"role": "system", "content": prompt.system})
    for example in prompt.examples:
        messages.append({"role": "user", "content": fill(prompt.problem, example.problem)})
        messages.append({"role": "assistant", "content": example.response})
    messages.append({"role": "user", "content": fill(prompt.problem, problem)})
    return tuple(messages)


class Sampled:
    """The calls of a teacher that is asked now.

    The run's seed is a sampling setting: another seed means other samples. The seed of one call follows from
    the run's seed, the problem's text, the style and the sample.
    """

    def __init__(self, name: str, teacher: SampledTeacher, run_seed: int) -> None:
        self.name = name
        self.teacher = teacher
        self._run_seed = run_seed
        self._sampling = teacher.sampling() | {"seed": run_seed}
        self._body = teacher.body()
        self._limit_field = teacher.sent_limit_field

    def keys(self, problem: Problem) -> list[str]:
        """The request keys of all samples of a problem that may come."""
        teacher = self.teacher
        messages = render_prompt(teacher.prompt, problem.problem)
        return [
            request_key(messages, teacher.model, teacher.revision, self._sampling, sample)
            for sample in range(teacher.most_samples)
        ]

    def request(self, problem: Problem, sample: int, key: str) -> Request:
        """The call for one sample of a problem, which `keys` gave the key for."""
        teacher = self.teacher
        return Request(
            request_key=key,
            problem_id=problem.problem_id,
            teacher=self.name,
            model=teacher.model,
            revision=teacher.revision,
            style=teacher.style,
            size=teacher.size,
            sample=sample,
            messages=render_prompt(teacher.prompt, problem.problem),
            max_tokens=teacher.max_tokens,
            limit_field=self._limit_field,
            seed=draw_seed(self._run_seed, problem.problem, teacher.style, sample),
            timeout_seconds=teacher.timeout_seconds,
            body=self._body,
        )
