"""Evaluates trees in ball arithmetic: a number with a bound on its error, by python-flint's Arb.

Goes in: a tree (`latex`) and values for its variables. Comes out: a ball that holds the true value, or Undefined.
Nothing here can run long: powers
are bounded, and the time of an operation depends on the precision alone. Method: F. Johansson, "Arb: efficient
arbitrary-precision midpoint-radius interval arithmetic", IEEE Transactions on Computers, 2017.
"""

from collections.abc import Callable, Sequence
from typing import Any

from flint import acb, acb_mat, arb, fmpq, fmpz

from mixdistill.records import digest
from mixdistill.verifiers.exact import Point, Undefined, common_of, exact_at, rational
from mixdistill.verifiers.nodes import Node
from mixdistill.verifiers.trees import canonical, free_names, is_indexed

# A real or complex ball, or a matrix of complex ones; operators between them are the library's own.
Ball = Any

# Exponents beyond this make numbers whose size alone fills memory.
_LARGEST_EXPONENT_BITS = 64
_MOST_SUMMANDS = 2_000
_HIGHEST_MATRIX_POWER = 64


class Field:
    """Values of trees at one point: real ones (`arb`), or complex ones on the principal branch (`acb`).

    Among real values, what is not real has none, and an odd root of a negative number is negative. Matrices are
    complex. `span` is the largest size in bits of any number on the way.
    """

    def __init__(self, unit: type[arb] | type[acb], point: Point) -> None:
        self.unit = unit
        self.span = 0
        self._point = point
        self._bound: dict[str, Ball] = {}

    def value(self, node: Node) -> Ball:
        """The ball that holds the value; raises Undefined."""
        kind = node.kind
        if kind == "number":
            ball: Ball = self.unit(rational(node.text))
        elif kind == "symbol":
            ball = self._bound[node.text] if node.text in self._bound else self.unit(self._point[node.text])
        elif kind == "constant":
            ball = self._constant(node.text)
        else:
            try:
                ball = _EVALUATE[kind](self, node)
            except (ValueError, TypeError, OverflowError, ZeroDivisionError) as error:
                raise Undefined(f"{kind} has no value here") from error
            if isinstance(ball, arb) and self.unit is acb:
                ball = acb(ball)
        if kind in ("number", "power", "factorial", "call", "product") and not isinstance(ball, acb_mat):
            self._measure(ball)
        return ball

    def _measure(self, ball: arb | acb) -> None:
        if not ball.is_finite():
            raise Undefined("not finite")
        size = abs(ball).abs_upper()
        if size == 0:
            return
        mantissa, exponent = size.mid().man_exp()
        self.span = max(self.span, abs(int(exponent) + int(mantissa).bit_length()))

    def _constant(self, name: str) -> Ball:
        if name == "pi":
            return self.unit(arb.pi())
        if name == "e":
            return self.unit(arb(1).exp())
        if name == "degree":
            return self.unit(arb.pi() / 180)
        if name == "i" and self.unit is acb:
            return acb(0, 1)
        raise Undefined(f"{name} is no number")

    def with_bound(self, name: str, value: Ball, body: Node) -> Ball:
        """The value of the body where the name has this value."""
        outer = self._bound, self._point
        self._bound = self._bound | {name: value}
        self._point = {other: at for other, at in self._point.items() if other != name}
        try:
            return self.value(body)
        finally:
            self._bound, self._point = outer

    def unknown(self, node: Node) -> Ball:
        """A number that hangs on nothing but how the node is written."""
        if self._bound:
            raise Undefined("an integral inside of a sum")
        return self.unit(_random(repr(canonical(node))))

    def exact(self, node: Node) -> fmpq | None:
        """The fraction that a tree is at this point; None where a bound variable stands in it."""
        return exact_at(node, self._point)


def _sum(field: Field, node: Node) -> Ball:
    total = field.value(node.operands[0])
    for operand in node.operands[1:]:
        total = total + field.value(operand)
    return total


def _multiply(field: Field, node: Node) -> Ball:
    total = field.value(node.operands[0])
    for operand in node.operands[1:]:
        factor = field.value(operand)
        # A matrix stands left of a number in this library, and a vector of one row or column is no number.
        scales = isinstance(factor, acb_mat) and not isinstance(total, acb_mat)
        total = factor * total if scales else total * factor
    return total


