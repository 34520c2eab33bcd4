r"""Reads the number of an answer, without its unit: 1,234.5, -2\frac{1}{3}, 1.5 \times 10^3, 2 million, 3千.

Goes in: a piece of tidy text (see `notation`). Comes out: an exact Fraction and how many digits were written, or
None for everything else. Nothing is evaluated. Units, currencies and percent signs are read by `quantities`.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from mixdistill.verifiers.notation import MOST_DIGITS

_HIGHEST_POWER_OF_TEN = 1_000
_MOST_SCALES = 3  # 2 hundred thousand million

_SCALES: dict[str, int | Fraction] = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "lakh": 10**5,
    "crore": 10**7, "dozen": 12, "ppm": Fraction(1, 10**6), "ppb": Fraction(1, 10**9), "百": 10**2, "千": 10**3,
    "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8, "兆": 10**12, "백": 10**2, "천": 10**3, "만": 10**4,
    "억": 10**8, "成": Fraction(1, 10),
}  # fmt: skip
SCALES = "|".join(_SCALES)
"Alternatives of a pattern; those of letters may have an s behind them."
SCALE_BEHIND = re.compile(rf"\s?(?<![A-Za-z])({SCALES})s?$", re.IGNORECASE)

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


class Digits(NamedTuple):
    """How precisely a decimal fraction is written."""

    step: Fraction
    "The size of its last digit: 1/100 for 0.25, 1/1000 for 2.5%."
    significant: int


def read_number(text: str) -> Fraction | None:
    """The exact value of digits, of a fraction or of a number before a power of ten; None for everything else."""
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


def split_sign(text: str) -> tuple[int, str]:
    """The sign of a number, 1 or -1, and what is behind it."""
    if text[:1] in ("-", "+"):
        return (-1 if text[0] == "-" else 1), unwrap(text[1:].strip())
    return 1, text


def split_scale(text: str) -> tuple[Fraction, str]:
    """What the words behind a number multiply it by, and the number."""
    scale = Fraction(1)
    for _ in range(_MOST_SCALES):
        match = SCALE_BEHIND.search(text)
        if match is None:
            break
        scale *= _SCALES[match.group(1).casefold()]
        text = text[: match.start()]
    return scale, unwrap(text)


def unwrap(text: str) -> str:
    """The text without one pair of braces or parentheses that holds all of it."""
    text = text.strip()
    if text[:1] + text[-1:] in ("{}", "()") and not any(c in "(){}" for c in text[1:-1]):
        return text[1:-1].strip()
    return text


def read_digits(text: str, number: Fraction) -> Digits | None:
    """The digits of a decimal fraction, alone or before a power of ten; `number` is what it stands for."""
    match = _SCIENTIFIC.fullmatch(text)
    mantissa = (match.group(1) or match.group(4) or "") if match else text if _PLAIN.fullmatch(text) else ""
    whole, _, part = mantissa.replace(",", "").replace(" ", "").partition(".")
    significant = (whole + part).lstrip("0")
    if not part or not significant:
        return None
    return Digits(number / Fraction(f"{whole or 0}.{part}") / 10 ** len(part), len(significant))


def _decimal(text: str) -> Fraction | None:
    """Exact value of digits with at most one point; Fraction never sees an exponent."""
    digits = text.replace(",", "").replace(" ", "")
    return Fraction(digits.rstrip(".")) if len(digits) <= MOST_DIGITS else None
