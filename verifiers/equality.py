"""What a comparison of two answers says: a status, what decided, and why."""

from typing import Literal, NamedTuple


class Equality(NamedTuple):
    """Whether an answer equals the reference."""

    status: Literal["correct", "incorrect", "unparsable", "unscored", "timeout"]
    method: str
    """text, choice, number, unit, shape, set, tuple, relation, exact, numeric, rounding, symbolic; or the answer
    type that has its own scorer."""
    reason: str
