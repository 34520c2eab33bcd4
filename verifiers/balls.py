"""Evaluates trees in ball arithmetic: a number with a bound on its error, by python-flint's Arb.

Goes in: a tree (`latex`) and values for its variables. Comes out: a ball that holds the true value, or Undefined.
`Reals` knows real values only, `Complexes` the principal branch and matrices. Nothing here can run long: powers
are bounded, and the time of an operation depends on the precision alone. Method: F. Johansson, "Arb: efficient
arbitrary-precision midpoint-radius interval arithmetic", IEEE Transactions on Computers, 2017.
"""

from collections.abc import Callable, Sequence
from typing import Any

from flint import acb, acb_mat, arb, fmpq, fmpz

from mixdistill.records import digest
from mixdistill.verifiers.exact import Point, Undefined, common_of, exact_at, exact_value, rational
from mixdistill.verifiers.latex import Node
from mixdistill.verifiers.trees import canonical, free_names

# A real or complex ball, or a matrix of complex ones; operators between them are the library's own.
Ball = Any

# Exponents beyond this make numbers whose size alone fills memory.
_LARGEST_EXPONENT_BITS = 64
_MOST_SUMMANDS = 2_000


class Field:
    """Values of trees at one point; `span` is the largest size in bits of any number on the way."""

    unit: type[arb] | type[acb] = arb

    def __init__(self, point: Point) -> None:
        self._point = point
        self._bound: dict[str, Ball] = {}
        self.span = 0

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
        size = ball.abs_upper() if isinstance(ball, arb) else abs(ball).abs_upper()
        if size == 0:
            return
        mantissa, exponent = size.mid().man_exp()
        bits = int(exponent) + int(mantissa).bit_length()
        if abs(bits) > self.span:
            self.span = abs(bits)

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

    def power(self, base: Ball, exponent: Ball, rational: fmpq | None) -> Ball:
        """The power by the rules of the field; `rational` is the exponent, where it is a fraction."""
        raise NotImplementedError

    def call(self, name: str, arguments: list[Ball]) -> Ball:
        """The value of a known function."""
        function = _FUNCTIONS.get(name)
        if function is None or any(isinstance(argument, acb_mat) for argument in arguments):
            raise Undefined(f"{name} is not evaluated")
        return function(*arguments)

    def with_bound(self, name: str, value: Ball, body: Node) -> Ball:
        """The value of the body where the name has this value."""
        outer = self._bound.get(name)
        self._bound[name] = value
        try:
            return self.value(body)
        finally:
            if outer is None:
                del self._bound[name]
            else:
                self._bound[name] = outer

    def exact(self, node: Node) -> fmpq | None:
        """The fraction that a tree is, where its bound variables are not in it."""
        return exact_value(node) if not self._point or not free_names(node) else exact_at(node, self._point)


class Reals(Field):
    """Real values only: what is not real has none, and an odd root of a negative number is negative."""

    unit = arb

    def power(self, base: Ball, exponent: Ball, rational: fmpq | None) -> Ball:
        if not isinstance(base, arb) or not isinstance(exponent, arb):
            raise Undefined("a matrix")
        if rational is not None and int(rational.q) == 1:
            if base.contains(0) and int(rational.p) <= 0:
                raise Undefined("a power of zero")
            return base ** fmpz(int(rational.p))
        if base > 0 or (base >= 0 and exponent > 0):
            return base**exponent
        if base < 0 and rational is not None and int(rational.q) % 2:
            root = (-base) ** exponent
            return -root if int(rational.p) % 2 else root
        raise Undefined("a root of a negative number")


class Complexes(Field):
    """Complex values on the principal branch; matrices, too."""

    unit = acb

    def power(self, base: Ball, exponent: Ball, rational: fmpq | None) -> Ball:
        whole = rational is not None and int(rational.q) == 1
        if isinstance(base, acb_mat):
            if not whole or rational is None or abs(int(rational.p)) > 64 or base.nrows() != base.ncols():
                raise Undefined("this power of a matrix")
            return base ** int(rational.p) if rational > 0 else base.inv() ** -int(rational.p)
        if whole and rational is not None:
            if base.contains(0) and int(rational.p) <= 0:
                raise Undefined("a power of zero")
            return base ** fmpz(int(rational.p))
        if base.contains(0):
            raise Undefined("a power of zero")
        return base**exponent


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
        total = (
            factor * total if isinstance(factor, acb_mat) and not isinstance(total, acb_mat) else total * factor
        )
    return total


