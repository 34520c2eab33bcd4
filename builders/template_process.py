"""A process for a template: conversations by a stranger's chat template, rendered where nothing can run for ever.

In: the template, its special tokens, conversations. Out: the text of each, or None where the template refuses it.
A template is a program: it runs in Jinja's sandbox, as transformers does it, but the sandbox does not end a loop.
So a child process renders, for all conversations at once, and the system ends it when it has used its seconds or
its memory. It loads jinja2 and nothing heavier: a call takes about a fifth of a second.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, NoReturn, cast

from mixdistill.errors import MixdistillError, RecipeError

# Of processor time: templates of models need some milliseconds, and a machine may be busy with other things.
_SECONDS = 3
# Of the clock, should the system not count processor time.
_WALL_SECONDS = 60
_MOST_BYTES = 2 << 30
_MOST_CHARS = 1_000_000
"Of a conversation: more is a template that repeats without end."
# transformers' own tag around what the assistant says; jinja2 does not know it.
_GENERATION = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")


class ChatTemplate(NamedTuple):
    """A template and the special tokens that it may write."""

    text: str
    tokens: Mapping[str, str]


def render_apart(
    template: ChatTemplate,
    conversations: Sequence[Sequence[Mapping[str, object]]],
    *,
    whose: str,
    add_generation_prompt: bool = False,
) -> list[str | None]:
    """Each conversation as the template writes it, up to a million characters; None for those that it refuses.

    Raises RecipeError, which begins with `whose` template it is, if the template comes to no end.
    """
    job = {"template": template.text, "tokens": dict(template.tokens), "conversations": conversations,
           "add_generation_prompt": add_generation_prompt}  # fmt: skip
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
    try:
        child = subprocess.run(
            [sys.executable, "-c", code], input=json.dumps(job).encode(), capture_output=True, check=False,
            timeout=_WALL_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _endless(whose) from error
    if child.returncode < 0:  # ended by the system
        raise _endless(whose)
    if child.returncode:
        told = child.stderr.decode(errors="replace")
        raise MixdistillError(f"{whose}: the process that renders its chat template failed:\n{told}")
    return cast("list[str | None]", json.loads(child.stdout))


def _endless(whose: str) -> RecipeError:
    return RecipeError(
        f"{whose}: its chat template comes to no end within {_SECONDS} seconds, or takes all memory; name a file "
        "with another template, or another student"
    )


def serve() -> None:
    """The child: reads one job from the standard input, writes the texts to the standard output."""
    _limit_this_process()
    job = json.load(sys.stdin.buffer)
    json.dump(_render(**job), sys.stdout)


def _limit_this_process() -> None:
    if sys.platform == "win32":  # it has only the time of the clock
        return
    import resource

    for kind, most in ((resource.RLIMIT_CPU, _SECONDS), (resource.RLIMIT_AS, _MOST_BYTES)):
        _, hard = resource.getrlimit(kind)
        with suppress(OSError, ValueError):  # macOS takes no limit on memory
            resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _render(
    template: str,
    tokens: Mapping[str, str],
    conversations: Sequence[Sequence[Mapping[str, object]]],
    add_generation_prompt: bool,
) -> list[str | None]:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> NoReturn:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals |= {"raise_exception": refuse, "strftime_now": lambda _: "2026-01-01"}
    refusals = (
        jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError,
        MemoryError, SyntaxError,
    )  # fmt: skip
    texts: list[str | None] = []
    try:
        compiled = environment.from_string(_GENERATION.sub(_as_condition, template))
    except refusals:
        return [None] * len(conversations)
    for messages in conversations:
        try:
            text = compiled.render(
                messages=messages, add_generation_prompt=add_generation_prompt, tools=None, **tokens
            )
        except refusals:
            text = None
        texts.append(text if text is not None and len(text) <= _MOST_CHARS else None)
    return texts


def _as_condition(tag: re.Match[str]) -> str:
    """A tag of plain Jinja that leaves out the same white space."""
    return f"{{%{tag[1]} {'endif' if tag[2] else 'if true'} {tag[3]}%}}"
