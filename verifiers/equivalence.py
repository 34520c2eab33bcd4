r"""Says whether an answer is equal to the reference, by tiers: text, exact numbers, symbolic.

Goes in: two texts, LaTeX or plain. Comes out: an Equality with a status, the tier that decided and why. The
cheap tiers leave open what needs algebra; the symbolic tier reads both sides with our own parser, so that no
text is ever evaluated as code. Pure functions: time and memory limits are set by `workers`. Strict by
default: a rounded decimal is not the number it stands for, 3 is not "3, 4", 50% is 0.5 and not 50.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from mixdistill.verifiers.latex import Unreadable, parse
from mixdistill.verifiers.notation import (
    LONGEST_ANSWER,
    choice_letter,
    is_words,
    quantity,
    same_key,
    split_unit,
    tidy,
    units_differ,
)
from mixdistill.verifiers.shapes import RELATIONS, Shape, as_interval, assigned_name, shape

# Sets and lists are compared each part with each: longer ones are compared as text alone.
_MOST_PARTS = 60
_DEEPEST = 6
_SYMMETRIC = frozenset({"=", r"\ne"})


class Equality(NamedTuple):
    """Whether an answer equals the reference."""

    status: Literal["correct", "incorrect", "unparsable", "unscored"]
    method: str
    "text, choice, number, unit, shape, set, tuple, relation, symbolic, or numeric (equal values, no proof)"
    reason: str


_Compare = Callable[[str, str], Equality | None]


def compare(reference: str, answer: str, answer_type: str = "math") -> Equality:
    """Equality by all tiers, in this process and without a time limit."""
    return compare_quickly(reference, answer, answer_type) or compare_symbolically(reference, answer)


def compare_quickly(reference: str, answer: str, answer_type: str = "math") -> Equality | None:
    r"""Equality by the tiers that need no algebra; None if they leave it open, which only `math` does.

    >>> compare_quickly("1/2", r"\dfrac{1}{2}").status, compare_quickly("100", "101").reason
    ('correct', 'the numbers differ')
    """
    if len(reference) > LONGEST_ANSWER or len(answer) > LONGEST_ANSWER:
        return _compare_long(reference, answer)
    wanted, stated = tidy(reference), tidy(answer)
    if not wanted:
        return Equality("unscored", "text", "the reference is empty")
    if answer_type == "choice":
        return _compare_choices(wanted, stated)
    if same_key(wanted) == same_key(stated):
        return Equality("correct", "text", "the texts are the same")
    if answer_type != "math":
        same = same_key(wanted).casefold() == same_key(stated).casefold()
        return _equality(same, "text", "the texts are the same", "the texts differ")
    return _compare_parts(wanted, stated, _compare_single_quickly)


def compare_symbolically(reference: str, answer: str) -> Equality:
    """Equality by algebra; what cannot be read or decided has its own status."""
    if len(reference) > LONGEST_ANSWER or len(answer) > LONGEST_ANSWER:
        return _compare_long(reference, answer)
    equality = _compare_parts(tidy(reference), tidy(answer), _compare_single)
    return equality or Equality("unscored", "symbolic", "the two have shapes that cannot be compared")


def prepare() -> None:
    """Import SymPy and run it once, so that the first comparison does not pay for it."""
    compare_symbolically(r"\sqrt{8}", r"2\sqrt{2}")
    compare_symbolically("(x+1)^2", "x^2+2x+1")


def _compare_long(reference: str, answer: str) -> Equality:
    if " ".join(reference.split()) == " ".join(answer.split()):
        return Equality("correct", "text", "the texts are the same")
    reason = f"is longer than {LONGEST_ANSWER} characters, too long to be read as an answer"
    if len(reference) > LONGEST_ANSWER:
        return Equality("unscored", "text", f"the reference {reason}")
    return Equality("unparsable", "text", f"the answer {reason}")


def _compare_choices(wanted: str, stated: str) -> Equality:
    letter = choice_letter(wanted, labelled=True)
    if letter is None:
        return Equality("unscored", "choice", "the reference names no choice")
    chosen = choice_letter(stated.upper() if len(stated) <= 3 else stated, labelled=True)
    if chosen is None:
        return Equality("unparsable", "choice", "the answer names no choice")
    return _equality(chosen == letter, "choice", "it is the same choice", "it is another choice")


def _compare_parts(wanted: str, stated: str, single: _Compare, depth: int = 0) -> Equality | None:
    """Equality of two tidy texts of any shape; `single` decides about single values."""
    if same_key(wanted) == same_key(stated):
        return Equality("correct", "text", "the texts are the same")
    first, second = shape(wanted), shape(stated)
    if first.kind == second.kind == "single":
        return single(*first.parts, *second.parts)
    if depth > _DEEPEST:
        return None
    if first.kind in RELATIONS and second.kind in RELATIONS:
        return _compare_relations(first, second, single, depth)
    if assigned_name(first):
        return _compare_parts(first.parts[1], stated, single, depth + 1)
    if assigned_name(second):
        return _compare_parts(wanted, second.parts[1], single, depth + 1)
    return _compare_collections(as_interval(first) or first, as_interval(second) or second, single, depth + 1)


def _compare_collections(first: Shape, second: Shape, single: _Compare, depth: int) -> Equality | None:
    pair = {first.kind, second.kind}
    if pair == {"set", "single"} and len(first.parts) == len(second.parts) == 1:
        return _compare_parts(*first.parts, *second.parts, single, depth)
    unordered = pair <= {"list", "set"} or pair == {"union"}
    if unordered and max(len(first.parts), len(second.parts)) > _MOST_PARTS:
        return None
    if pair == {"set"}:
        return _compare_sets(first.parts, second.parts, single, depth)
    if len(first.parts) != len(second.parts):
        return Equality("incorrect", "shape", f"{_described(second)} is not {_described(first)}")
    if pair == {"list", "()"} or (pair == {"list"} and _named(first) != _named(second)):
        return _compare_in_order(first.parts, second.parts, single, depth)
    if unordered:
        return _compare_lists(first.parts, second.parts, single, depth)
    if len(pair) == 1 and "single" not in pair:
        return _compare_in_order(first.parts, second.parts, single, depth)
    return Equality("incorrect", "shape", f"{_described(second)} is not {_described(first)}")


def _compare_in_order(
    wanted: tuple[str, ...], stated: tuple[str, ...], single: _Compare, depth: int
) -> Equality | None:
    undecided = False
    for place, (first, second) in enumerate(zip(wanted, stated, strict=True), start=1):
        equality = _compare_parts(first, second, single, depth)
        if equality is None:
            undecided = True
        elif equality.status != "correct":
            return Equality(equality.status, "tuple", f"at place {place} {equality.reason}")
    return None if undecided else Equality("correct", "tuple", "all parts are equal, in order")


def _compare_lists(
    wanted: tuple[str, ...], stated: tuple[str, ...], single: _Compare, depth: int
) -> Equality | None:
    """Equality in any order, each part used once."""
    left = list(stated)
    for part in wanted:
        found = _find(part, left, single, depth)
        if found is None or isinstance(found, Equality):
            return found
        left.remove(found)
    return Equality("correct", "set", "all parts are equal, in some order")


def _compare_sets(
    wanted: tuple[str, ...], stated: tuple[str, ...], single: _Compare, depth: int
) -> Equality | None:
    """Equality of sets, in which repeated members count once."""
    for part in wanted:
        found = _find(part, stated, single, depth)
        if found is None or isinstance(found, Equality):
            return found
    for part in stated:
        found = _find(part, wanted, single, depth)
        if found is None or isinstance(found, Equality):
            return found
    return Equality("correct", "set", "the sets have the same members")


def _find(part: str, others: Sequence[str], single: _Compare, depth: int) -> str | Equality | None:
    """The first of the others that equals the part; or why none does; or None if that is open."""
    verdicts: list[Equality | None] = []
    for other in others:
        equality = _compare_parts(part, other, single, depth)
        if equality is not None and equality.status == "correct":
            return other
        verdicts.append(equality)
    if None in verdicts:
        return None
    for equality in verdicts:
        if equality is not None and equality.status != "incorrect":
            return Equality(equality.status, "set", equality.reason)
    return Equality("incorrect", "set", f"{part[:40]} stands on one side only")


def _compare_relations(first: Shape, second: Shape, single: _Compare, depth: int) -> Equality | None:
    """Equality of equations up to their sides and a factor, of inequalities up to a positive factor."""
    if single is not _compare_single:
        return None
    (sign, left), (other_sign, right) = _upward(first), _upward(second)
    if sign != other_sign or len(left) != len(right):
        return Equality("incorrect", "relation", "the relations differ")
    for order in (right, right[::-1]) if sign in _SYMMETRIC else (right,):
        sides = _compare_in_order(left, order, single, depth + 1)
        if sides is not None and (len(left) > 2 or sides.status == "correct"):
            return sides._replace(method="relation")
    from mixdistill.verifiers.expressions import build, proportional

    try:
        wanted = build(parse(left[0])) - build(parse(left[1]))
    except Unreadable as error:
        return Equality("unscored", "symbolic", f"the reference cannot be read: {error}")
    try:
        stated = build(parse(right[0])) - build(parse(right[1]))
    except Unreadable as error:
        return Equality("unparsable", "symbolic", f"the answer cannot be read: {error}")
    factor = proportional(wanted, stated)
    same = factor > 0 or (factor < 0 and sign in _SYMMETRIC)
    return _equality(same, "relation", "the relations are equal up to a factor", "the relations differ")


def _compare_single_quickly(wanted: str, stated: str) -> Equality | None:
    number, stated_number = quantity(wanted), quantity(stated)
    if number is not None and stated_number is not None:
        if number.number == stated_number.number and units_differ(number.unit, stated_number.unit):
            return Equality("incorrect", "unit", f"the units {number.unit} and {stated_number.unit} differ")
        same = number.number == stated_number.number
        return _equality(same, "number", "the numbers are equal", "the numbers differ")
    letter, chosen = choice_letter(wanted), choice_letter(stated, labelled=stated.startswith(("(", '"(')))
    if letter is not None and chosen is not None:
        return _equality(letter == chosen, "choice", "it is the same choice", "it is another choice")
    if is_words(wanted) and (is_words(stated) or stated_number is not None):
        return Equality("incorrect", "text", "the words differ")
    if is_words(stated) and number is not None:
        return Equality("incorrect", "text", "the answer is words, the reference a number")
    return None


def _compare_single(wanted: str, stated: str) -> Equality | None:
    quick = _compare_single_quickly(wanted, stated)
    if quick is not None:
        return quick
    from mixdistill.verifiers.expressions import build, equal

    (wanted, unit), (stated, stated_unit) = _without_unit(wanted), _without_unit(stated)
    if units_differ(unit, stated_unit):
        return Equality("incorrect", "unit", f"the units {unit} and {stated_unit} differ")
    try:
        first = build(parse(wanted))
    except Unreadable as error:
        return Equality("unscored", "symbolic", f"the reference cannot be read: {error}")
    try:
        second = build(parse(stated))
    except Unreadable as error:
        return Equality("unparsable", "symbolic", f"the answer cannot be read: {error}")
    verdict, method = equal(first, second)
    if verdict == "undecided":
        return Equality("unscored", method, "SymPy could not decide whether they are equal")
    if method == "number":
        return _equality(verdict == "equal", method, "the numbers are equal", "the numbers differ")
    return _equality(verdict == "equal", method, "the expressions are equal", "the expressions differ")


def _without_unit(text: str) -> tuple[str, str]:
    """The text without a trailing unit; a degree mark stays, since it changes the value of a formula."""
    body, unit = split_unit(text)
    return (text, "") if unit == "degree" else (body, unit)


def _upward(relation: Shape) -> tuple[str, tuple[str, ...]]:
    """The relation with < for > and its sides swapped."""
    turned = {">": "<", r"\ge": r"\le"}.get(relation.kind)
    return (relation.kind, relation.parts) if turned is None else (turned, relation.parts[::-1])


def _named(collection: Shape) -> bool:
    """Whether the parts are assignments to several names, so that their order matters to a list without."""
    return len({assigned_name(shape(part)) for part in collection.parts} - {None}) > 1


def _described(form: Shape) -> str:
    if form.kind == "single":
        return "one value"
    if form.kind in ("list", "set", "union"):
        return f"a {form.kind} of {len(form.parts)}"
    return f"the form {form.kind} of {len(form.parts)} parts"


def _equality(same: bool, method: str, if_same: str, if_not: str) -> Equality:
    return Equality("correct" if same else "incorrect", method, if_same if same else if_not)
