r"""Reads numbers in a stated base: 2413_5, (1011)_2, 1A_{16}, 101_{\text{two}}.

Goes in: tidy text. Comes out: digits and base, or None for everything else.
"""

import re
from typing import NamedTuple

_WORDS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "twelve": 12, "sixteen": 16,
}  # fmt: skip
_BASED = re.compile(
    r'\(?([0-9A-Fa-f]{1,200})\)?\s?_\s?(?:\{\s?"?\s?([a-z]{3,7}|\d{1,2})\s?"?\s?\}|"([a-z]{3,7})"|(\d{1,2}))'
)


class Based(NamedTuple):
    """Digits, in capitals, and the base that they are written in."""

    digits: str
    base: int

    @property
    def value(self) -> int:
        return int(self.digits, self.base)


def read_based(text: str) -> Based | None:
    r"""The number in tidy text with its base.

    >>> read_based("(1011)_{2}").value, read_based("x_2")
    (11, None)
    """
    match = _BASED.fullmatch(text.strip())
    if match is None or not match.group(1)[0].isdecimal():
        return None
    stated = next(group for group in match.groups()[1:] if group)
    base = int(stated) if stated.isdecimal() else _WORDS.get(stated, 0)
    digits = match.group(1).upper()
    if not 2 <= base <= 16 or any(int(digit, 16) >= base for digit in digits):
        return None
    return Based(digits, base)
