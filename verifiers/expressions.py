"""Compares by SymPy what `values` leaves open: integrals, limits, derivatives, sums without end or by a letter.

Goes in: two trees. SymPy looks for closed forms, which may hold functions that only it knows (erf, zeta). Equality
is then decided in three steps: the same expression; different values at some point, which is evidence against; a
proof by simplification, or else the same values to 80 digits at all points. Sizes are limited before SymPy sees
them. This module imports SymPy and belongs in a worker process: some expressions take longer than anybody waits.
"""

import random
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import sympy as sp

from mixdistill.verifiers.exact import exact_value
from mixdistill.verifiers.nodes import Node
from mixdistill.verifiers.tokens import Unreadable
from mixdistill.verifiers.trees import is_indexed

# Digits that both sides are computed to, and the relative difference below which they count as the same.
# The margin is wide because e^(pi sqrt(163)) is within 10^-30 of an integer.
_DIGITS = 100
_TOLERANCE = sp.Float(10) ** -80
# Numbers outside of this range can hide a difference behind their size, so values prove nothing about them.
_SMALLEST, _LARGEST = sp.Float(10) ** -30, sp.Float(10) ** 30
# Points near and far on both sides of zero, so that |x - 5| and 5 - x, or sqrt(x^2) and x, come apart.
_SCALES_AND_SIGNS = (
    (1, (1,)),
    (1, (-1,)),
    (1, (1, -1)),
    (10, (1, -1)),
    (10, (1, -1)),
    (100, (1, -1)),
    (100, (-1,)),
)
_SEED = 20240214
# Functions that are equal to others in places only: values prove nothing about them.
_PIECEWISE = (sp.Abs, sp.floor, sp.ceiling, sp.Max, sp.Min)
_MOST_BITS = 30_000
_LARGEST_FACTORIAL = 3_000
_LARGEST_EXPONENT = 1_000_000
_MOST_OPERATIONS_TO_SIMPLIFY = 60
_MOST_TERMS, _HIGHEST_SUMMED_POWER = 2_000, 100

Verdict = Literal["equal", "different", "undecided"]
# SymPy has no types; an expression of it is Any, here and nowhere else.
Expression = Any


class Comparison(NamedTuple):
    """Whether two expressions are equal, and what decided."""

    verdict: Verdict
    method: str
    "symbolic, number or numeric"


def equal(first: Expression, second: Expression) -> Comparison:
    """Whether two expressions are equal wherever both have a value."""
    if first == second:
        return Comparison("equal", "symbolic")
    if first.is_Rational and second.is_Rational:
        return Comparison("different", "number")
    if (first.is_infinite or second.is_infinite) and first.is_number and second.is_number:
        return Comparison("different", "symbolic")
    all_finite = True
    for point in _points(first, second):
        value, other = _value(first, point), _value(second, point)
        if value is None or other is None:
            all_finite = False
        elif _values_differ(value, other):
            return Comparison("different", "numeric")
    if _difference_vanishes(first, second):
        return Comparison("equal", "symbolic")
    if all_finite and first.free_symbols == second.free_symbols and _values_tell(first - second):
        return Comparison("equal", "numeric")
    return Comparison("undecided", "symbolic")


def build(node: Node) -> Expression:
    """The SymPy expression of a tree; raises Unreadable where it would be too large or has no value."""
    if node.kind == "number":
        number = exact_value(node)
        return sp.Rational(int(number.p), int(number.q)) if number is not None else sp.nan
    if node.kind == "symbol":
        return sp.Symbol(node.text)
    if node.kind == "constant":
        return _CONSTANTS[node.text]
    operands = [build(operand) for operand in node.operands]
    if node.kind == "call":
        built = _call(node.text, operands)
    elif node.kind == "apply":
        built = sp.Function(node.text)(*operands)
    elif node.kind in _OPERATIONS:
        built = _OPERATIONS[node.kind](operands)
    elif node.kind == "limit":
        if any(is_indexed(symbol.name, operands[1].name) for symbol in operands[0].free_symbols):
            raise Unreadable("a limit over indices is not computed")
        built = sp.limit(*operands, node.text)
    elif node.kind == "derivative":
        if not operands[0].has(operands[1]) and not operands[0].is_number:
            raise Unreadable("a derivative of what may depend on its variable is not computed")
        built = sp.diff(*operands, int(node.text))
    else:
        raise Unreadable(f"a {node.kind} is not computed by algebra")
    if built.has(sp.zoo, sp.nan):
        raise Unreadable("it has no value, for instance a division by zero")
    return built


