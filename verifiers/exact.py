"""Computes constants of whole numbers and fractions exactly.

Goes in: a tree (`latex`). Comes out: the fraction that it is, or None for whatever is not made of numbers by exact
operations, or would be too large to hold. No SymPy: python-flint's fractions are faster than Python's own.
"""

from fractions import Fraction
from math import comb, factorial, gcd, lcm

from flint import fmpq

from mixdistill.verifiers.nodes import Node

Point = dict[str, fmpq]

# Exact powers and factorials stay below this many bits.
_EXACT_BITS = 30_000
_LARGEST_EXACT_FACTORIAL = 3_000


class Undefined(ArithmeticError):
    """The expression has no value there, or none that can be computed within the limits."""


def exact_value(node: Node) -> fmpq | None:
    """The fraction that a constant is; None for all that is not made of numbers by exact operations."""
    return exact_at(node, {})


def exact_at(node: Node, point: Point) -> fmpq | None:
    if node.kind == "number":
        try:
            return rational(node.text)
        except Undefined:
            return None
    if node.kind == "symbol":
        return point.get(node.text)
    if node.kind not in ("sum", "product", "power", "factorial", "binomial", "mod", "call"):
        return None
    values: list[fmpq] = []
    for operand in node.operands:
        value = exact_at(operand, point)
        if value is None:
            return None
        values.append(value)
    return _exact_operation(node, values)


def _exact_operation(node: Node, values: list[fmpq]) -> fmpq | None:
    total = values[0]
    if node.kind == "sum":
        return sum(values[1:], total)
    if node.kind == "product":
        for value in values[1:]:
            total = total * value
        return total if int(total.p).bit_length() <= 4 * _EXACT_BITS else None
    if node.kind == "power":
        return _exact_power(*values)
    if node.kind == "mod":
        return values[0] - values[1] * fmpq((values[0] / values[1]).floor()) if values[1] else None
    if any(int(value.q) != 1 for value in values) and node.text not in ("gcd", "lcm", "abs"):
        return None
    if node.kind == "factorial":
        return fmpq(factorial(int(total.p))) if 0 <= total <= _LARGEST_EXACT_FACTORIAL else None
    if node.kind == "binomial":
        above, below = int(values[0].p), int(values[1].p)
        return fmpq(comb(above, below)) if 0 <= below <= above <= _LARGEST_EXACT_FACTORIAL else None
    if node.text in ("gcd", "lcm"):
        return common_of(node.text, values)
    return abs(total) if node.text == "abs" and len(values) == 1 else None


def _exact_power(base: fmpq, exponent: fmpq) -> fmpq | None:
    if int(exponent.q) != 1 or (base == 0 and exponent <= 0):
        return None
    bits = max(int(base.p).bit_length(), int(base.q).bit_length())
    if abs(base) != 1 and bits * abs(int(exponent.p)) > _EXACT_BITS:
        return None
    power = int(exponent.p)
    if abs(base) == 1:
        return fmpq(1) if power % 2 == 0 else base
    return base**power


def rational(digits: str) -> fmpq:
    fraction = Fraction(digits) if "e" not in digits.lower() else _scientific(digits.lower())
    return fmpq(fraction.numerator, fraction.denominator)


def _scientific(digits: str) -> Fraction:
    mantissa, _, exponent = digits.partition("e")
    if len(exponent) > 5 or abs(int(exponent)) > _EXACT_BITS // 4:
        raise Undefined("a number too large to compute")
    return Fraction(mantissa) * Fraction(10) ** int(exponent)


def common_of(name: str, values: list[fmpq]) -> fmpq:
    tops, bottoms = [abs(int(v.p)) for v in values], [int(v.q) for v in values]
    if name == "gcd":
        return fmpq(gcd(*tops), lcm(*bottoms))
    return fmpq(lcm(*tops), gcd(*bottoms))
