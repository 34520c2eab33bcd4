r"""How much an answer may differ from the reference in its digits and units, by a named setting.

Goes in: two sides and `strict`, `default` or `lenient`. Comes out: whether a difference of spelling is let pass.

| rule | strict | default | lenient |
|---|---|---|---|
| decimal for a fraction that it equals, 0.5 for 1/2 | yes | yes | yes |
| reference `1/3` or `\pi`, answer a decimal with its digits | no | ten digits or more | three or more |
| reference a decimal, answer an exact value that rounds to it | no | three digits or more | two or more |
| reference a decimal, answer a longer decimal that rounds to it | no | no | three digits or more |
| a unit on one side only; `x =` on one side only | no | yes | yes |
| a list in another order; 2, 1 for 1, 2 (never a tuple, always a set) | no | yes | yes |
| arithmetic left to do: 2/4 or 1 - 1/2 for 1/2, \sqrt{8} for 2\sqrt{2} | no | yes | yes |
| another unit for the same length, weight, time: 1 m for 100 cm | no | yes | yes |
| units that contradict one another | no | no | no |
| 50 for 50% | no | no | yes |

A whole number is never a rounding: 101 is not 100, and 100 is not 99.99, in any setting.
"""

import re
from fractions import Fraction
from math import gcd
from typing import NamedTuple

from flint import fmpq, fmpz

from mixdistill.records import Leniency
from mixdistill.verifiers.equality import Equality, decided
from mixdistill.verifiers.exact import exact_value
from mixdistill.verifiers.latex import parse
from mixdistill.verifiers.nodes import Node
from mixdistill.verifiers.quantities import MAYBE_PERCENT, Quantity, quantity
from mixdistill.verifiers.tokens import Unreadable
from mixdistill.verifiers.units import unit_factor, units_differ
from mixdistill.verifiers.values import number_value

# Significant digits that a rounded decimal must state: where it is the answer, the reference, or both.
_DIGITS: dict[str, tuple[int, int, int]] = {"default": (10, 3, 99), "lenient": (3, 2, 3)}
_FRACTION = re.compile(r"\\frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))|(\d+)\s*/\s*(\d+)")
_POWER = (
    r"(?:\s?(?:\\times|\\cdot|\*)\s?10\s?\^\s?(?:\{\s?([+-]?\d{1,3})\s?\}|([+-]?\d{1,3}))|[eE]([+-]?\d{1,3}))?"
)
_DECIMAL = re.compile(rf"([+-]?)(\d*)\.(\d+){_POWER}")


class _Decimal(NamedTuple):
    value: Fraction
    places: int
    "Of its last digit: 2 for 0.25, -3 for 1.5e4."
    significant: int


def compare_quantities(
    wanted: Quantity, stated: Quantity, reference: str, answer: str, leniency: Leniency
) -> Equality:
    """Equality of two exact numbers with units."""
    if MAYBE_PERCENT in (wanted.unit, stated.unit):
        return _compare_percents(wanted, stated)
    factor, other_factor = unit_factor(wanted.unit), unit_factor(stated.unit)
    convertible = factor is not None and other_factor is not None and factor.measures == other_factor.measures
    if units_differ(wanted.unit, stated.unit) and (leniency == "strict" or not convertible):
        return Equality("incorrect", "unit", f"the units {wanted.unit} and {stated.unit} differ")
    if leniency == "strict" and bool(wanted.unit) != bool(stated.unit):
        return Equality("incorrect", "unit", f"a unit ({wanted.unit or stated.unit}) stands on one side only")
    number, other = wanted.number, stated.number
    if convertible and factor is not None and other_factor is not None:
        number, other = number * factor.factor, other * other_factor.factor
    if number == other:
        return Equality("correct", "number", "the numbers are equal")
    if leniency == "lenient" and ("%" in reference) != ("%" in answer) and number in (100 * other, other / 100):
        return Equality("correct", "number", "the numbers are equal but for the percent sign")
    if _rounds(_decimal(reference), _decimal(answer), wanted.number, stated.number, leniency):
        return Equality("correct", "rounding", "one is the other, rounded to the digits that it states")
    return Equality("incorrect", "number", "the numbers differ")