def _raise(field: Field, node: Node) -> Ball:
    base, exponent = node.operands
    rational = field.exact(exponent)
    above = field.value(exponent) if rational is None else field.unit(rational)
    if rational is not None and max(map(_bits, (rational.p, rational.q))) > _LARGEST_EXPONENT_BITS:
        raise Undefined("a power too large to compute")
    below = field.value(base)
    if isinstance(above, acb_mat):
        raise Undefined("a power of a matrix")
    _check_exponent(above)
    whole = int(rational.p) if rational is not None and rational.q == 1 else None
    if isinstance(below, acb_mat):
        return _matrix_power(below, whole)
    if whole is not None and (whole > 0 or not below.contains(0)):
        return below ** fmpz(whole)
    if isinstance(below, arb) and isinstance(above, arb):
        return _real_power(below, above, rational)
    if below.contains(0):
        raise Undefined("a power of zero")
    return below**above


def _bits(number: fmpz) -> int:
    return int(number).bit_length()


def _check_exponent(exponent: arb | acb) -> None:
    if abs(exponent).abs_upper() > arb(2) ** _LARGEST_EXPONENT_BITS:
        raise Undefined("a power too large to compute")


def _real_power(base: arb, exponent: arb, rational: fmpq | None) -> arb:
    if base > 0 or (base >= 0 and exponent > 0):
        return base**exponent
    if base < 0 and rational is not None and int(rational.q) % 2:
        root = (-base) ** exponent
        return -root if int(rational.p) % 2 else root
    raise Undefined("a root of a negative number")


def _matrix_power(base: acb_mat, exponent: int | None) -> acb_mat:
    if exponent is None or abs(exponent) > _HIGHEST_MATRIX_POWER or base.nrows() != base.ncols():
        raise Undefined("this power of a matrix")
    return base**exponent if exponent > 0 else base.inv() ** -exponent


def _call(field: Field, node: Node) -> Ball:
    if node.text == "det":
        matrix = field.value(node.operands[0])
        if not isinstance(matrix, acb_mat):
            raise Undefined("the determinant of a number")
        return matrix.det()
    if node.text in ("gcd", "lcm"):
        return _common(field, node)
    function = _FUNCTIONS.get(node.text)
    arguments = [field.value(operand) for operand in node.operands]
    if function is None or any(isinstance(argument, acb_mat) for argument in arguments):
        raise Undefined(f"{node.text} is not evaluated")
    return function(*arguments)


def _common(field: Field, node: Node) -> Ball:
    values = [field.exact(operand) for operand in node.operands]
    known = [value for value in values if value is not None]
    if len(known) < len(values) or any(value.q != 1 for value in known):
        raise Undefined(f"the {node.text} of what are no whole numbers")
    return field.unit(common_of(node.text, known))


def _factorial(field: Field, node: Node) -> Ball:
    argument = field.value(node.operands[0])
    if isinstance(argument, acb_mat):
        raise Undefined("the factorial of a matrix")
    return (argument + 1).gamma()


def _binomial(field: Field, node: Node) -> Ball:
    above, below = (field.value(operand) for operand in node.operands)
    if isinstance(above, acb_mat) or isinstance(below, acb_mat):
        raise Undefined("a binomial of matrices")
    exact = field.exact(node.operands[1])
    if exact is not None and int(exact.q) == 1 and 0 <= exact <= 500:
        total = field.unit(1)
        for step in range(int(exact.p)):
            total = total * (above - step) / (step + 1)
        return total
    return (above + 1).gamma() * (below + 1).rgamma() * (above - below + 1).rgamma()


def _modulo(field: Field, node: Node) -> Ball:
    exact, modulus = (field.exact(operand) for operand in node.operands)
    if exact is not None and modulus:
        return field.unit(exact - modulus * fmpq((exact / modulus).floor()))
    above, below = (field.value(operand) for operand in node.operands)
    if not isinstance(above, arb) or not isinstance(below, arb):
        raise Undefined("a remainder of complex numbers")
    return above - below * (above / below).floor()


def _matrix(field: Field, node: Node) -> Ball:
    rows, columns = map(int, node.text.split("x"))
    if field.unit is arb:
        raise Undefined("a matrix")
    return acb_mat(rows, columns, [acb(field.value(cell)) for cell in node.operands])


def _apply(field: Field, node: Node) -> Ball:
    """An unknown function, as some smooth one that depends on its name alone."""
    total = field.unit(_random(node.text))
    for place, operand in enumerate(node.operands):
        argument = field.value(operand)
        if isinstance(argument, acb_mat):
            raise Undefined("a function of a matrix")
        total = total + (argument * _random(f"{node.text} {place}") + _random(f"{place} {node.text}")).sin()
    return total


