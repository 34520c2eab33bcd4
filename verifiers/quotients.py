"""Writes an expression as a quotient of polynomials, so that an equation can be read without its denominators.

Goes in: a tree (`latex`). Comes out: numerator and denominator without a common factor. What is no sum, product
or whole power, such as a sine or a root, counts as one more variable, the same wherever it is written alike.
Every product is bounded before it is computed.
"""

from typing import NamedTuple

from flint import Ordering, fmpq, fmpq_mpoly, fmpq_mpoly_ctx

from mixdistill.verifiers.exact import Undefined, exact_value, rational
from mixdistill.verifiers.nodes import Node
from mixdistill.verifiers.trees import canonical

# Polynomials with more terms, or of a higher degree, are left to other ways of comparing.
_MOST_TERMS, _HIGHEST_DEGREE, _HIGHEST_POWER = 2_000, 60, 24
_MOST_VARIABLES = 12


class Quotient(NamedTuple):
    """A numerator and a denominator."""

    above: fmpq_mpoly
    below: fmpq_mpoly


def same_roots(first: Node, second: Node) -> bool:
    """Whether two expressions are zero for the same values, because their numerators are equal up to a factor."""
    variables = sorted({repr(one): one for node in (first, second) for one in _variables(node)})
    if not variables or len(variables) > _MOST_VARIABLES:
        return False
    context = fmpq_mpoly_ctx.get([f"v{at}" for at in range(len(variables))], Ordering.lex)
    generators = dict(zip(variables, context.gens(), strict=True))
    one = context.constant(1)
    try:
        above, other = (_quotient(node, generators, one).above for node in (first, second))
    except Undefined:
        return False
    if not above or not other:
        return False
    return bool(above / above.leading_coefficient() == other / other.leading_coefficient())


def _variables(node: Node) -> list[Node]:
    if node.kind == "number":
        return []
    if node.kind in ("sum", "product") or _whole_power(node) is not None:
        operands = node.operands if node.kind != "power" else node.operands[:1]
        return [one for operand in operands for one in _variables(operand)]
    return [canonical(node)]


def _quotient(node: Node, generators: dict[str, fmpq_mpoly], one: fmpq_mpoly) -> Quotient:
    if node.kind == "number":
        return Quotient(one * rational(node.text), one)
    power = _whole_power(node)
    if power is not None:
        above, below = _quotient(node.operands[0], generators, one)
        if power < 0:
            above, below, power = below, above, -power
        total = Quotient(one, one)
        for _ in range(power):
            total = _reduced(_times(total.above, above), _times(total.below, below))
        return total
    if node.kind in ("sum", "product"):
        total = _quotient(node.operands[0], generators, one)
        for operand in node.operands[1:]:
            other = _quotient(operand, generators, one)
            above = (
                _times(total.above, other.below) + _times(other.above, total.below)
                if node.kind == "sum"
                else _times(total.above, other.above)
            )
            total = _reduced(above, _times(total.below, other.below))
        return total
    return Quotient(generators[repr(canonical(node))], one)


def _whole_power(node: Node) -> int | None:
    exponent = exact_value(node.operands[1]) if node.kind == "power" else None
    if exponent is None or exponent != fmpq(int(exponent.p)) or abs(exponent) > _HIGHEST_POWER:
        return None
    return int(exponent.p)


def _times(one: fmpq_mpoly, other: fmpq_mpoly) -> fmpq_mpoly:
    if len(one) * len(other) > _MOST_TERMS or one.total_degree() + other.total_degree() > _HIGHEST_DEGREE:
        raise Undefined("a polynomial too large to compute")
    return one * other


def _reduced(above: fmpq_mpoly, below: fmpq_mpoly) -> Quotient:
    if not below:
        raise Undefined("a division by zero")
    common = above.gcd(below)
    return Quotient(above / common, below / common)