def _compare_percents(wanted: Quantity, stated: Quantity) -> Equality:
    """Equality of two numbers, of which one or both may be meant as percents."""
    meant = {q.number / part for q in (wanted,) for part in ((1, 100) if q.unit == MAYBE_PERCENT else (1,))}
    same = meant & {stated.number / part for part in ((1, 100) if stated.unit == MAYBE_PERCENT else (1,))}
    return decided(bool(same), "number", "the numbers are equal, as percents or without", "the numbers differ")


def is_rounding_of(reference: str, answer: str, first: Node, second: Node, leniency: Leniency) -> bool:
    """Whether one side is a decimal, and the other an exact value that rounds to it."""
    decimal, other = _decimal(reference), _decimal(answer)
    if leniency == "strict" or (decimal is None) == (other is None):
        return False
    exact = number_value(second if decimal is not None else first)
    if exact is None:
        return False
    mantissa, exponent = exact.mid().man_exp()
    if abs(int(exponent)) > 10_000:
        return False
    value = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return _rounds(decimal, other, value, value, leniency)


def is_simplified(text: str) -> bool:
    """Whether no arithmetic is left to do in a tidy text: no fraction to reduce, no numbers to add or multiply."""
    if quantity(text) is not None:
        fraction = _FRACTION.search(text)
        return fraction is None or gcd(*(int(n) for n in fraction.groups() if n)) == 1
    try:
        return not _has_work_left(parse(text))
    except Unreadable:
        return True


def _has_work_left(node: Node) -> bool:
    values = [exact_value(operand) for operand in node.operands]
    numbers = [value for value in values if value is not None]
    if node.kind == "sum" and len(numbers) > 1:
        return True
    if node.kind == "product":
        whole = [abs(value) for value in numbers if value.q == 1 and abs(value) != 1]
        parts = [value.q for value in numbers if value.q != 1]
        if len(whole) > 1 or len(parts) > 1 or any(gcd(int(w.p), int(q)) != 1 for w in whole for q in parts):
            return True
    if node.kind == "power" and len(numbers) == 2:
        base, exponent = numbers
        return (exponent.q == 1 and exponent != -1) or _has_root(base, int(exponent.q))
    return any(map(_has_work_left, node.operands))


def _has_root(base: fmpq, degree: int) -> bool:
    """Whether a factor can be taken out of a root of a number."""
    small = max(abs(int(base.p)), int(base.q)) < 10**12
    return degree > 1 and small and any(e >= degree for n in (base.p, base.q) for _, e in abs(fmpz(n)).factor())


def _rounds(
    decimal: _Decimal | None, other: _Decimal | None, number: Fraction, stated: Fraction, leniency: Leniency
) -> bool:
    if leniency == "strict":
        return False
    in_answer, in_reference, in_both = _DIGITS[leniency]
    if decimal is None and other is not None:
        return other.significant >= in_answer and not _terminates(number) and _is_near(other, number)
    if decimal is not None and other is None:
        return decimal.significant >= in_reference and not _terminates(stated) and _is_near(decimal, stated)
    if decimal is not None and other is not None:
        return in_both <= decimal.significant < other.significant and _is_near(decimal, stated)
    return False


def _is_near(decimal: _Decimal, exact: Fraction) -> bool:
    """Whether the value rounds to the decimal, or is cut to it where that states many digits."""
    gap = abs(exact - decimal.value) * Fraction(10) ** decimal.places
    return gap <= Fraction(1, 2) or (decimal.significant >= 10 and gap < 1)


def _terminates(number: Fraction) -> bool:
    """Whether the number has a short finite decimal, so that nobody needs to round it."""
    denominator = number.denominator
    for prime in (2, 5):
        while denominator % prime == 0 and denominator > 1:
            denominator //= prime
    return denominator == 1 and number.denominator < 10**12


def _decimal(text: str) -> _Decimal | None:
    match = _DECIMAL.fullmatch(text.strip().rstrip("%").strip())
    if match is None:
        return None
    sign, whole, part, *powers = match.groups()
    power = int(next((p for p in powers if p), 0))
    value = Fraction(f"{sign}{whole or 0}.{part}") * Fraction(10) ** power
    return _Decimal(value, len(part) - power, len((whole + part).lstrip("0")))
