"""What a comparison of two answers says: a status, what decided, and why."""

from typing import Literal, NamedTuple


class Equality(NamedTuple):
    """Whether an answer equals the reference."""

    status: Literal["correct", "incorrect", "unparsable", "unscored", "timeout"]
    method: str
    """text, choice, moment, number, unit, form, shape, set, tuple, relation, exact, numeric, rounding,
    symbolic; or the answer type that has its own scorer."""
    reason: str


def decided(same: bool, method: str, if_same: str, if_not: str) -> Equality:
    """Correct or incorrect, with the reason for either."""
    return Equality("correct" if same else "incorrect", method, if_same if same else if_not)
