"""Compares two expression trees by their values: exact fractions first, then balls that hold the true value.

Goes in: two trees (`latex`). Comes out: equal, different, or None where values cannot tell. A constant of
whole numbers is computed exactly. Everything else is evaluated at the same random points on both sides in ball
arithmetic (`balls`): balls apart are a proof of difference, balls that agree to a hundred digits at all points,
with room for the largest number inside, are taken as equality. Real values count first, so that a square root
is compared where it is real; complex ones only where no real one exists. Nothing here can run long: powers
are bounded, and the time of an operation depends on the precision alone.
"""

import random
import threading
from collections.abc import Iterator, Sequence
from math import isqrt
from typing import NamedTuple

from flint import acb, acb_mat, arb, ctx, fmpq

from mixdistill.verifiers.balls import UNEVALUATED, Ball, Field
from mixdistill.verifiers.exact import Point, Undefined, exact_value
from mixdistill.verifiers.nodes import Node
from mixdistill.verifiers.trees import free_names, kinds_in, numbers_in

# Bits that both sides are computed to, and to which they must agree. e^(pi sqrt 163) is within 2^-99, relative
# to its size, of a whole number.
_BITS, _AGREED_BITS = 400, 300
_MOST_BITS = 40_000
_SEED = 20240214
# Points that must agree before two expressions with variables count as equal.
_ENOUGH = 4
# Scale and signs of the random points: near and far, on both sides of zero, so that |x - 5| and 5 - x, or
# sqrt(x^2) and x, come apart; below one for the inverse functions.
_ABOVE, _BELOW, _BOTH = (1,), (-1,), (1, -1)
_SCALES: tuple[tuple[float, tuple[int, ...]], ...] = (
    (1.0, _ABOVE), (1.0, _BELOW), (0.3, _ABOVE), (0.3, _BOTH), (1.0, _BOTH), (10.0, _ABOVE), (10.0, _BOTH),
    (100.0, _ABOVE), (100.0, _BELOW), (0.3, _BELOW), (3.0, _BOTH), (30.0, _BOTH), (1.0, _BOTH), (3.0, _BOTH),
)  # fmt: skip
_FAR_SCALES = tuple(
    (10.0**power, signs) for power in (3, 4, 5, 6, 7) for signs in (_ABOVE, _BELOW, _BOTH, _BOTH, _BOTH)
)
_WHOLE_NUMBERS = (2, 3, 5, 8, 12, 17)
_COMMON = frozenset({"gcd", "lcm"})
_FACTORS, _N_WHOLE_POINTS = (1, 2, 3, 4, 5, 6, 7, 12), 24
_PIECEWISE = frozenset({"abs", "floor", "ceil", "max", "min", "sgn"})
_LOCK = threading.Lock()


class Decision(NamedTuple):
    """Whether two expressions are equal, and what decided."""

    equal: bool
    method: str
    "exact (fractions) or numeric (balls)"


def compare_values(first: Node, second: Node) -> Decision | None:
    """Whether the values agree wherever both have one; None where that cannot be told.

    Unevaluated integrals, limits and endless sums are taken as unknown numbers, equal where they are written
    alike, so that they can prove equality but never a difference.
    """
    exact, other = exact_value(first), exact_value(second)
    if exact is not None and other is not None:
        return Decision(exact == other, "exact")
    with _LOCK:
        return _compare_balls(first, second)


def constant_factor(first: Node, second: Node) -> int:
    """The sign of the constant by which two expressions differ, -1 for a complex one; 0 if there is none."""
    names = sorted(free_names(first) | free_names(second))
    if not names:
        return 0
    unit = acb if "i" in kinds_in(first) | kinds_in(second) else arb
    ratios: list[arb] = []
    with _LOCK, ctx.workprec(_BITS):
        for point in _points(names):
            try:
                above, below = Field(unit, point).value(first), Field(unit, point).value(second)
            except Undefined:
                continue
            if below.contains(0):
                continue
            ratios.append(above / below)
            if _differ(ratios[0], ratios[-1]):
                return 0
    if len(ratios) < 3 or ratios[0].contains(0):
        return 0
    return 1 if isinstance(ratios[0], arb) and ratios[0] > 0 else -1


def number_value(node: Node) -> arb | None:
    """The real value of a constant, to a hundred digits; None if it has none."""
    if free_names(node):
        return None
    with _LOCK, ctx.workprec(_BITS):
        try:
            value: arb = Field(arb, {}).value(node)
        except Undefined:
            return None
        return value if value.is_finite() else None