def _raise(field: Field, node: Node) -> Ball:
    base, exponent = node.operands
    rational = field.exact(exponent)
    above = field.value(exponent) if rational is None else field.unit(rational)
    if (
        rational is not None
        and max(int(rational.p).bit_length(), int(rational.q).bit_length()) > _LARGEST_EXPONENT_BITS
    ):
        raise Undefined("a power too large to compute")
    below = field.value(base)
    if not isinstance(above, acb_mat) and abs(above).abs_upper() > arb(2) ** _LARGEST_EXPONENT_BITS:
        raise Undefined("a power too large to compute")
    return field.power(below, above, rational)


def _call(field: Field, node: Node) -> Ball:
    if node.text == "det":
        matrix = field.value(node.operands[0])
        if not isinstance(matrix, acb_mat):
            raise Undefined("the determinant of a number")
        return matrix.det()
    if node.text in ("gcd", "lcm"):
        return _common(field, node)
    return field.call(node.text, [field.value(operand) for operand in node.operands])


def _common(field: Field, node: Node) -> Ball:
    values = [field.exact(operand) for operand in node.operands]
    if any(free_names(operand) for operand in node.operands) or None in values:
        return _unknown(field, node)
    return field.unit(common_of(node.text, [v for v in values if v is not None]))


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
    start, end = field.exact(lower), field.exact(upper)
    if start is None or end is None or int(start.q) * int(end.q) != 1 or end - start >= _MOST_SUMMANDS:
        return _unknown(field, node)
    adding = node.kind == "addition"
    total: Ball = field.unit(0 if adding else 1)
    for step in range(int(start.p), int(end.p) + 1):
        value = field.with_bound(variable.text, field.unit(step), body)
        total = total + value if adding else total * value
    return total


def _unknown(field: Field, node: Node) -> Ball:
    if field._bound:
        raise Undefined("an integral inside of a sum")
    return field.unit(_random(repr(canonical(node))))


_EVALUATE: dict[str, Callable[[Field, Node], Ball]] = {
    "sum": _sum, "product": _multiply, "power": _raise, "call": _call, "factorial": _factorial,
    "binomial": _binomial, "mod": _modulo, "matrix": _matrix, "apply": _apply, "addition": _repeat,
    "multiplication": _repeat, "integral": _unknown, "limit": _unknown, "derivative": _unknown,
}  # fmt: skip
UNEVALUATED = frozenset({"addition", "multiplication", "integral", "limit", "derivative", "gcd", "lcm"})


def _inverse_of(name: str) -> Callable[[Ball], Ball]:
    return lambda x: getattr(1 / x, name)()


# Written out, so that no name from a text ever becomes an attribute.
_FUNCTIONS: dict[str, Callable[..., Ball]] = {
    "sin": lambda x: x.sin(), "cos": lambda x: x.cos(), "tan": lambda x: x.tan(), "cot": lambda x: x.cot(),
    "sec": lambda x: x.sec(), "csc": lambda x: x.csc(), "asin": lambda x: x.asin(), "acos": lambda x: x.acos(),
    "atan": lambda x: x.atan(), "acot": _inverse_of("atan"), "asec": _inverse_of("acos"),
    "acsc": _inverse_of("asin"), "sinh": lambda x: x.sinh(), "cosh": lambda x: x.cosh(),
    "tanh": lambda x: x.tanh(), "coth": lambda x: x.coth(), "sech": lambda x: x.sech(),
    "csch": lambda x: x.csch(), "asinh": lambda x: x.asinh(), "acosh": lambda x: x.acosh(),
    "atanh": lambda x: x.atanh(), "acoth": _inverse_of("atanh"), "asech": _inverse_of("acosh"),
    "acsch": _inverse_of("asinh"), "exp": lambda x: _exponential(x), "ln": lambda x: x.log(),
    "log": lambda x, base=None: x.log() if base is None else x.log() / base.log(),
    "log10": lambda x: x.log() / arb(10).log(), "log2": lambda x: x.log() / arb(2).log(),
    "sqrt": lambda x: x.sqrt(), "cbrt": lambda x: _cube_root(x), "abs": lambda x: abs(x),
    "floor": lambda x: _real(x).floor(), "ceil": lambda x: _real(x).ceil(), "sgn": lambda x: x.sgn(),
    "max": lambda *x: _extreme(x, 1), "min": lambda *x: _extreme(x, -1), "conj": lambda x: acb(x).conjugate(),
    "re": lambda x: acb(acb(x).real), "im": lambda x: acb(acb(x).imag), "arg": lambda x: acb(x).arg(),
}  # fmt: skip


def _exponential(x: arb | acb) -> Ball:
    if abs(x).abs_upper() > arb(2) ** _LARGEST_EXPONENT_BITS:
        raise Undefined("a power too large to compute")
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
