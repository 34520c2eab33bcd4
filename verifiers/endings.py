r"""Cuts the unit from the end of a text: `9.8 "m" "s"^{-2}`, `5 km/h`, `2\sqrt{2}"cm"`, `12 apples`, `4000千克`.

Goes in: tidy text (see `notation`), in which `"..."` stands for \text{...}. Comes out: what stands in front, the
unit in one spelling, and whether its letters can be anything else: in 2mg they may be variables. Mathematics in
words, such as `3 squared`, is no unit. What units measure is in `units`.
"""

import re
from typing import Literal, NamedTuple

from mixdistill.verifiers.notation import FUNCTION_NAMES, IDEOGRAPHS
from mixdistill.verifiers.numerals import SCALE_BEHIND, SCALES, read_number, split_scale, split_sign, unwrap
from mixdistill.verifiers.units import is_percent, unit_factor

_TEMPERATURE = re.compile(r'\s?"?\s?°\s?"?\s?([CF]?)"?$')
_POWER = r"\s?\^\s?(?:\{\s?[+-]?[1-9]\s?\}|[+-]?[1-9])"
# One name of a run of names at the end of a text: the sign in front of it, the name, its power.
_PIECE = re.compile(
    r"(\s?(?:\\(?:cdot|times)(?![A-Za-z])|[*/])?\s?)"
    r'(\\mu(?![A-Za-z])\s?"[^"]*"|[μµ]?"[^"]*"'
    r"|(?<![\\A-Za-z])(?:\\mu(?![A-Za-z])\s?)?(?:[A-Za-zμµ]+\.?|[kMGm]?\s?(?:\\Omega(?![A-Za-z])|[Ω\u2126])))"
    rf"({_POWER})?\s?$"
)
_QUOTED = rf'\s*("[^"{{}}]*"(?:{_POWER})?)\s*'
_UNIT_FRACTION = re.compile(rf"\\frac\s*\{{{_QUOTED}\}}\s*\{{{_QUOTED}\}}$")
_ROMAN = re.compile(r"\\(?:text|textrm|mathrm|rm)\s*\{((?:[^{}]|\{[^{}]*\})*)\}$")
# In parentheses, as in J/(mol K); one of its names must be no single letter, which may be a variable.
_DIVISOR = re.compile(r"/\s?\(([A-Za-z][A-Za-z0-9^{} *-]*)\)$")
_LONG_NAME = re.compile("[A-Za-z]{2}")
_SCALE_IN_QUOTES = re.compile(rf'"\s?((?:{SCALES})s?)(?![A-Za-z])\s?', re.IGNORECASE)
_SCALE_SIGNS = "百千万萬亿億兆백천만억"
_MATHS_SIGNS = re.compile("的|平方|立方|次方|阶乘|根")
_MOST_PIECES, _LONGEST_PIECE = 24, 300
# Two letters that are a unit wherever they stand, and no variables; single ones behind a number and a space.
_EVERYDAY = frozenset({"cm", "mm", "km", "kg", "mL", "ml", "ft", "lb", "oz", "Hz"})
_SINGLE = frozenset("mgshLlNJWVAKC")
_MATHS_WORDS = """
    squared cubed factorial plus minus pi power mod sqrt infinity divided multiplied half halves thirds
    fourths fifths sixths sevenths eighths ninths tenths hundredths thousandths one two three four five six
    seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty ninety alpha beta gamma
    delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega
"""
_MATHS = frozenset(_MATHS_WORDS.split())
# These are mathematics in front of a number or a letter alone: 3 times x, but 3 times.
_INFIX = frozenset({"times", "over", "root", "to", "choose", "min", "max"})

Kind = Literal["unit", "letter", "letters"]
"A `letter`, as in `5 m`, and `letters`, as in `2mg` and `5 m s^{-1}`, may be variables."


class Ending(NamedTuple):
    """A text cut in front of its unit; the unit is empty if there is none."""

    body: str
    unit: str
    kind: Kind = "unit"


def split_ending(text: str) -> Ending:
    r"""The tidy text without its unit, and the unit.

    >>> split_ending(r'9.8 "m" "s"^{-2}'), split_ending("3 squared").unit, split_ending("2mg").kind
    (Ending(body='9.8', unit='m s^{-2}', kind='unit'), '', 'letters')
    """
    if text[-1:].isdecimal() and "^" not in text:
        return Ending(text, "")
    if mark := _TEMPERATURE.search(text):
        return Ending(text[: mark.start()].strip(), f"°{mark.group(1)}" if mark.group(1) else "degree")
    ideographs = IDEOGRAPHS.search(text)
    if ideographs and ideographs.start():
        return _split_ideographs(text[: ideographs.start()].strip(), ideographs.group())
    if text.count('"') == 2 and text[0] + text[-1] == '""':  # all of it is text, as in \text{12}
        text = text[1:-1].strip()
    if '"' in text:
        text = _SCALE_IN_QUOTES.sub(r' \1"', text).replace('""', "").strip()
    if fraction := _UNIT_FRACTION.search(text):
        text = f"{text[: fraction.start()]}{fraction.group(1)}/{fraction.group(2)}"
    roman = _ROMAN.search(text)
    if roman and unit_factor(roman.group(1)) is not None:
        return Ending(text[: roman.start()].strip(), roman.group(1))
    if divisor := _DIVISOR.search(text):
        opened = f"{text[: divisor.start()]}/{divisor.group(1)}"
        ending = _split_known(opened, _pieces(opened))
        return ending if ending and _LONG_NAME.search(ending.unit) else Ending(text, "")
    pieces = _pieces(text)
    return _split_known(text, pieces) or _split_noun(text, pieces)


