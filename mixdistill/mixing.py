"""What a recipe may say about its mixes: size, what arms share, which traces, difficulty, order.

Settings only; `builders.mix` draws by them.
"""

import itertools
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from mixdistill.prompt import Template
from mixdistill.recipe_part import Name, Part, resolve_path
from mixdistill.scoring import Scoring
from mixdistill.yaml_file import PlacedError

Fraction = Annotated[float, Field(ge=0, le=1)]
Match = Literal["problems", "tokens", "steps", "none"]
Select = Literal["random", "first", "shortest", "longest", "student"]
MAX_REPETITION = 0.2
Order = Literal["shuffled", "short_first", "long_first"]


def _share_or_shares(value: object) -> object:
    """One share, or those of a band; told in one error, where a union would tell one for each of its sides."""
    shares = value if isinstance(value, dict) else {"": value}
    for name, share in shares.items():
        of = f" of {name!r}" if name else ""
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise ValueError(f"the share{of} is {share!r}, not a number from 0 to 1")
        if not 0 <= share <= 1:
            raise ValueError(f"the share{of} is {share:g}, not between 0 and 1")
    return value


Share = Annotated[float | dict[str, float], BeforeValidator(_share_or_shares)]
"The share of a part, or, for a band of difficulty, the share of each part."


def _cap(value: object) -> object:
    """A number, or numbers by name; names may look like numbers, as levels do."""
    caps = value if isinstance(value, dict) else {"": value}
    for name, cap in caps.items():
        if isinstance(cap, bool) or not isinstance(cap, int) or cap < 1:
            of = f" of {name!r}" if name != "" else ""
            raise ValueError(f"the number{of} is {cap!r}, not a whole number above 0")
    return {str(name): cap for name, cap in caps.items()} if isinstance(value, dict) else value


Cap = Annotated[int | dict[str, int] | None, BeforeValidator(lambda value: None if value is None else _cap(value))]


class Caps(Part):
    """Most rows of a mix that may come from one place; a number for each, or numbers by name."""

    source: Cap = None
    "Of one problem source."
    subject: Cap = None
    "Of one subject."
    level: Cap = None
    "Of one level."


class Difficulty(Part):
    """How hard a problem is: the share of its judged traces that are right."""

    by: tuple[Name, ...] = ()
    "Teachers whose traces count; default: all."
    keep: tuple[Fraction, Fraction] = (0.0, 1.0)
    "Lowest and highest pass rate of the problems that mixes hold; of both ends the rate itself is kept."
    bands: dict[Name, tuple[Fraction, Fraction]] = Field(
        default_factory=lambda: {"hard": (0.0, 0.5), "easy": (0.5, 1.0)}
    )
    "Names for ranges of the pass rate, from the first up to below the second (1 is in the last)."

    @model_validator(mode="after")
    def _are_ranges(self) -> Self:
        for name, (low, high) in {"keep": self.keep, **self.bands}.items():
            if low > high or (low == high and name != "keep"):
                raise ValueError(f"{name}: from {low:g} to {high:g} lies no pass rate")
        ordered = sorted(self.bands.items(), key=lambda band: band[1])
        for (one, (_, end)), (other, (start, _)) in itertools.pairwise(ordered):
            if start < end:
                raise ValueError(f"bands {one} and {other} overlap")
        return self


class Mixing(Part):
    """What holds for all mixes of the recipe."""

    by: Literal["rows", "tokens"] = "rows"
    "What shares are of. Tokens come out within about half a trace."
    match: Match = "problems"
    """What the mixes of one contrast have in common. problems: the same problems, those that all their teachers
    got right. tokens: as many tokens, from those problems. steps: as many whole batches, each mix from its own
    problems. none: nothing, each mix is as large as it can be."""
    contrasts: tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...] = ()
    "Lists of mixes that are compared with each other; default: all mixes are one contrast."
    rows: Annotated[int, Field(ge=1)] | None = None
    "Rows of each mix; default: as many as there are."
    tokens: Annotated[int, Field(ge=1)] | None = None
    "Tokens of each mix, with match: tokens; default: as many as all of the contrast can have."
    multiple_of: Annotated[int, Field(ge=1)] = 1
    "Rows are rounded down to a multiple of this, so that ratios like 0.2 come out whole (5)."
    batch_size: Annotated[int, Field(ge=1)] = 16
    "Rows of one step of the training: what match: steps and the doctor count by."
    per_problem: Annotated[int, Field(ge=1)] = 1
    "Most traces of one problem in a mix; a problem has as many as all the parts that are compared can give."
    at_most: Caps = Caps()
    "Most rows from one source, subject or level."
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    "Shorter traces are left out."
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    "Longer traces are left out."
    max_repetition: Fraction = MAX_REPETITION
    "Traces of which a larger share stands in repeated stretches are left out: they loop."
    difficulty: Difficulty = Difficulty()
    select: Select = "random"
    """Which of several right traces is taken. student: the one that suits the student best, by `scoring`.
    shortest and longest go by tokens, by characters where nobody counted tokens."""
    scoring: Scoring = Scoring()
    "How the student scores traces, with select: student."
    order: Order = "shuffled"
    "The order of the rows; short_first and long_first are curricula, by the length of the trace."
    prompt: Template = "{{problem}}"
    "What the student is asked; {{problem}} is replaced."
    suspect_references: Literal["leave_out", "keep"] = "leave_out"
    "What becomes of problems whose reference looks wrong, those that `mixdistill verify --audit` lists."
    allow_smaller: bool = False
    "Whether mixes may be smaller than `rows` or `tokens` say, where there is not enough."
    student: str | None = None
    "Folder, Hub id or template file of the student: reasoning is joined as its template wants; default: <think>."

    @field_validator("student")
    @classmethod
    def _resolve_student(cls, name: str | None, info: ValidationInfo) -> str | None:
        path = resolve_path(Path(name), info) if name else None
        return str(path.absolute()) if path is not None and path.exists() else name

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.tokens is not None and self.match != "tokens":
            raise PlacedError(("tokens",), "is for match: tokens; set rows, or match: tokens")
        if self.rows is not None and self.match == "tokens":
            raise PlacedError(("rows",), "does not go with match: tokens, where mixes differ in rows; set tokens")
        if self.min_tokens is not None and self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise PlacedError(("min_tokens",), f"no trace has {self.min_tokens} to {self.max_tokens} tokens")
        if self.select == "student" and self.student is None:
            raise PlacedError(("select",), "student needs mixing.student: the folder or Hub id of the student")
        return self
