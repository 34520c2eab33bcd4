r"""Says whether an answer is equal to the reference, by tiers: text, numbers, parts, values, algebra.

Goes in: two texts, LaTeX or plain. Comes out: an Equality with a status, the tier that decided and why. The
cheap tiers leave open what has no value that can be computed, such as an integral; that is left to SymPy. Our
own parser reads both sides, so that no text is ever evaluated as code. Pure functions: time and memory limits
are set by `workers`. What may differ in digits and units is in `leniency`; 3 is never "3, 4", 50% never 50.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import NamedTuple

from flint import fmpq

from mixdistill.records import Leniency
from mixdistill.verifiers.equality import Equality
from mixdistill.verifiers.exact import exact_value
from mixdistill.verifiers.latex import parse
from mixdistill.verifiers.leniency import compare_quantities, is_rounding_of, is_simplified
from mixdistill.verifiers.moments import moment
from mixdistill.verifiers.nodes import Node
from mixdistill.verifiers.notation import (
    LONGEST_ANSWER,
    choice_letter,
    is_words,
    quantity,
    same_key,
    split_unit,
    tidy,
)
from mixdistill.verifiers.relations import compare_relations
from mixdistill.verifiers.sets import is_set, real_set
from mixdistill.verifiers.shapes import RELATIONS, Shape, as_interval, assigned_name, shape
from mixdistill.verifiers.tokens import Unreadable
from mixdistill.verifiers.trees import common_logarithms
from mixdistill.verifiers.units import units_differ
from mixdistill.verifiers.values import Decision, compare_values

# Sets and lists are compared each part with each: longer ones are compared as text alone.
_MOST_PARTS = 60
_DEEPEST = 6
_LETTER = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
_COMMA, _POINT = re.compile(r"-?\d+,\d+"), re.compile(r"-?\d+\.\d+")


class _How(NamedTuple):
    """How two single values are compared, and how much may differ."""

    single: Callable[[str, str, Leniency], Equality | None]
    leniency: Leniency


def compare(reference: str, answer: str, leniency: Leniency = "default") -> Equality:
    """Equality by all tiers, in this process and without a time limit."""
    return compare_quickly(reference, answer, leniency) or compare_symbolically(reference, answer, leniency)


def compare_quickly(reference: str, answer: str, leniency: Leniency = "default") -> Equality | None:
    r"""Equality by the tiers that need no algebra; None if they leave it open.

    >>> compare_quickly("1/2", r"\dfrac{1}{2}").status, compare_quickly("100", "101").reason
    ('correct', 'the numbers differ')
    """
    if len(reference) > LONGEST_ANSWER or len(answer) > LONGEST_ANSWER:
        return _compare_long(reference, answer)
    wanted, stated = tidy(reference), tidy(answer)
    if not wanted:
        return Equality("unscored", "text", "the reference is empty")
    return _compare_parts(wanted, stated, _How(_compare_single_quickly, leniency))


def compare_symbolically(reference: str, answer: str, leniency: Leniency = "default") -> Equality:
    """Equality by algebra; what cannot be read or decided has its own status."""
    if len(reference) > LONGEST_ANSWER or len(answer) > LONGEST_ANSWER:
        return _compare_long(reference, answer)
    equality = _compare_parts(tidy(reference), tidy(answer), _How(_compare_single, leniency))
    return equality or Equality("unscored", "symbolic", "the two have shapes that cannot be compared")


def normal_form(text: str) -> str:
    r"""How the comparison reads a text: its kind and its parts, numbers as fractions; for people.

    >>> normal_form(r"\dfrac{2}{4}"), normal_form("x < 5, x > 2")
    ('1/2', 'list of: x < 5; x > 2')
    """
    if len(text) > LONGEST_ANSWER:
        return f"a text of {len(text):,} characters"
    form = shape(tidy(text))
    if form.kind == "single":
        number = quantity(form.parts[0])
        return " ".join((str(number.number), number.unit)).strip() if number else form.parts[0]
    if set(form.kind.split()) <= RELATIONS:
        return f" {form.kind} ".join(map(normal_form, form.parts)) if " " not in form.kind else tidy(text)
    return f"{form.kind} of: " + "; ".join(map(normal_form, form.parts))


def prepare() -> None:
    """Import SymPy and run it once, so that the first comparison does not pay for it."""
    compare_symbolically(r"\int 2x\,dx", "x^2")


def _compare_long(reference: str, answer: str) -> Equality:
    if " ".join(reference.split()) == " ".join(answer.split()):
        return Equality("correct", "text", "the texts are the same")
    reason = f"is longer than {LONGEST_ANSWER} characters, too long to be read as an answer"
    if len(reference) > LONGEST_ANSWER:
        return Equality("unscored", "text", f"the reference {reason}")
    return Equality("unparsable", "text", f"the answer {reason}")


def _compare_parts(wanted: str, stated: str, how: _How, depth: int = 0) -> Equality | None:
    """Equality of two tidy texts of any shape; `how` says what decides about single values."""
    if same_key(wanted) == same_key(stated):
        return Equality("correct", "text", "the texts are the same")
    first, second = shape(wanted), shape(stated)
    if set(first.kind.split()) <= RELATIONS and set(second.kind.split()) <= RELATIONS:
        equality = compare_relations(first, second, partial(_compare_in_order, how=how, depth=depth + 1))
        if equality is None or equality.status != "incorrect" or not _same_letters(wanted, stated):
            return equality
        sets = _compare_real_sets(wanted, stated)
        return sets if sets is not None and sets.status == "correct" else equality
    if is_set(wanted) or is_set(stated):
        equality = _compare_real_sets(wanted, stated)
        if equality is not None:
            return equality
    if first.kind == second.kind == "single":
        return _compare_values(first.parts[0], second.parts[0], how)
    kinds = {first.kind.partition(" ")[0], second.kind.partition(" ")[0]}
    if kinds == {"matrix", "single"}:
        return _compare_values(wanted, stated, how)
    if depth > _DEEPEST:
        return None
    decimal = _decimal_comma(wanted, stated)
    if decimal is not None:
        return decimal
    if how.leniency != "strict" and assigned_name(first):
        return _compare_parts(first.parts[1], stated, how, depth + 1)
    if how.leniency != "strict" and assigned_name(second):
        return _compare_parts(wanted, second.parts[1], how, depth + 1)
    return _compare_collections(as_interval(first) or first, as_interval(second) or second, how, depth + 1)


def _compare_real_sets(wanted: str, stated: str) -> Equality | None:
    """Equality of two sets of real numbers; None if one is none."""
    one, other = real_set(wanted), real_set(stated)
    if one is None or other is None:
        return None
    return _equality(one == other, "set", "they are the same set of numbers", "the sets of numbers differ")


def _same_letters(wanted: str, stated: str) -> bool:
    return set(_LETTER.findall(wanted)) == set(_LETTER.findall(stated))


def _compare_values(wanted: str, stated: str, how: _How) -> Equality | None:
    equality = how.single(wanted, stated, how.leniency)
    if how.leniency != "strict" or equality is None or equality.status != "correct":
        return equality
    if is_simplified(wanted) and not is_simplified(stated):
        return Equality("incorrect", "form", "the value is right, but not simplified")
    return equality


def _decimal_comma(wanted: str, stated: str) -> Equality | None:
    """Equality of 1,22 and 1.22, which half of the world writes for one another; None for anything else."""
    for comma, point in ((wanted, stated), (stated, wanted)):
        is_pair = _COMMA.fullmatch(comma) and _POINT.fullmatch(point)
        if is_pair and Fraction(comma.replace(",", ".")) == Fraction(point):
            return Equality("correct", "number", "the numbers are equal, with a decimal comma")
    return None


def _compare_ratios(first: Shape, second: Shape) -> Equality | None:
    """Equality of 1:2 and 2:4, and of both with 1/2."""
    try:
        wanted, stated = ([exact_value(parse(part)) for part in parts] for parts in (first.parts, second.parts))
    except Unreadable:
        return None
    if len(wanted) == 1:
        wanted.append(fmpq(1))
    if len(stated) == 1:
        stated.append(fmpq(1))
    if len(wanted) != len(stated) or not all(wanted) or not all(stated):
        return None
    quotients = {one / other for one, other in zip(wanted, stated, strict=True) if one and other}
    return _equality(len(quotients) == 1, "number", "the ratios are equal", "the ratios differ")


def _compare_collections(first: Shape, second: Shape, how: _How, depth: int) -> Equality | None:
    pair = {first.kind, second.kind}
    if "ratio" in pair and pair <= {"ratio", "single"}:
        ratios = _compare_ratios(first, second)
        if ratios is not None or "single" not in pair:
            return ratios or _compare_in_order(first.parts, second.parts, how, depth)
    if pair == {"set", "single"} and len(first.parts) == len(second.parts) == 1:
        return _compare_parts(*first.parts, *second.parts, how, depth)
    unordered = pair <= {"list", "set"} or pair == {"union"}
    if unordered and max(len(first.parts), len(second.parts)) > _MOST_PARTS:
        return None
    if pair == {"set"} or (pair == {"list"} and _are_points(first) and _are_points(second)):
        return _compare_sets(first.parts, second.parts, how, depth)
    if len(first.parts) != len(second.parts):
        return Equality("incorrect", "shape", f"{_described(second)} is not {_described(first)}")
    one_is_named = pair == {"list"} and _named(first) != _named(second)
    if pair == {"list", "()"} or one_is_named or (pair == {"list"} and how.leniency == "strict"):
        return _compare_in_order(_values(first), _values(second), how, depth)
    if unordered:
        return _compare_lists(first.parts, second.parts, how, depth)
    if len(pair) == 1 and "single" not in pair:
        return _compare_in_order(first.parts, second.parts, how, depth)
    return Equality("incorrect", "shape", f"{_described(second)} is not {_described(first)}")


def _compare_in_order(wanted: tuple[str, ...], stated: tuple[str, ...], how: _How, depth: int) -> Equality | None:
    undecided = False
    for place, (first, second) in enumerate(zip(wanted, stated, strict=True), start=1):
        equality = _compare_parts(first, second, how, depth)
        if equality is None:
            undecided = True
        elif equality.status != "correct":
            return Equality(equality.status, "tuple", f"at place {place} {equality.reason}")
    return None if undecided else Equality("correct", "tuple", "all parts are equal, in order")


def _compare_lists(wanted: tuple[str, ...], stated: tuple[str, ...], how: _How, depth: int) -> Equality | None:
    """Equality in any order, each part used once."""
    left = list(stated)
    for part in wanted:
        found = _find(part, left, how, depth)
        if found is None or isinstance(found, Equality):
            return found
        left.remove(found)
    return Equality("correct", "set", "all parts are equal, in some order")


def _compare_sets(wanted: tuple[str, ...], stated: tuple[str, ...], how: _How, depth: int) -> Equality | None:
    """Equality of sets, in which repeated members count once."""
    for part in wanted:
        found = _find(part, stated, how, depth)
        if found is None or isinstance(found, Equality):
            return found
    for part in stated:
        found = _find(part, wanted, how, depth)
        if found is None or isinstance(found, Equality):
            return found
    return Equality("correct", "set", "the sets have the same members")


def _find(part: str, others: Sequence[str], how: _How, depth: int) -> str | Equality | None:
    """The first of the others that equals the part; or why none does; or None if that is open."""
    verdicts: list[Equality | None] = []
    for other in others:
        equality = _compare_parts(part, other, how, depth)
        if equality is not None and equality.status == "correct":
            return other
        verdicts.append(equality)
    if None in verdicts:
        return None
    for equality in verdicts:
        if equality is not None and equality.status != "incorrect":
            return Equality(equality.status, "set", equality.reason)
    return Equality("incorrect", "set", f"{part[:40]} stands on one side only")


def _compare_single_quickly(wanted: str, stated: str, leniency: Leniency) -> Equality | None:
    time, stated_time = moment(wanted), moment(stated)
    if time is not None and stated_time is not None:
        return _equality(time == stated_time, "moment", "it is the same date or time", "the dates or times differ")
    number, stated_number = quantity(wanted), quantity(stated)
    if number is not None and stated_number is None:
        stated_number = quantity(stated, letters=True)
    elif stated_number is not None and stated_number.unit and number is None:
        number = quantity(wanted, letters=True)
    if number is not None and stated_number is not None:
        return compare_quantities(number, stated_number, wanted, stated, leniency)
    letter, chosen = choice_letter(wanted), choice_letter(stated, labelled=stated.startswith(("(", '"(')))
    if letter is not None and chosen is not None:
        return _equality(letter == chosen, "choice", "it is the same choice", "it is another choice")
    if is_words(wanted) and (is_words(stated) or stated_number is not None):
        return Equality("incorrect", "text", "the words differ")
    if is_words(stated) and number is not None:
        return Equality("incorrect", "text", "the answer is words, the reference a number")
    return _compare_trees(wanted, stated, leniency)


def _compare_trees(wanted: str, stated: str, leniency: Leniency) -> Equality | None:
    """Equality of two expressions by their values; None where values cannot tell."""
    trees = _read_both(wanted, stated)
    if isinstance(trees, Equality):
        return trees
    first, second = trees
    decision = compare_values(first, second)
    if decision is not None and not decision.equal:
        decision = _with_other_logarithm(first, second) or decision
    if decision is None:
        return None
    if decision.equal:
        return Equality("correct", decision.method, "the expressions have the same value")
    if is_rounding_of(wanted, stated, first, second, leniency):
        return Equality("correct", "rounding", "one is the other, rounded to the digits that it states")
    return Equality("incorrect", decision.method, "the expressions have different values")


def _read_both(wanted: str, stated: str) -> tuple[Node, Node] | Equality:
    (bare, unit), (other, other_unit) = _without_unit(wanted), _without_unit(stated)
    if units_differ(unit, other_unit):
        return Equality("incorrect", "unit", f"the units {unit} and {other_unit} differ")
    comparable = unit == other_unit or not (unit and other_unit)
    if comparable and bare and other and '"' not in bare + other:
        wanted, stated = bare, other
    try:
        first = parse(wanted)
    except Unreadable as error:
        return Equality("unscored", "symbolic", f"the reference cannot be read: {error}")
    try:
        return first, parse(stated)
    except Unreadable as error:
        return Equality("unparsable", "symbolic", f"the answer cannot be read: {error}")


def _with_other_logarithm(first: Node, second: Node) -> Decision | None:
    r"""The values once more with \log to the base ten, as schools mean it; None if none stands there."""
    ten, other_ten = common_logarithms(first), common_logarithms(second)
    if (ten, other_ten) == (first, second):
        return None
    decision = compare_values(ten, other_ten)
    return decision if decision is not None and decision.equal else None


def _compare_single(wanted: str, stated: str, leniency: Leniency) -> Equality | None:
    quick = _compare_single_quickly(wanted, stated, leniency)
    if quick is not None:
        return quick
    from mixdistill.verifiers.expressions import build, equal

    trees = _read_both(wanted, stated)
    if isinstance(trees, Equality):
        return trees
    try:
        first = build(trees[0])
    except Unreadable as error:
        return Equality("unscored", "symbolic", f"the reference cannot be computed: {error}")
    try:
        second = build(trees[1])
    except Unreadable as error:
        return Equality("unparsable", "symbolic", f"the answer cannot be computed: {error}")
    verdict, method = equal(first, second)
    if verdict == "undecided":
        return Equality("unscored", method, "SymPy could not decide whether they are equal")
    return _equality(verdict == "equal", method, "the expressions are equal", "the expressions differ")


def _without_unit(text: str) -> tuple[str, str]:
    """The text without a trailing unit; a degree mark stays, since it changes the value of a formula."""
    body, unit = split_unit(text)
    return (text, "") if unit == "degree" else (body, unit)


def _are_points(collection: Shape) -> bool:
    """Whether all parts are tuples: a point or a solution that is named twice is one."""
    return all(shape(part).kind == "()" for part in collection.parts)


def _named(collection: Shape) -> bool:
    """Whether the parts are assignments to several names, so that their order matters to a list without."""
    return len({assigned_name(shape(part)) for part in collection.parts} - {None}) > 1


def _values(collection: Shape) -> tuple[str, ...]:
    """The parts, without the names that values are given to."""
    forms = [shape(part) for part in collection.parts]
    return tuple(f.parts[1] if assigned_name(f) else part for f, part in zip(forms, collection.parts, strict=True))


def _described(form: Shape) -> str:
    if form.kind == "single":
        return "one value"
    if form.kind in ("list", "set", "union"):
        return f"a {form.kind} of {len(form.parts)}"
    return f"the form {form.kind} of {len(form.parts)} parts"


def _equality(same: bool, method: str, if_same: str, if_not: str) -> Equality:
    return Equality("correct" if same else "incorrect", method, if_same if same else if_not)
