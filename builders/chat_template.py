"""How a student wants the reasoning: found by rendering its own chat template.

In: the student, as a folder, a file with a template, or a model on the Hub. Out: the first form of
`reasoning.join_reasoning` that the template keeps in the assistant's last turn: a field of the message that the
template knows, else marks inside of the content. A template is a program of a stranger: `template_process`
runs it in a process of its own. Trains nothing and loads no tokenizer.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from mixdistill.builders.reasoning import INLINE, MARKS, ReasoningForm, join_reasoning
from mixdistill.builders.template_process import ChatTemplate, render_apart
from mixdistill.errors import HubError, RecipeError, RecordError

_FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
_FIELDS = ("reasoning_content", "reasoning", "thinking")
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")
_REASONING = "Seven plus five.\n\n  That is twelve."
_RESPONSE = "The sum is \\boxed{12}."


def reasoning_form(student: str | None, *, all_reason: bool = False) -> ReasoningForm:
    """The form that the student's chat template keeps; between <think> and </think> if no student is named.

    `all_reason`: no trace is without reasoning, so that the template need not take an empty field.
    Raises RecipeError if there is no template, if it drops the reasoning in every form or comes to no end,
    RecordError if it cannot be read, HubError if the Hub cannot be reached or has no such model.
    """
    if student is None:
        return INLINE
    template = _read_template(student)
    forms = [*_forms(template)]
    conversations = [
        [{"role": "user", "content": "What is 7 + 5?"}, join_reasoning(reasoning, _RESPONSE, form)]
        for form in forms
        for reasoning in (_REASONING, None)
    ]
    texts = [text or "" for text in render_apart(template, conversations, whose=f"mixing.student: {student}")]
    for form, with_reasoning, without in zip(forms, texts[::2], texts[1::2], strict=True):
        takes_none = all_reason or (_RESPONSE in without and without.count("None") <= with_reasoning.count("None"))
        if takes_none and _keeps(with_reasoning, form):
            return form
    raise RecipeError(
        f"mixing.student: the chat template of {student} drops the reasoning, so that the student would not be "
        "trained on it; name a file with a template that keeps it, or another student"
    )


def _forms(template: ChatTemplate) -> Iterator[ReasoningForm]:
    """The forms to try: fields, the marks that the template names, and <think>, which most take as text."""
    for field in _FIELDS:
        if field in template.text:
            yield ReasoningForm(field=field)
    for opener, closer in MARKS:
        if opener in template.text or closer in template.text:
            yield ReasoningForm(opener=f"{opener}\n", closer=f"\n{closer}\n\n")
            yield ReasoningForm(opener="", closer=f"\n{closer}\n\n")
    yield INLINE


def _keeps(rendered: str, form: ReasoningForm) -> bool:
    """Whether both texts are there, whole and once, and the marks around the reasoning are not doubled."""
    if rendered.count(_REASONING) != 1 or rendered.count(_RESPONSE) != 1:
        return False
    before, _, behind = rendered.partition(_REASONING)
    between, found, _ = behind.partition(_RESPONSE)
    if not found or form.field is not None:
        return bool(found)
    closer = form.closer.strip()
    opener = next(marks.opener for marks in MARKS if marks.closer == closer)
    once = before.rstrip().removesuffix(opener)
    return once != before.rstrip() and not once.rstrip().endswith(opener) and between.count(closer) == 1


def _read_template(student: str) -> ChatTemplate:
    """The template of a student: as transformers does it, a file of its own goes before the configuration."""
    tokens = dict.fromkeys(_TOKENS, "")
    if Path(student).is_file():
        return ChatTemplate(read_student_file(Path(student)), tokens)
    found = [path for name in _FILES if (path := file_of(student, name)) is not None]
    text = ""
    for path in found:
        content = read_student_file(path)
        if path.suffix == ".jinja":
            text = text or content
            continue
        try:
            config = json.loads(content)
        except ValueError as error:
            raise RecordError(f"{path}: not JSON: {error}") from error
        if not isinstance(config, dict):
            raise RecordError(f"{path}: not a JSON object")
        text = text or _default(config.get("chat_template"))
        for name in _TOKENS:
            token = config.get(name)
            token = token.get("content") if isinstance(token, dict) else token
            tokens[name] = token if isinstance(token, str) else tokens[name]
    if not text:
        raise RecipeError(
            f"mixing.student: {student} has no chat template; name a file with one, or leave mixing.student out"
        )
    return ChatTemplate(text, tokens)


def _default(template: object) -> str:
    """The text of a template, or of the default one of several."""
    if isinstance(template, list):
        named = {part.get("name"): part.get("template") for part in template if isinstance(part, dict)}
        template = named.get("default") or next(iter(named.values()), None)
    return template if isinstance(template, str) else ""


def read_student_file(path: Path) -> str:
    """The text of a file of a student. Raises RecordError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: {error}") from error


def file_of(student: str, name: str, *, place: str = "mixing.student") -> Path | None:
    """A file of the student, in its folder or on the Hub; None if it has none of that name.

    Raises HubError, which names the `place` where the student is named, if there is no such student.
    """
    if Path(student).is_dir():
        path = Path(student) / name
        return path if path.is_file() else None
    import httpx2
    import huggingface_hub
    import huggingface_hub.errors

    try:
        return Path(huggingface_hub.hf_hub_download(student, name))
    except huggingface_hub.errors.LocalEntryNotFoundError as error:
        raise HubError(f"{place}: {student}: the Hub cannot be reached") from error
    except huggingface_hub.errors.EntryNotFoundError:
        return None
    except (huggingface_hub.errors.HfHubHTTPError, huggingface_hub.errors.HFValidationError) as error:
        told = " ".join(str(error).split())[:300]
        raise HubError(f"{place}: {student}: no such folder, file or model on the Hub: {told}") from error
    except (OSError, httpx2.TransportError) as error:
        raise HubError(f"{place}: {student}: {' '.join(str(error).split())[:300]}") from error
