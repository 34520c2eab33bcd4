r"""Reads an exact number with its unit: 1,234.5 apples, -2\frac{1}{3}, 50%, 2 million, 60° 42', 5 km/h.

Goes in: tidy text (see `notation`). Comes out: a Quantity, or None for everything else. No SymPy, no evaluation:
a number is a Fraction or it is not a number. What units measure is in `units`.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from mixdistill.verifiers.notation import FUNCTION_NAMES, IDEOGRAPHS, LONGEST_ANSWER, MOST_DIGITS
from mixdistill.verifiers.units import is_percent, unit_factor

_HIGHEST_POWER_OF_TEN = 1_000

_CURRENCIES = {"¤": "dollar", "£": "pound", "€": "euro"}
_SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "万": 10**4, "亿": 10**8,
}  # fmt: skip
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ./"

_INTEGER = r"(?:(?!0)\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?!\d)|\d+)"
_DECIMAL = rf"(?:{_INTEGER}(?:\.\d*)?|\.\d+)"
_PART = rf"(?:\{{\s*([+-]?\s*{_DECIMAL})\s*\}}|(\d))"
_FRACTION = re.compile(rf"\\frac\s*{_PART}\s*{_PART}|({_DECIMAL})\s*/\s*([+-]?{_DECIMAL})")
_MIXED = re.compile(r"(\d+)\s*(?:\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}|\\frac\s*(\d)\s*(\d)| (\d+)/(\d+))")
_SCIENTIFIC = re.compile(
    rf"(?:({_DECIMAL})\s*(?:\\times|\\cdot|\*|x)\s*)?10\s*\^\s*(?:\{{\s*([+-]?\d+)\s*\}}|([+-]?\d+))"
    rf"|({_DECIMAL})[eE]([+-]?\d+)"
)
_PLAIN = re.compile(_DECIMAL)
# Degrees, minutes and seconds of an angle; `tidy` took the quotes behind the seconds away.
_ARC = re.compile(r"(\d{1,9}) ?° ?(\d{1,3}(?:\.\d{1,9})?) ?'(?: ?(\d{1,3}(?:\.\d{1,9})?) ?(?:'')?)?")
_TIMES = re.compile(r"\s?(?:\*|\\cdot|\\times)$")
_UNIT_POWER = re.compile(r"\s?\^\s?(?:\{\s?-?[1-4]\s?\}|-?[1-4])$")
_TEMPERATURE = re.compile(r'\s?°\s?"?\s?([CF]?)"?$')


MAYBE_PERCENT = "(%)"
"The unit of a number whose percent sign stands apart, as behind a box: it may be meant or not."


class Quantity(NamedTuple):
    """An exact number and the unit that was written behind it."""

    number: Fraction
    unit: str
    "Empty if there is none; `dollar` for a dollar sign, `degree` for a degree mark."


def quantity(text: str, *, letters: bool = False) -> Quantity | None:
    r"""The exact number in the tidy text, with its unit; None for everything else; `letters` as in `split_unit`.

    >>> quantity("1,234.50 apples").number
    Fraction(2469, 2)
    >>> quantity(r"-2\frac{1}{3}").number, quantity("50%").number
    (Fraction(-7, 3), Fraction(1, 2))
    """
    if len(text) > LONGEST_ANSWER or not any(c.isdecimal() for c in text):
        return None
    if match := _ARC.fullmatch(text.strip()):
        parts = [Fraction(part or 0) / 60**at for at, part in enumerate(match.groups())]
        return Quantity(sum(parts, Fraction()), "degree")
    body, unit = split_unit(text.strip(), letters=letters)
    sign, body = _split_sign(_unwrap(body))
    currency = _CURRENCIES.get(body[:1], "")
    if currency:
        body = body[1:].strip()
    if body.endswith("(%)"):
        body, unit = body.removesuffix("(%)").strip(), MAYBE_PERCENT
    percent = body.endswith("%") or is_percent(unit)
    number = _number(_unwrap(body.removesuffix("%").strip()))
    if number is None:
        return None
    scale, _, named = (unit[0], "", unit[1:]) if unit[:1] in _SCALES else unit.partition(" ")
    if scale in _SCALES:
        number, unit = number * _SCALES[scale], named
    return Quantity(sign * number / (100 if percent else 1), "" if percent else currency or unit)


def split_unit(text: str, *, letters: bool = False) -> tuple[str, str]:
    """What stands before the trailing unit of tidy text, and the unit; empty where there is none.

    A single letter, as in `5 m`, is a unit in quotes, or where `letters` says so: it may be a variable.
    """
    if mark := _TEMPERATURE.search(text):
        return text[: mark.start()].strip(), f"°{mark.group(1)}" if mark.group(1) else "degree"
    ideographs = IDEOGRAPHS.search(text)
    if ideographs and ideographs.start():
        return text[: ideographs.start()].strip(), ideographs.group()
    power = _UNIT_POWER.search(text)
    stem = text[: power.start()] if power else text
    if stem.endswith('"'):
        opening = stem.rfind('"', 0, -1)
        body, name, quoted = stem[:opening], stem[opening + 1 : -1] + text[len(stem) :], True
    else:
        body, quoted = _without_letters(text), False
        name = text[len(body) :]
    if quoted and not body.strip():  # all of it is text, as in \text{12}
        return name.strip(), ""
    unit = name.strip(" .")
    if not unit:
        return body.strip() + ("." if name == "." else ""), ""
    words = unit.replace("/", " ").split()
    is_word = name.startswith(" ") and len(words[0]) > 2 and words[0].isalpha() and words[0] not in FUNCTION_NAMES
    is_letter = letters and len(words) == 1 and (name.startswith(" ") or _TIMES.search(body.strip()) is not None)
    is_unit = is_letter or "/" in unit or any(len(word.partition("^")[0].strip()) > 1 for word in words)
    known = is_percent(unit) or ((is_unit or quoted) and unit_factor(unit) is not None)
    if body.rstrip().endswith("\\") or not (quoted or is_word or known):
        return text, ""
    return _TIMES.sub("", body.strip()) if known else body.strip(), unit if known else unit.casefold()


def _without_letters(text: str) -> str:
    """The text without the letters that it ends in, and the powers of these."""
    body = text.rstrip(_LETTERS)
    while (power := _UNIT_POWER.search(body)) and body[: power.start()][-1:].isalpha():
        body = body[: power.start()].rstrip(_LETTERS)
    return body


def _split_sign(text: str) -> tuple[int, str]:
    if text[:1] in ("-", "+"):
        return (-1 if text[0] == "-" else 1), _unwrap(text[1:].strip())
    return 1, text


def _unwrap(text: str) -> str:
    """The text without one pair of braces or parentheses that holds all of it."""
    text = text.strip()
    if text[:1] + text[-1:] in ("{}", "()") and not any(c in "(){}" for c in text[1:-1]):
        return text[1:-1].strip()
    return text


def _number(text: str) -> Fraction | None:
    if _PLAIN.fullmatch(text):
        return _decimal(text)
    if match := _FRACTION.fullmatch(text):
        above, below = (_decimal(group) for group in match.groups() if group)
        return None if above is None or not below else above / below
    if match := _MIXED.fullmatch(text):
        whole, part, of = (_decimal(group) for group in match.groups() if group)
        return None if whole is None or part is None or not of else whole + part / of
    if match := _SCIENTIFIC.fullmatch(text):
        mantissa, braced, bare, plain, exponent = match.groups()
        power = braced or bare or exponent
        number = _decimal(mantissa or plain or "1")
        if number is None or len(power) > 6 or abs(int(power)) > _HIGHEST_POWER_OF_TEN:
            return None
        return number * Fraction(10) ** int(power)
    return None


def _decimal(text: str) -> Fraction | None:
    """Exact value of digits with at most one point; Fraction never sees an exponent."""
    digits = text.replace(",", "").replace(" ", "")
    return Fraction(digits.rstrip(".")) if len(digits) <= MOST_DIGITS else None