def _repeat(field: Field, node: Node) -> Ball:
    """A sum or product with few terms, computed; any other is an unknown number."""
    body, variable, lower, upper = node.operands
    if any(is_indexed(name, variable.text) for name in free_names(body)):
        return field.unknown(node)
    start, end = field.exact(lower), field.exact(upper)
    if start is None or end is None or int(start.q) * int(end.q) != 1 or end - start >= _MOST_SUMMANDS:
        return field.unknown(node)
    adding = node.kind == "addition"
    total: Ball = field.unit(0 if adding else 1)
    for step in range(int(start.p), int(end.p) + 1):
        value = field.with_bound(variable.text, field.unit(step), body)
        total = total + value if adding else total * value
    return total


_EVALUATE: dict[str, Callable[[Field, Node], Ball]] = {
    "sum": _sum, "product": _multiply, "power": _raise, "call": _call, "factorial": _factorial,
    "binomial": _binomial, "mod": _modulo, "matrix": _matrix, "apply": _apply, "addition": _repeat,
    "multiplication": _repeat, "integral": Field.unknown,
    "limit": Field.unknown, "derivative": Field.unknown,
}  # fmt: skip
UNEVALUATED = frozenset({"addition", "multiplication", "integral", "limit", "derivative"})


# Written out, so that no name from a text ever becomes an attribute.
_FUNCTIONS: dict[str, Callable[..., Ball]] = {
    "sin": lambda x: x.sin(), "cos": lambda x: x.cos(), "tan": lambda x: x.tan(), "cot": lambda x: x.cot(),
    "sec": lambda x: x.sec(), "csc": lambda x: x.csc(), "asin": lambda x: x.asin(), "acos": lambda x: x.acos(),
    "atan": lambda x: x.atan(), "acot": lambda x: (1 / x).atan(), "asec": lambda x: (1 / x).acos(),
    "acsc": lambda x: (1 / x).asin(), "sinh": lambda x: x.sinh(), "cosh": lambda x: x.cosh(),
    "tanh": lambda x: x.tanh(), "coth": lambda x: x.coth(), "sech": lambda x: x.sech(),
    "csch": lambda x: x.csch(), "asinh": lambda x: x.asinh(), "acosh": lambda x: x.acosh(),
    "atanh": lambda x: x.atanh(), "acoth": lambda x: (1 / x).atanh(), "asech": lambda x: (1 / x).acosh(),
    "acsch": lambda x: (1 / x).asinh(), "exp": lambda x: _exponential(x), "ln": lambda x: x.log(),
    "log": lambda x, base=None: x.log() if base is None else x.log() / base.log(),
    "log10": lambda x: x.log() / arb(10).log(), "log2": lambda x: x.log() / arb(2).log(),
    "sqrt": lambda x: x.sqrt(), "cbrt": lambda x: _cube_root(x), "abs": lambda x: abs(x),
    "floor": lambda x: _real(x).floor(), "ceil": lambda x: _real(x).ceil(), "sgn": lambda x: x.sgn(),
    "max": lambda *x: _extreme(x, 1), "min": lambda *x: _extreme(x, -1), "conj": lambda x: acb(x).conjugate(),
    "re": lambda x: acb(acb(x).real), "im": lambda x: acb(acb(x).imag), "arg": lambda x: acb(x).arg(),
    "Gamma": lambda x: x.gamma(), "zeta": lambda x: x.zeta(),
}  # fmt: skip


def _exponential(x: arb | acb) -> Ball:
    _check_exponent(x)
    return x.exp()


def _cube_root(x: Ball) -> Ball:
    if isinstance(x, arb):
        return -((-x).root(3)) if x < 0 else x.root(3)
    return x.root(3)


def _real(x: Ball) -> arb:
    if not isinstance(x, arb):
        raise Undefined("the floor of a complex number")
    return x


def _extreme(values: Sequence[Ball], sign: int) -> Ball:
    best = _real(values[0])
    for value in values[1:]:
        best = best.max(_real(value)) if sign > 0 else best.min(_real(value))
    return best


def _random(name: str) -> fmpq:
    """A number between 1 and 2 that hangs on the name alone."""
    return 1 + fmpq(int(digest(name)[:8], 16), 1 << 32)
