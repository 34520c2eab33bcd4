"""One judgement in full, for a person: what was found, how each side was read, and why.

In: what `verify` takes. Out: its judgement with the normal forms of both sides. Decides nothing itself.
"""

from typing import NamedTuple

from mixdistill.records import AnswerType, Leniency, Status
from mixdistill.verifiers.equivalence import normal_form
from mixdistill.verifiers.verify import verify


class Explanation(NamedTuple):
    """A judgement and how it came about, in the order in which a person reads it."""

    status: Status
    reference: str
    reference_read_as: str | None
    "Its normal form; None where the answer type has none."
    answer: str | None
    "The answer that was found."
    answer_read_as: str | None
    rule: str | None
    "The rule that found it."
    method: str | None
    "The tier that decided."
    reason: str
    seconds: float


def explain(
    reference: str, response: str, *, answer_type: AnswerType = "math", grading: str | None = None,
    problem: str = "", leniency: Leniency = "default", timeout_seconds: float = 5.0,
) -> Explanation:  # fmt: skip
    """Judges one response and says how both sides were read."""
    judged = verify(
        reference, response, problem=problem, answer_type=answer_type, grading=grading, leniency=leniency,
        timeout_seconds=timeout_seconds,
    )  # fmt: skip
    has_form = answer_type in ("math", "number")
    return Explanation(
        status=judged.status,
        reference=reference,
        reference_read_as=normal_form(reference) if has_form else None,
        answer=judged.answer,
        answer_read_as=normal_form(judged.answer) if has_form and judged.answer else None,
        rule=judged.rule,
        method=judged.method,
        reason=judged.reason,
        seconds=judged.seconds,
    )  # fmt: skip
