"""What is asked of a teacher, and what comes back: Request and Completion.

A Request is one call: messages, sampling settings, and the key that it is known by. A Completion is the
answer, or the error that came instead. `split_thinking` and `read_message` take the reasoning apart from the
response, however the model or the server marks it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mixdistill.prompt import Prompt, fill
from mixdistill.recipe import SampledTeacher, without_folders
from mixdistill.records import Message, Problem, Size, Style, Trace, draw_seed, request_key, trace_id

_THINK_OPEN = "<think>"
_THINK_CLOSE = "</think>"


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
    seed: int | None = None
    timeout_seconds: float = 600.0
    body: Mapping[str, object] = field(default_factory=dict)
    "The other fields of the call: temperature, top_p, stop ..."
    stored: Completion | None = None
    "The answer, where it exists already (engine dataset)."

    def trace(self, completion: Completion) -> Trace:
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
            seed=self.seed,
            latency_seconds=done.latency_seconds,
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


def sampled_requests(
    name: str, teacher: SampledTeacher, problems: Iterable[Problem], run_seed: int
) -> Iterator[Request]:
    """All calls of a teacher that is asked now: each problem, each sample.

    The run's seed is a sampling setting: another seed means other samples. The seed of one call follows from
    the run's seed, the problem's text, the style and the sample.
    """
    sampling = teacher.sampling() | {"seed": run_seed}
    body = {"temperature": teacher.temperature, "top_p": teacher.top_p, **teacher.extra_body}
    if teacher.stop:
        body["stop"] = list(teacher.stop)
    for problem in problems:
        messages = render_prompt(teacher.prompt, problem.problem)
        for sample in range(teacher.samples):
            yield Request(
                request_key=request_key(messages, teacher.model, teacher.revision, sampling, sample),
                problem_id=problem.problem_id,
                teacher=name,
                model=teacher.model,
                revision=teacher.revision,
                style=teacher.style,
                size=teacher.size,
                sample=sample,
                messages=messages,
                max_tokens=teacher.max_tokens,
                seed=draw_seed(run_seed, problem.problem, teacher.style, sample),
                timeout_seconds=teacher.timeout_seconds,
                body=body,
            )


class SplitText(NamedTuple):
    """A text taken apart at the end of its thinking."""

    reasoning: str | None
    response: str


def split_thinking(text: str) -> SplitText:
    """The thinking and the rest of a text, split at the last `</think>`; the opener may be missing.

    A text that opens its thinking and never closes it is all thinking: it was cut there.

    >>> split_thinking("<think>1 + 1 is 2</think>It is 2.")
    SplitText(reasoning='1 + 1 is 2', response='It is 2.')
    >>> split_thinking("It is 2.")
    SplitText(reasoning=None, response='It is 2.')
    """
    head, mark, tail = text.rpartition(_THINK_CLOSE)
    if mark:
        return SplitText(head.strip().removeprefix(_THINK_OPEN).strip(), tail.strip())
    if text.lstrip().startswith(_THINK_OPEN):
        return SplitText(text.lstrip().removeprefix(_THINK_OPEN).strip(), "")
    return SplitText(None, text)


def read_message(message: Mapping[str, object]) -> SplitText:
    """The reasoning and the response in an OpenAI-compatible message.

    Looks at `reasoning`, then `reasoning_content`, then `reasoning_details`, then inside the content.
    """
    content = message.get("content")
    text = content if isinstance(content, str) else ""
    for name in ("reasoning", "reasoning_content"):
        value = message.get(name)
        if isinstance(value, str) and value:
            return SplitText(value, text)
    details = message.get("reasoning_details")
    if isinstance(details, list):
        parts = [part.get("text") for part in details if isinstance(part, dict)]
        joined = "".join(part for part in parts if isinstance(part, str))
        if joined:
            return SplitText(joined, text)
    return split_thinking(text)
