r"""Says whether two equations or inequalities are the same.

Goes in: two Shapes whose kinds are relation signs. Comes out: an Equality. Sides may be swapped, all may be
multiplied by a factor, a denominator may be cleared (y = 2/x is xy = 2), and an equation may be solved by an
inverse function, which is read on its own branch (x = \arccos y is y = \cos x). Inequalities allow a positive
factor only.
"""

import re
from collections.abc import Callable
from itertools import pairwise

from mixdistill.verifiers.equality import Equality
from mixdistill.verifiers.latex import parse
from mixdistill.verifiers.nodes import NEGATIVE_ONE, Node
from mixdistill.verifiers.quotients import same_roots
from mixdistill.verifiers.shapes import Shape
from mixdistill.verifiers.tokens import INVERTIBLE, Unreadable
from mixdistill.verifiers.trees import free_names
from mixdistill.verifiers.values import constant_factor

_FUNCTION = re.compile(r"([A-Za-z])\s?\(\s?([a-z])\s?\)")
_BINDER = re.compile(r"\\(?:sum|prod|int|lim)(?![A-Za-z])")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_SYMMETRIC = frozenset({"=", r"\ne"})
_CompareSides = Callable[[tuple[str, ...], tuple[str, ...]], Equality | None]


def compare_relations(first: Shape, second: Shape, compare_sides: _CompareSides) -> Equality | None:
    """Equality of two relations; `compare_sides` decides about their sides, in order; None if it is left open."""
    second = _with_argument_of(first, second)
    (signs, left), (other_signs, right) = _upward(first), _upward(second)
    if signs != other_signs or len(left) != len(right):
        return Equality("incorrect", "relation", "the relations differ")
    undecided = False
    for order in (right, right[::-1]) if signs[0] in _SYMMETRIC else (right,):
        sides = compare_sides(left, order)
        undecided |= sides is None
        if sides is not None and sides.status == "correct":
            return sides._replace(method="relation")
    try:
        wanted = [_difference(*pair) for pair in pairwise(left)]
    except Unreadable as error:
        return Equality("unscored", "relation", f"the reference cannot be read: {error}")
    try:
        stated = [_difference(*pair) for pair in pairwise(right)]
    except Unreadable as error:
        return Equality("unparsable", "relation", f"the answer cannot be read: {error}")
    if all(map(_is_same, signs, wanted, stated)):
        return Equality("correct", "relation", "the relations are equal up to a factor")
    return None if undecided else Equality("incorrect", "relation", "the relations differ")


def _with_argument_of(first: Shape, second: Shape) -> Shape:
    """The second definition of a function with the argument of the first: f(t) = t^2 is f(x) = x^2."""
    one, other = _FUNCTION.fullmatch(first.parts[0]), _FUNCTION.fullmatch(second.parts[0])
    if one is None or other is None or one.group(1) != other.group(1) or second.kind != "=":
        return second
    if _BINDER.search(second.parts[1]):
        return second
    if one.group(2) != other.group(2) and one.group(2) in _COMMAND.sub("", second.parts[1]):
        return second
    argument = re.compile(rf"(?<![\\A-Za-z]){other.group(2)}(?![A-Za-z])")
    return second._replace(parts=tuple(argument.sub(one.group(2), part) for part in second.parts))


def _is_same(sign: str, wanted: Node, stated: Node) -> bool:
    factor = constant_factor(wanted, stated)
    return factor > 0 or (sign in _SYMMETRIC and (factor < 0 or same_roots(wanted, stated)))


def _difference(left: str, right: str) -> Node:
    one, other = parse(left), parse(right)
    one, other = _solved(one, other) or _solved(other, one) or (one, other)
    return Node("sum", (one, Node("product", (NEGATIVE_ONE, other))))


def _solved(side: Node, other: Node) -> tuple[Node, Node] | None:
    """The sides without the inverse function that one of them is; None if it is none, or of a constant."""
    if side.kind != "call" or not free_names(side) or not free_names(other):
        return None
    if side.text.startswith("a") and side.text[1:] in INVERTIBLE and len(side.operands) == 1:
        return Node("call", (other,), side.text[1:]), side.operands[0]
    if side.text == "ln":
        return Node("power", (Node("constant", text="e"), other)), side.operands[0]
    if side.text == "log" and len(side.operands) == 2:  # without a base it may be either
        return Node("power", (side.operands[1], other)), side.operands[0]
    return None


def _upward(relation: Shape) -> tuple[list[str], tuple[str, ...]]:
    """The signs between the sides of a relation, with < for >, and the sides in that order."""
    signs, sides = relation.kind.split(), relation.parts
    if set(signs) <= {">", r"\ge"}:
        return [{">": "<"}.get(sign, r"\le") for sign in reversed(signs)], sides[::-1]
    return signs, sides
