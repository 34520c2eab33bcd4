r"""Walks through two answers of the same or of another shape, and says whether their parts are equal.

Goes in: two tidy texts, and how two single values are compared. Comes out: an Equality, or None where a single
value leaves it open. Order counts in tuples, intervals and matrices, not in sets, and in lists by leniency;
relations are compared in `relations`, sets of real numbers in `sets`.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import NamedTuple

from flint import fmpq

from mixdistill.records import Leniency
from mixdistill.verifiers.equality import Equality, decided
from mixdistill.verifiers.exact import exact_value
from mixdistill.verifiers.latex import parse
from mixdistill.verifiers.leniency import is_simplified
from mixdistill.verifiers.notation import same_key
from mixdistill.verifiers.relations import compare_relations
from mixdistill.verifiers.sets import is_set, real_set
from mixdistill.verifiers.shapes import MEMBER, RELATIONS, Shape, as_interval, assigned_name, shape
from mixdistill.verifiers.tokens import Unreadable
from mixdistill.verifiers.trees import free_names
from mixdistill.verifiers.values import compare_values

# Sets and lists are compared each part with each: longer ones are compared as text alone.
_MOST_PARTS = 60
_DEEPEST = 6
_LETTER = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
_TWO_DIGITS = re.compile(r"-?[1-9],\d")
_COMMA, _POINT = re.compile(r"-?\d+,\d+"), re.compile(r"-?\d+\.\d+")


class How(NamedTuple):
    """How two single values are compared, and how much may differ."""

    single: Callable[[str, str, Leniency], Equality | None]
    leniency: Leniency


def compare_parts(wanted: str, stated: str, how: How, depth: int = 0) -> Equality | None:
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
        member, other = MEMBER.match(wanted), MEMBER.match(stated)
        if member and other and member.group(1) != other.group(1):
            return Equality("incorrect", "set", "the sets are of different names")
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
    decimal = None if how.leniency == "strict" else _decimal_comma(wanted, stated)
    if decimal is not None:
        return decimal
    if how.leniency != "strict" and (assigned_name(first) or _is_true(first)):
        return compare_parts(first.parts[1], stated, how, depth + 1)
    if how.leniency != "strict" and (assigned_name(second) or _is_true(second)):
        return compare_parts(wanted, second.parts[1], how, depth + 1)
    return _compare_collections(as_interval(first) or first, as_interval(second) or second, how, depth + 1)


def _compare_real_sets(wanted: str, stated: str) -> Equality | None:
    """Equality of two sets of real numbers; None if one is none."""
    one, other = real_set(wanted), real_set(stated)
    if one is None or other is None:
        return None
    return decided(one == other, "set", "they are the same set of numbers", "the sets of numbers differ")


def _same_letters(wanted: str, stated: str) -> bool:
    return set(_LETTER.findall(wanted)) == set(_LETTER.findall(stated))


def _compare_values(wanted: str, stated: str, how: How) -> Equality | None:
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
        is_list = comma is wanted and _TWO_DIGITS.fullmatch(comma)  # two numbers that a reference states
        if is_pair and not is_list and Fraction(comma.replace(",", ".")) == Fraction(point):
            return Equality("correct", "number", "the numbers are equal, with a decimal comma")
    return None


def _is_true(relation: Shape) -> bool:
    """Whether it is an equation between two equal numbers, which states the second, as in 2 + 3 = 5."""
    if relation.kind != "=":
        return False
    try:
        left, right = map(parse, relation.parts)
    except Unreadable:
        return False
    decision = None if free_names(left) | free_names(right) else compare_values(left, right)
    return decision is not None and decision.equal


def _compare_collections(first: Shape, second: Shape, how: How, depth: int) -> Equality | None:
    first, second = _like_matrix(first, second.kind), _like_matrix(second, first.kind)
    pair = {first.kind, second.kind}
    if "ratio" in pair and pair <= {"ratio", "single"}:
        ratios = _compare_ratios(first, second)
        if ratios is not None or "single" not in pair:
            return ratios or _compare_in_order(first.parts, second.parts, how, depth)
    if pair == {"set", "single"} and len(first.parts) == len(second.parts) == 1:
        return compare_parts(*first.parts, *second.parts, how, depth)
    unordered = pair <= {"list", "set"} or pair == {"union"}
    if unordered and max(len(first.parts), len(second.parts)) > _MOST_PARTS:
        return None
    if pair == {"set"} or (pair == {"list"} and _are_solutions(first) and _are_solutions(second)):
        return _compare_sets(first.parts, second.parts, how, depth)
    if len(first.parts) != len(second.parts):
        return Equality("incorrect", "shape", f"{_described(second)} is not {_described(first)}")
    one_is_named = pair == {"list"} and _named(first) != _named(second)
    is_bracketed = pair == {"list", "()"} or (pair == {"list", "[]"} and len(first.parts) > 2)
    if is_bracketed or one_is_named:
        return _compare_in_order(_values(first), _values(second), how, depth)
    if unordered and not (pair == {"list"} and how.leniency == "strict"):
        return _compare_lists(first.parts, second.parts, how, depth)
    if len(pair) == 1 and "single" not in pair:
        return _compare_in_order(first.parts, second.parts, how, depth)
    return Equality("incorrect", "shape", f"{_described(second)} is not {_described(first)}")


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
    return decided(len(quotients) == 1, "number", "the ratios are equal", "the ratios differ")


def _like_matrix(form: Shape, kind: str) -> Shape:
    """A list of rows, or a tuple for a single row or column, as the matrix that the other side is."""
    if not kind.startswith("matrix ") or form.kind not in ("()", "[]"):
        return form
    rows = [shape(part) for part in form.parts]
    if kind in (f"matrix {len(rows)}x1", f"matrix 1x{len(rows)}") and all(row.kind == "single" for row in rows):
        return Shape(kind, form.parts)
    width = len(rows[0].parts)
    if any(row.kind not in ("()", "[]") or len(row.parts) != width for row in rows):
        return form
    return Shape(f"matrix {len(rows)}x{width}", tuple(cell for row in rows for cell in row.parts))


def _compare_in_order(wanted: tuple[str, ...], stated: tuple[str, ...], how: How, depth: int) -> Equality | None:
    undecided = False
    for place, (first, second) in enumerate(zip(wanted, stated, strict=True), start=1):
        equality = compare_parts(first, second, how, depth)
        if equality is None:
            undecided = True
        elif equality.status != "correct":
            return Equality(equality.status, "tuple", f"at place {place} {equality.reason}")
    return None if undecided else Equality("correct", "tuple", "all parts are equal, in order")


def _compare_lists(wanted: tuple[str, ...], stated: tuple[str, ...], how: How, depth: int) -> Equality | None:
    """Equality in any order, each part used once."""
    left = list(stated)
    for part in wanted:
        found = _find(part, left, how, depth)
        if found is None or isinstance(found, Equality):
            return found
        left.remove(found)
    return Equality("correct", "set", "all parts are equal, in some order")


def _compare_sets(wanted: tuple[str, ...], stated: tuple[str, ...], how: How, depth: int) -> Equality | None:
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


def _find(part: str, others: Sequence[str], how: How, depth: int) -> str | Equality | None:
    """The first of the others that equals the part; or why none does; or None if that is open."""
    verdicts: list[Equality | None] = []
    for other in others:
        equality = compare_parts(part, other, how, depth)
        if equality is not None and equality.status == "correct":
            return other
        verdicts.append(equality)
    if None in verdicts:
        return None
    for equality in verdicts:
        if equality is not None and equality.status != "incorrect":
            return Equality(equality.status, "set", equality.reason)
    return Equality("incorrect", "set", f"{part[:40]} stands on one side only")


def _are_solutions(collection: Shape) -> bool:
    """Whether all parts are points or values of a name: a solution that is named twice is one."""
    return {shape(part).kind for part in collection.parts} <= {"()", "="}


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
