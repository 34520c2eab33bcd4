"""A student: its tokenizer and chat template, how much it can read, where it stops, what its template adds.

In: a folder or a Hub id, and perhaps a file with another template. Out: a `Student` that renders conversations.
Loads no weights, and no code of the model but its template, which runs in the sandbox of transformers.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mixdistill.builders.chat_template import file_of, read_student_file
from mixdistill.errors import RecipeError, RecordError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Turn = Mapping[str, str | None]
"A message: role, content, and the reasoning where the student's template has a field for it."

# What a tokenizer says that knows no limit is 1e30.
_NO_LIMIT = 10_000_000
_ROLES = ("system", "user", "developer")


class Student(NamedTuple):
    """What is needed of a student to render for it."""

    name: str
    tokenizer: "PreTrainedTokenizerBase"
    stops: frozenset[int]
    "Tokens that end generation: the tokenizer's EOS and those of the generation config."
    special: tuple[str, ...]
    "Tokens that are special: text that spells one becomes it."
    plain: tuple[str, ...]
    "Tokens of their own that are not special, such as <think> of some students."
    max_length: int | None
    "Most tokens that the student can read; None: unknown."
    limit: str
    "Where that comes from."


def load_student(name: str, template: Path | None = None) -> Student:
    """The student of a folder or of the Hub; `template` is a file that stands in for its own chat template.

    Raises RecipeError if it has no chat template, RecordError if its files cannot be read, HubError if the Hub
    cannot be reached or has no such model.
    """
    tokenizer = _load_tokenizer(name)
    if template is not None:
        tokenizer.chat_template = read_student_file(template)
    if not tokenizer.chat_template:
        raise RecipeError(
            f"{name} has no chat template, so that no trainer can render a row for it; set mixing.student to a "
            "file with one"
        )
    if (backend := getattr(tokenizer, "backend_tokenizer", None)) is not None:
        backend.no_truncation()  # a tokenizer.json may say that texts are cut or padded; trainers do it themselves
        backend.no_padding()
    added = sorted(tokenizer.added_tokens_decoder.items())
    max_length, limit = _limit(name, int(min(tokenizer.model_max_length, 10 * _NO_LIMIT)))
    return Student(
        name=name,
        tokenizer=tokenizer,
        stops=frozenset([tokenizer.eos_token_id, *_eos_of(name, "generation_config.json")]) - {None},
        special=tuple(str(token.content) for _, token in added if token.special),
        plain=tuple(str(token.content) for _, token in added if not token.special),
        max_length=max_length,
        limit=limit,
    )


def as_text(
    student: Student, conversations: Sequence[Sequence[Turn]], *, add_generation_prompt: bool
) -> list[str | None]:
    """The conversations by the chat template; None for those that it refuses."""

    def texts(some: Sequence[Sequence[Turn]]) -> list[str]:
        turns = [bare(conversation) for conversation in some]
        found = student.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return [str(text) for text in found]

    if not conversations:
        return []
    try:
        return [*texts(conversations)]
    except refusals():
        if len(conversations) == 1:
            return [None]
        return [
            text
            for one in conversations
            for text in as_text(student, [one], add_generation_prompt=add_generation_prompt)
        ]


def injected_prompt(student: Student, *, system: bool) -> str:
    """What the template puts before the first question besides its marks; `system`: rows have a system turn.

    It is what the first question has before it and a second one has not.
    """
    first, second, answer, own = "7f-first", "7f-second", "7f-answer", "7f-system"
    turns: list[Turn] = [{"role": "user", "content": first}, {"role": "assistant", "content": answer}]
    turns = [{"role": "system", "content": own}, *turns] if system else turns
    again = as_text(student, [[*turns, {"role": "user", "content": second}]], add_generation_prompt=False)[0]
    text = again or as_text(student, [turns], add_generation_prompt=False)[0] or ""
    for token in sorted(student.special, key=len, reverse=True):
        text = text.replace(token, "\0")
    before = text.partition(first)[0].replace(own, "")
    between = text.partition(answer)[2].partition(second)[0] if again else ""
    while before and between and before[-1] == between[-1]:
        before, between = before[:-1], between[:-1]
    lines = before.replace("\0", "").strip().split("\n")
    return "\n".join(lines[lines[0] in _ROLES :]).strip()


def bare(conversation: Sequence[Turn]) -> list[dict[str, str]]:
    """The messages without the keys that hold nothing, which transformers leaves out too."""
    return [{key: text for key, text in turn.items() if text is not None} for turn in conversation]


def refusals() -> tuple[type[Exception], ...]:
    """What a template may raise; one that takes all memory or never ends is not caught here."""
    import jinja2

    return (
        jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError,
        MemoryError,
    )  # fmt: skip


def _load_tokenizer(name: str) -> "PreTrainedTokenizerBase":
    """The tokenizer, as the trainers load it."""
    if Path(name).is_file():
        raise RecipeError(
            f"{name} is a file with a chat template, and rendering needs the student's tokenizer too; name the "
            "student's folder or Hub id with --student"
        )
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoTokenizer

    if not Path(name).is_dir():
        file_of(name, "tokenizer_config.json", place="student")  # says what is wrong with the Hub in our words
    refusals = (OSError, ValueError, KeyError, TypeError, AttributeError, StrictDataclassError)
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except refusals as error:
        told = " ".join(str(error).split())[:300]
        raise RecordError(f"{name}: its tokenizer cannot be read: {told}") from error


def _limit(name: str, of_tokenizer: int) -> tuple[int | None, str]:
    """Most tokens that the student can read, and who says so."""
    limits: dict[str, int] = {}
    if 0 < of_tokenizer < _NO_LIMIT:
        limits["model_max_length of its tokenizer"] = of_tokenizer
    config = _read_json(name, "config.json")
    text_config = config.get("text_config")
    for part in (config, text_config if isinstance(text_config, dict) else {}):
        if isinstance(positions := part.get("max_position_embeddings"), int):
            limits["max_position_embeddings of its config"] = positions
    if not limits:
        return None, "the student names no limit"
    who = min(limits, key=lambda one: limits[one])
    return limits[who], who


def _eos_of(name: str, file: str) -> list[int]:
    eos = _read_json(name, file).get("eos_token_id")
    return [one for one in (eos if isinstance(eos, list) else [eos]) if isinstance(one, int)]


def _read_json(name: str, file: str) -> dict[str, object]:
    """A JSON file of the student; empty if it has none."""
    path = file_of(name, file, place="student")
    if path is None:
        return {}
    try:
        content = json.loads(read_student_file(path))
    except ValueError as error:
        raise RecordError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise RecordError(f"{path}: not a JSON object")
    return content
