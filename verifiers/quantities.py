r"""Reads an exact number with its unit: 1,234.5 apples, -2\frac{1}{3}, 50%, 2 million, 60° 42', 5 ft 4 in, 5 km/h.

Goes in: tidy text (see `notation`). Comes out: a Quantity, or None for everything else. No SymPy, no evaluation:
a number is a Fraction or it is not a number. How numbers are written is in `numerals`, where a unit begins in
`endings`, what it measures in `units`.
"""

import re
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from mixdistill.verifiers.endings import split_ending
from mixdistill.verifiers.notation import LONGEST_ANSWER
from mixdistill.verifiers.numerals import Digits, read_digits, read_number, split_scale, split_sign, unwrap
from mixdistill.verifiers.units import conversion, is_percent, unit_factor

_CURRENCIES = {"¤": "dollar", "£": "pound", "€": "euro", "₹": "rupee"}
# Degrees, minutes and seconds of an angle; `tidy` took the quotes behind the seconds away.
_ARC = re.compile(r"(\d{1,9}) ?° ?(\d{1,3}(?:\.\d{1,9})?) ?'(?: ?(\d{1,3}(?:\.\d{1,9})?) ?(?:'')?)?")
# A number with a unit, as a term of a sum.
_TERM = re.compile(
    r'(\d{1,9}(?:\.\d{1,9})?)(?:\s?"\s?([^\W\d_]{1,12}\.?)\s?"|\s?([A-Za-z]{1,12}\.?)(?= |$)|([一-龥]{1,4}))\s?'
)

MAYBE_PERCENT = "(%)"
"The unit of a number whose percent sign stands apart, as behind a box: it may be meant or not."


class Quantity(NamedTuple):
    """An exact number and the unit that was written behind it."""

    number: Fraction
    unit: str
    "Empty if there is none; `dollar` for a dollar sign, `degree` for a degree mark."
    digits: Digits | None = None
    "None for a whole number and for a fraction."
    is_certain: bool = True
    "False for letters that are a unit only beside another unit that measures the same: 2mg, 5 m s^{-1}."
    is_percent: bool = False
    "It was written as a percentage; the number is a hundredth of what was written."

    def readings(self) -> "tuple[Quantity, ...]":
        """What it may mean: as a percentage and as a number where the percent sign stands apart, else itself."""
        if self.unit != MAYBE_PERCENT:
            return (self,)
        return (self.scaled(Fraction(1, 100))._replace(unit="", is_percent=True), self._replace(unit=""))

    def scaled(self, factor: Fraction) -> "Quantity":
        """As many times as large, in the same unit."""
        digits = self.digits and self.digits._replace(step=self.digits.step * factor)
        return self._replace(number=self.number * factor, digits=digits)


@lru_cache(maxsize=4096)  # the samples of a problem share its reference
def quantity(text: str, *, letters: bool = False) -> Quantity | None:
    r"""The exact number in the tidy text, with its unit; None for everything else.

    With `letters`, `5 m` and `2mg` have a unit too, of which the second is not certain.

    >>> quantity("1,234.50 apples").number
    Fraction(2469, 2)
    >>> quantity(r"-2\frac{1}{3}").number, quantity("50%").number
    (Fraction(-7, 3), Fraction(1, 2))
    """
    text = text.strip()
    if len(text) > LONGEST_ANSWER or not any(c.isdecimal() for c in text):
        return None
    if match := _ARC.fullmatch(text):
        parts = [Fraction(part or 0) / 60**at for at, part in enumerate(match.groups())]
        return Quantity(sum(parts, Fraction()), "degree")
    if total := _sum(text):
        return total
    body, unit, kind = split_ending(text)
    if kind != "unit" and not letters:
        return None
    sign, body = split_sign(unwrap(body))
    currency = _CURRENCIES.get(body[:1], "")
    if currency:
        body = body[1:].strip()
        is_known = unit_factor(f"{currency} {unit}") is not None and conversion(currency, unit) is None
        unit = f"{currency} {unit}".strip() if is_known else currency
    if body.endswith(MAYBE_PERCENT):
        body, unit = body.removesuffix(MAYBE_PERCENT).strip(), MAYBE_PERCENT
    percent = body.endswith("%") or is_percent(unit)
    scale, body = split_scale(unwrap(body.removesuffix("%").strip()))
    number = read_number(body)
    if number is None:
        return None
    number *= scale / (100 if percent else 1)
    unit = "" if is_percent(unit) else unit
    return Quantity(sign * number, unit, read_digits(body, number), kind != "letters", percent)


def split_unit(text: str) -> tuple[str, str]:
    r"""What stands before the trailing unit of tidy text, and the unit; empty where there is none.

    Letters that may be variables are no unit.

    >>> split_unit(r'2\pi"m"/"s"^2'), split_unit("2mg")
    (('2\\pi', 'm/s^2'), ('2mg', ''))
    """
    body, unit, kind = split_ending(text)
    return (body, unit) if kind == "unit" else (text, "")


def _sum(text: str) -> Quantity | None:
    """The sum of two to four numbers with units of one kind, the largest first: 5 feet 4 inches."""
    terms = list(_TERM.finditer(text)) if text[-1:] not in "0123456789" else []
    if not 2 <= len(terms) <= 4 or "".join(term.group() for term in terms) != text:
        return None
    units = [next(filter(None, term.groups()[1:])).strip(".") for term in terms]
    ratios = [conversion(units[-1], unit) for unit in units]
    sizes = [ratio for ratio in ratios if ratio is not None]
    if len(sizes) < len(units) or any(one <= other for one, other in pairwise(sizes)):
        return None
    total = sum((Fraction(term.group(1)) * size for term, size in zip(terms, sizes, strict=True)), Fraction())
    return Quantity(total, units[-1])