_CONSTANTS = {"pi": sp.pi, "e": sp.E, "i": sp.I, "oo": sp.oo, "degree": sp.pi / 180}


def _power(operands: list[Expression]) -> Expression:
    base, exponent = operands
    if base.is_Rational and exponent.is_Rational:
        bits = max(abs(base.p).bit_length(), base.q.bit_length())
        too_large = max(abs(base.p), base.q) > 1 and (bits * abs(exponent) > _MOST_BITS or exponent.q > 1_000)
    elif exponent.is_Rational:
        too_large = max(abs(exponent.p), exponent.q) > _LARGEST_EXPONENT
    else:
        too_large = exponent.is_number and _magnitude(exponent) > _LARGEST_FACTORIAL
    if too_large:
        raise Unreadable("a power in it is too large to compute")
    return sp.Pow(base, exponent)


def _factorial(operands: list[Expression]) -> Expression:
    (argument,) = operands
    if argument.is_number and not (argument.is_Integer and 0 <= argument <= _LARGEST_FACTORIAL):
        raise Unreadable(f"a factorial in it is not one of 0 to {_LARGEST_FACTORIAL}")
    return sp.factorial(argument)


def _binomial(operands: list[Expression]) -> Expression:
    above, below = operands
    if any(o.is_number and not (o.is_Integer and 0 <= o <= _LARGEST_FACTORIAL) for o in operands):
        raise Unreadable(f"a binomial in it is not of numbers from 0 to {_LARGEST_FACTORIAL}")
    return sp.binomial(above, below)


_OPERATIONS: dict[str, Callable[[list[Expression]], Expression]] = {
    "sum": lambda operands: sp.Add(*operands),
    "product": lambda operands: sp.Mul(*operands),
    "power": _power,
    "factorial": _factorial,
    "binomial": _binomial,
    "mod": lambda operands: sp.Mod(*operands),
    "addition": lambda operands: _repeated(sp.Sum, operands),
    "multiplication": lambda operands: _repeated(sp.Product, operands),
    "integral": lambda operands: sp.Integral(
        operands[0], tuple(operands[1:]) if len(operands) > 2 else operands[1]
    ).doit(),
}


def _repeated(operator: Callable[..., Expression], operands: list[Expression]) -> Expression:
    """The closed form of a sum or product; raises Unreadable where SymPy would try its terms one by one."""
    body, variable, lower, upper = operands
    if any(is_indexed(symbol.name, variable.name) for symbol in body.free_symbols):
        raise Unreadable("a sum or product over indices is not computed")
    for power in body.atoms(sp.Pow):
        if power.base.has(variable) and power.exp.has(variable):
            raise Unreadable("a sum or product of towers of its variable is not computed")
        if power.base.has(variable) and power.exp.is_number and abs(power.exp) > _HIGHEST_SUMMED_POWER:
            raise Unreadable(f"a sum or product of powers above {_HIGHEST_SUMMED_POWER} is not computed")
    n_terms = upper - lower
    if n_terms.is_Integer and n_terms > _MOST_TERMS and not body.is_polynomial(variable):
        raise Unreadable(f"a sum or product of more than {_MOST_TERMS} terms is not computed")
    if n_terms.is_Integer and n_terms > _MOST_TERMS and operator is sp.Product:
        raise Unreadable(f"a product of more than {_MOST_TERMS} terms is not computed")
    return operator(body, (variable, lower, upper)).doit()