def _split_ideographs(body: str, unit: str) -> Ending:
    """Scales belong to the number, but 千米 is a unit; mathematics in words is none."""
    n_scales = 1 if unit == "成" else len(unit) - len(unit.lstrip(_SCALE_SIGNS))
    known = (end for end in range(n_scales + 1) if unit_factor(unit[end:]) is not None)
    end = next(known, n_scales)
    if unit_factor(unit[end:]) is None and _MATHS_SIGNS.search(unit):
        return Ending(body + unit, "")
    return Ending(body + unit[:end], unit[end:])


def _pieces(text: str) -> list[re.Match[str]]:
    """The names at the end of the text, from left to right, down to a scale, which belongs to the number."""
    pieces: list[re.Match[str]] = []
    end = len(text)
    while len(pieces) < _MOST_PIECES:
        piece = _PIECE.search(text, max(0, end - _LONGEST_PIECE), end)
        if piece is None or SCALE_BEHIND.fullmatch(piece.group(2)):
            break
        pieces.insert(0, piece)
        end = piece.start()
    return pieces


def _split_known(text: str, pieces: list[re.Match[str]]) -> Ending | None:
    """The longest run of names that is a unit of measurement, in front of which no word stands."""
    for at, piece in enumerate(pieces):
        run, body = pieces[at:], text[: piece.start()].strip()
        unit = _name(run)
        is_known = is_percent(unit) or unit_factor(unit) is not None
        is_of_a_kind = len({_is_quoted(part) for part in run}) == 1
        is_behind_words = any(len(front.group(2)) > 2 for front in pieces[:at])
        if is_known and is_of_a_kind and not is_behind_words and _can_end(body):
            return Ending(body, unit, _kind(run, unit, body))
    return None


def _kind(run: list[re.Match[str]], unit: str, body: str) -> Kind:
    """Whether the known names can be nothing but a unit, given what stands in front of them."""
    names = [piece.group(2).strip(" .") for piece in run]
    is_long = any(len(name) > 2 and "\\" not in name for name in names)
    if is_percent(unit) or _is_quoted(run[0]) or is_long or not _EVERYDAY.isdisjoint(names):
        return "unit"
    is_behind_number = _is_number(body)
    is_apart = run[0].group(1) == " " and is_behind_number and "\\" not in body
    if is_apart and ("/" in unit or any(len(name) == 2 for name in names)):
        return "unit"
    if is_behind_number and re.match(r"m/s(?![A-Za-z])", unit):
        return "unit"
    is_single = unit in _SINGLE or unit in ("Ω", r"\Omega") or re.fullmatch(r"m\s?\^\s?\{?\s?[23]\s?\}?", unit)
    return "letter" if is_apart and is_single else "letters"


def _split_noun(text: str, pieces: list[re.Match[str]]) -> Ending:
    """The text without names that are no unit of measurement, such as apples, unless they are mathematics."""
    quoted = next((at for at in range(len(pieces)) if all(map(_is_quoted, pieces[at:]))), None)
    run = pieces[quoted or 0 :]
    first = run[0].group(2).strip('" ') if run else ""
    body = text[: run[0].start()].strip() if run else ""
    is_word = len(first) > 2 and first.isalpha() and run[0].group(1) == " "
    is_noun = (is_word or (quoted is not None and len(first) > 1)) and first not in FUNCTION_NAMES
    if not is_noun or not _can_end(body) or "/" in run[0].group(1) or _is_mathematics(pieces):
        return Ending(text.rstrip(" .") if text.endswith("...") else text, "")
    return Ending(body, _name(run).casefold())


def _is_mathematics(pieces: list[re.Match[str]]) -> bool:
    words = [word.strip(".").casefold() for piece in pieces for word in piece.group(2).replace('"', " ").split()]
    operands = [word in _MATHS or len(word) == 1 for word in words[1:]]
    return not _MATHS.isdisjoint(words) or any(
        word in _INFIX and is_operand for word, is_operand in zip(words[:-1], operands, strict=True)
    )


def _name(run: list[re.Match[str]]) -> str:
    signs = ("/" if "/" in piece.group(1) else " " for piece in run)
    names = (piece.group(2).replace('"', " ").strip(" .") + (piece.group(3) or "").strip() for piece in run)
    return "".join(f"{sign}{name}" for sign, name in zip(signs, names, strict=True)).strip()


def _is_quoted(piece: re.Match[str]) -> bool:
    return '"' in piece.group(2)


def _can_end(body: str) -> bool:
    """Whether a unit may follow: no sign does that binds what is behind it."""
    return body != "" and body[-1] not in "\\^_=+-({[|"


def _is_number(body: str) -> bool:
    body = split_sign(unwrap(body))[1].lstrip("¤£€₹").removesuffix("%").strip()
    return read_number(split_scale(body)[1]) is not None
