"""The prompt by which a problem is put to a teacher: a file of its own, shipped or written by the user.

In: a name or a path. Out: a Prompt: system message, worked examples, template of the user turn. Rendering it
for a problem is `builders.completions`.
"""

import importlib.resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from mixdistill.yaml_file import explain, near, read_yaml

if TYPE_CHECKING:
    import polars

SHIPPED = Path(str(importlib.resources.files("mixdistill.recipes")))
"Folder of the shipped recipes, their prompts and their problems."
PROMPT_SUFFIX = ".prompt.yaml"
_SLOT = "{{problem}}"


def fill(template: str, problem: str) -> str:
    """The template with the text of the problem in its slot."""
    return template.replace(_SLOT, problem)


def fill_column(template: str, problems: "polars.Series") -> "polars.Series":
    """The same for many problems at once."""
    before, *rest = template.split(_SLOT)
    filled = before + problems + rest[0]
    for text in rest[1:]:  # a template may name its slot twice
        filled = filled + problems + text
    return filled


def _has_slot(template: str) -> str:
    if _SLOT not in template:
        raise ValueError(f"has no {_SLOT} in it, so nobody would ever see the problem")
    return template


Template = Annotated[str, AfterValidator(_has_slot)]
"A text with the slot {{problem}}."


class Example(BaseModel):
    """A worked example in a prompt: sent as a user turn and the assistant's answer to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    problem: str
    response: str


class Prompt(BaseModel):
    """How a problem is put to a teacher."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str | None = None
    "System message; none is sent if it is left out."
    examples: tuple[Example, ...] = ()
    "Worked examples, sent as turns before the problem."
    problem: Template = "{{problem}}"
    "User turn; {{problem}} is replaced by the text of the problem."


def load_prompt(name: str, path: Path) -> Prompt:
    """The prompt in a file, or that of the name `name`: beside the recipe first, then the shipped one.

    Raises ValueError, which pydantic turns into the message for the key `prompt`.
    """
    places = (path, path.with_name(f"{path.name}{PROMPT_SUFFIX}"), SHIPPED / f"{name}{PROMPT_SUFFIX}")
    file = next((place for place in places if is_file(place)), None)
    if file is None:
        known = [found.name.removesuffix(PROMPT_SUFFIX) for found in sorted(SHIPPED.glob(f"*{PROMPT_SUFFIX}"))]
        raise ValueError(f"{path}: no such file, and no shipped prompt {name!r}{near(name, known)}")
    content, lines = read_yaml(file)
    try:
        return Prompt.model_validate(content)
    except ValidationError as error:
        raise ValueError(explain(error, file, lines, known_keys)) from error


def known_keys(place: tuple[str, ...]) -> list[str]:
    """The keys that may stand at a place in a prompt."""
    return [*(Example if "examples" in place[:-1] else Prompt).model_fields]


def is_file(path: Path) -> bool:
    """Whether a file is there; a text that somebody wrote in the place of a name may be too long for one."""
    try:
        return path.is_file()
    except OSError:
        return False
