r"""How much an answer may differ from the reference in digits, units, order and form, by a named setting.

Goes in: two sides and `strict`, `default` or `lenient`. Comes out: whether a difference of spelling is let pass.

| rule | strict | default | lenient |
|---|---|---|---|
| decimal for a fraction that it equals, 0.5 for 1/2; 50% for 0.5; another base, 11_2 for 3 | yes | yes | yes |
| an equation times a number, without its denominators, solved by an inverse function | yes | yes | yes |
| a decimal comma, 1,22 for 1.22; digits without their base, 2413 for 2413_5 | no | yes | yes |
| reference `1/3` or `\pi`, answer a decimal with its digits | no | ten digits or more | three or more |
| reference a decimal, answer an exact value that rounds to it | no | three digits or more | two or more |
| reference a decimal, answer a longer decimal that rounds to it | no | no | three digits or more |
| a unit on one side only; `x =` on one side only | no | yes | yes |
| a list in another order; 2, 1 for 1, 2 (never a tuple, always a set) | no | yes | yes |
| arithmetic left to do: 2/4 or 1 - 1/2 for 1/2, \sqrt{8} for 2\sqrt{2} | no | yes | yes |
| another unit for the same length, weight, money: 1 m for 100 cm | no | yes | yes |
| two nouns that are no units of measurement: 5 apples for 5 oranges | yes | yes | yes |
| units that contradict one another: cm and kg, units^2 and units^3, north and south, % and cm | no | no | no |
| 50 for 50% | no | where the problem asks for a percentage | yes |
| 50 for 50 (%), a percent sign that stands apart | no | yes | yes |
| 50% or 0.5 for 50 (%) | yes | yes | yes |

Digits count as they are written: 16.7% has three, and is 0.167. Rounding looks behind units, money and percent
signs. A whole number is never a rounding: 101 is not 100, and 100 is not 99.99, in any setting.
"""

import re
from fractions import Fraction
from itertools import product
from math import gcd

from flint import fmpq, fmpz

from mixdistill.records import Leniency
from mixdistill.verifiers.equality import Equality
from mixdistill.verifiers.exact import exact_value
from mixdistill.verifiers.latex import parse
from mixdistill.verifiers.nodes import Node
from mixdistill.verifiers.numerals import Digits
from mixdistill.verifiers.quantities import MAYBE_PERCENT, Quantity, quantity
from mixdistill.verifiers.tokens import Unreadable
from mixdistill.verifiers.units import conversion, unit_factor, units_differ
from mixdistill.verifiers.values import number_value

# Significant digits that a rounded decimal must state: where it is the answer, the reference, or both.
_DIGITS: dict[str, tuple[int, int, int]] = {"default": (10, 3, 99), "lenient": (3, 2, 3)}
_FRACTION = re.compile(r"\\frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))|(\d+)\s*/\s*(\d+)")


def compare_quantities(wanted: Quantity, stated: Quantity, leniency: Leniency) -> Equality:
    """Equality of two exact numbers with units."""
    if MAYBE_PERCENT in (wanted.unit, stated.unit):
        return _compare_percents(wanted, stated, leniency)
    ratio = conversion(wanted.unit, stated.unit)
    differ = units_differ(wanted.unit, stated.unit) or _is_percent_of_unit(wanted, stated)
    if differ and (leniency == "strict" or ratio is None or ratio == 1):
        named = [q.unit or "percent" for q in (wanted, stated)]
        return Equality("incorrect", "unit", f"the units {named[0]} and {named[1]} differ")
    if ratio is None and not (wanted.is_certain and stated.is_certain):
        return Equality("incorrect", "numeric", "letters that may be variables stand on one side only")
    if leniency == "strict" and bool(wanted.unit) != bool(stated.unit):
        return Equality("incorrect", "unit", f"a unit ({wanted.unit or stated.unit}) stands on one side only")
    stated = stated.scaled(ratio or Fraction(1))
    number, other = wanted.number, stated.number
    if number == other:
        return Equality("correct", "number", "the numbers are equal")
    if leniency == "lenient" and wanted.is_percent != stated.is_percent and number in (100 * other, other / 100):
        return Equality("correct", "number", "the numbers are equal but for the percent sign")
    if _rounds(wanted, stated, leniency):
        return Equality("correct", "rounding", "one is the other, rounded to the digits that it states")
    return Equality("incorrect", "number", "the numbers differ")


def _compare_percents(wanted: Quantity, stated: Quantity, leniency: Leniency) -> Equality:
    """Equality of two numbers, of which one or both may be meant as percents; as such alone if strict."""
    unit = next((q.unit for q in (wanted, stated) if q.unit not in ("", MAYBE_PERCENT)), "")
    if unit:
        return Equality("incorrect", "unit", f"a percentage is no number of {unit}")
    most = 1 if leniency == "strict" else 2
    pairs = product(wanted.readings()[:most], stated.readings()[:most])
    equalities = [compare_quantities(one, other, leniency) for one, other in pairs]
    return next((equality for equality in equalities if equality.status == "correct"), equalities[-1])


def _is_percent_of_unit(wanted: Quantity, stated: Quantity) -> bool:
    """Whether one side is a percentage and the other has a unit of measurement, such as 50% and 0.5 cm."""
    sides = ((wanted, stated), (stated, wanted))
    return any(one.is_percent and unit_factor(other.unit) is not None for one, other in sides)


def is_rounding_of(reference: str, answer: str, first: Node, second: Node, leniency: Leniency) -> bool:
    """Whether one side is a decimal, and the other an exact value that rounds to it."""
    wanted, stated = quantity(reference), quantity(answer)
    decimals = [q for q in (wanted, stated) if q is not None and q.digits is not None]
    if leniency == "strict" or len(decimals) != 1:
        return False
    exact = number_value(second if decimals[0] is wanted else first)
    if exact is None:
        return False
    mantissa, exponent = exact.mid().man_exp()
    if abs(int(exponent)) > 10_000:
        return False
    value = Quantity(Fraction(int(mantissa)) * Fraction(2) ** int(exponent), "")
    return _rounds(*((wanted, value) if decimals[0] is wanted else (value, decimals[0])), leniency)


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


def _rounds(wanted: Quantity, stated: Quantity, leniency: Leniency) -> bool:
    if leniency == "strict":
        return False
    in_answer, in_reference, in_both = _DIGITS[leniency]
    if wanted.digits is None and stated.digits is not None:
        return stated.digits.significant >= in_answer and _is_rounded(wanted, stated, stated.digits)
    if wanted.digits is not None and stated.digits is None:
        return wanted.digits.significant >= in_reference and _is_rounded(stated, wanted, wanted.digits)
    if wanted.digits is not None and stated.digits is not None:
        is_longer = in_both <= wanted.digits.significant < stated.digits.significant
        return is_longer and _is_near(stated, wanted, wanted.digits)
    return False


def _is_rounded(exact: Quantity, decimal: Quantity, digits: Digits) -> bool:
    return not _terminates(exact.number) and _is_near(exact, decimal, digits)


def _is_near(exact: Quantity, decimal: Quantity, digits: Digits) -> bool:
    """Whether the value rounds to the decimal, or is cut to it where that states many digits."""
    gap = abs(exact.number - decimal.number) / abs(digits.step)
    return gap <= Fraction(1, 2) or (digits.significant >= 10 and gap < 1)


def _terminates(number: Fraction) -> bool:
    """Whether the number has a short finite decimal, so that nobody needs to round it."""
    denominator = number.denominator
    for prime in (2, 5):
        while denominator % prime == 0 and denominator > 1:
            denominator //= prime
    return denominator == 1 and number.denominator < 10**12