def _compare_balls(first: Node, second: Node) -> Decision | None:
    names = sorted(free_names(first) | free_names(second))
    one, other = kinds_in(first), kinds_in(second)
    unknown = bool((one | other) & UNEVALUATED)
    bars_on_one_side = ("abs" in one) != ("abs" in other)
    bends = bool(names and ((one | other) & _PIECEWISE or "root" in one | other))
    stages: list[tuple[type[arb] | type[acb], Sequence[Point]]] = []
    if "i" not in one | other and "matrix" not in one | other:
        literals = numbers_in(first) + numbers_in(second)
        stages.append((arb, [*_points(names), *(_points_of_bends(names, literals) if bends else ())]))
        if names:
            stages.append((arb, [dict.fromkeys(names, fmpq(n)) for n in _WHOLE_NUMBERS]))
        if (one | other) & _COMMON:
            stages = [(arb, list(_whole_points(names)))]
    stages.append((acb, list(_points(names))))
    for unit, points in stages:
        verdict = _agree(first, second, unit, points)
        if verdict is False:
            return None if unknown else Decision(False, "numeric")
        if verdict and unit is arb and names and bars_on_one_side:
            # ln|x| is ln x where both are real; what tells them apart is where only one is.
            verdict = _agree(first, second, acb, list(_points(names))) is not False
            return Decision(verdict, "numeric")
        if verdict:
            return Decision(True, "numeric")
    return None


def _agree(first: Node, second: Node, unit: type[arb] | type[acb], points: Sequence[Point]) -> bool | None:
    """Whether values agree at enough of the points; None if too few can be computed."""
    agreed = 0
    for point in points:
        same = _agree_at(first, second, unit, point, _BITS)
        if same is False:
            return False
        agreed += same is True
    return True if agreed >= min(_ENOUGH, len(points)) else None


def _agree_at(first: Node, second: Node, unit: type[arb] | type[acb], point: Point, bits: int) -> bool | None:
    with ctx.workprec(bits):
        evaluator = Field(unit, point)
        try:
            value, other = evaluator.value(first), evaluator.value(second)
        except Undefined:
            return None
        pairs = _pairs(value, other)
        if pairs is None:
            return False
        if not all(_is_finite(a) and _is_finite(b) for a, b in pairs):
            return None
        if any(_differ(a, b) for a, b in pairs):
            return False
        needed = _AGREED_BITS + 2 * evaluator.span + 40
        close = all(_is_close(a, b) for a, b in pairs)
    if bits >= needed and close:
        return True
    again = max(needed, 4 * bits) if bits >= needed else needed
    return _agree_at(first, second, unit, point, again) if again <= _MOST_BITS else None


def _pairs(value: Ball, other: Ball) -> list[tuple[Ball, Ball]] | None:
    """Numbers to compare; None if one is a matrix and the other is none of its size."""
    if not isinstance(value, acb_mat) and not isinstance(other, acb_mat):
        return [(value, other)]
    if not isinstance(value, acb_mat) or not isinstance(other, acb_mat):
        return None
    if (value.nrows(), value.ncols()) != (other.nrows(), other.ncols()):
        return None
    return list(zip(value.entries(), other.entries(), strict=True))


def _differ(value: Ball, other: Ball) -> bool:
    return not value.overlaps(other)


def _is_close(value: Ball, other: Ball) -> bool:
    """Whether the values agree to _AGREED_BITS of the larger, or are both smaller than that."""
    scale = max(value.abs_upper(), other.abs_upper())
    gap = (value - other).abs_upper()
    return bool(gap <= max(scale, arb(2) ** -_AGREED_BITS) * arb(2) ** -_AGREED_BITS)


def _is_finite(value: Ball) -> bool:
    return bool(value.is_finite())


def _points(names: Sequence[str], scales: Sequence[tuple[float, tuple[int, ...]]] = _SCALES) -> Iterator[Point]:
    """Values for all names, the same in every run; one empty point where there are no names."""
    if not names:
        yield {}
        return
    draw = random.Random(_SEED)
    for scale, signs in scales:
        yield {
            name: fmpq(int(scale * draw.randint(301, 2_999)) or 1, 1_000) * draw.choice(signs) for name in names
        }


def _whole_points(names: Sequence[str]) -> Iterator[Point]:
    """Whole numbers for all names, many of which have factors in common."""
    draw = random.Random(_SEED)
    for _ in range(_N_WHOLE_POINTS if names else 1):
        yield {name: fmpq(draw.choice(_FACTORS) * draw.choice(_FACTORS)) for name in names}


def _points_of_bends(names: Sequence[str], literals: Sequence[fmpq]) -> Iterator[Point]:
    """Points where absolute values, roots of squares and extremes may change: far out, and beside the numbers."""
    yield from _points(names, _SCALES + _FAR_SCALES)
    for number in sorted({abs(literal) for literal in literals})[:12]:
        root = fmpq(isqrt(int(number.p) // int(number.q)))
        for value in {number, -number, root, -root}:
            for step in (fmpq(-7, 50), fmpq(9, 50)):
                yield {name: value * (-1) ** at + step * (at + 1) for at, name in enumerate(names)}
                yield {name: value + step * (at + 1) for at, name in enumerate(names)}