# Name -> number of arguments and what to call; `\log` without a base is natural, as in most of the corpora.
_FUNCTIONS: dict[str, tuple[int, Callable[..., Expression]]] = {
    **{name: (1, function) for name, function in [
        ("sin", sp.sin), ("cos", sp.cos), ("tan", sp.tan), ("cot", sp.cot), ("sec", sp.sec), ("csc", sp.csc),
        ("asin", sp.asin), ("acos", sp.acos), ("atan", sp.atan), ("acot", sp.acot), ("asec", sp.asec),
        ("acsc", sp.acsc), ("sinh", sp.sinh), ("cosh", sp.cosh), ("tanh", sp.tanh), ("coth", sp.coth),
        ("sech", sp.sech), ("csch", sp.csch), ("asinh", sp.asinh), ("acosh", sp.acosh), ("atanh", sp.atanh),
        ("acoth", sp.acoth), ("asech", sp.asech), ("acsch", sp.acsch), ("sgn", sp.sign),
        ("re", sp.re), ("im", sp.im),
        ("conj", sp.conjugate), ("arg", sp.arg), ("log10", lambda x: sp.log(x, 10)),
        ("log2", lambda x: sp.log(x, 2)),
        ("abs", sp.Abs), ("floor", sp.floor), ("ceil", sp.ceiling), ("sqrt", sp.sqrt), ("cbrt", sp.cbrt),
        ("ln", sp.log), ("log", sp.log), ("Gamma", sp.gamma), ("zeta", sp.zeta),
    ]},
    "max": (0, sp.Max), "min": (0, sp.Min), "gcd": (0, lambda *o: sp.gcd(list(o))),
    "lcm": (0, lambda *o: sp.lcm(list(o))),
}  # fmt: skip


def _call(name: str, operands: list[Expression]) -> Expression:
    if name == "exp" and len(operands) == 1:
        return _power([sp.E, operands[0]])
    if name == "log" and len(operands) == 2:
        return sp.log(operands[0]) / sp.log(operands[1])
    if name not in _FUNCTIONS or _FUNCTIONS[name][0] not in (0, len(operands)):
        raise Unreadable(f"{name} of {len(operands)} arguments is not known")
    if name in ("gcd", "lcm") and _are_whole(operands):  # SymPy would take letters for polynomials
        raise Unreadable(f"a {name} of letters that are whole numbers is not computed by algebra")
    function = _FUNCTIONS[name][1]
    if name in ("max", "min") and any(o.is_number and not o.is_extended_real for o in operands):
        raise Unreadable(f"{name} of a complex number is not known")
    return function(*operands)


def _are_whole(operands: list[Expression]) -> bool:
    """Whether some of them hold letters, and all are whole numbers where these are."""
    values = [operand.xreplace(dict.fromkeys(operand.free_symbols, sp.Integer(2))) for operand in operands]
    return any(o.free_symbols for o in operands) and all(value.is_Integer for value in values)


def _points(first: Expression, second: Expression) -> list[dict[Expression, Expression]]:
    """Values for all symbols, the same in every run; one empty point where there are no symbols."""
    symbols = sorted(first.free_symbols | second.free_symbols, key=lambda symbol: symbol.name)
    if not symbols:
        return [{}]
    draw = random.Random(_SEED)
    # Logarithms are compared where they are real: log(x/y) is log x - log y for everybody who writes it.
    positive = (first.has(sp.log) or second.has(sp.log)) and not (first.has(sp.Abs) or second.has(sp.Abs))
    return [
        {
            symbol: sp.Rational(scale * draw.randint(301, 2_999), 1_000) * (1 if positive else draw.choice(signs))
            for symbol in symbols
        }
        for scale, signs in _SCALES_AND_SIGNS
    ]


def _value(expression: Expression, point: dict[Expression, Expression]) -> Expression | None:
    """The complex value to 100 digits; None if it is not finite or cannot be computed."""
    try:
        value = sp.N(expression.xreplace(point), _DIGITS)
    except (ArithmeticError, ValueError):  # too large for mpmath, or not defined there
        return None
    parts = value.as_real_imag() if value.is_number else (sp.nan,)
    return value if all(part.is_Float or part.is_Rational for part in parts) else None


def _values_differ(first: Expression, second: Expression) -> bool:
    scale = max(_magnitude(first), _magnitude(second))
    if scale < _SMALLEST:
        return False
    return bool(_magnitude(first - second) > scale * _TOLERANCE)


def _magnitude(value: Expression) -> Expression:
    return sp.N(sp.Abs(value), _DIGITS)


def _difference_vanishes(first: Expression, second: Expression) -> bool:
    difference = first - second
    if sp.expand(difference) == 0:
        return True
    is_short = sp.count_ops(difference) <= _MOST_OPERATIONS_TO_SIMPLIFY
    return bool(is_short and sp.simplify(difference) == 0)


def _values_tell(expression: Expression) -> bool:
    """Whether equal values are evidence: no piecewise function, no number that hides digits by its size."""
    if expression.free_symbols and expression.has(*_PIECEWISE):
        return False
    numbers = (part for part in sp.preorder_traversal(expression) if part.is_number and part != 0)
    return all(_SMALLEST < _magnitude(number) < _LARGEST for number in numbers)
