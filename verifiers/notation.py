r"""Reads what needs no algebra: the spelling of an answer, exact numbers with their units, words, choices.

`tidy` turns the many spellings of LaTeX and of plain text into one, in which `"..."` stands for \text{...},
`°` for a degree mark and `¤` for a dollar sign that is money. The other functions take tidy text and return
None for what they do not read. No SymPy, no evaluation: a number is a Fraction or it is not a number.
"""

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

from mixdistill.verifiers.units import is_percent, unit_factor

# Longer texts are no answers. Numbers longer than this stay under Python's own limit of 4,300 digits.
LONGEST_ANSWER = 4_500
MOST_DIGITS = 4_200
_HIGHEST_POWER_OF_TEN = 1_000

_CHARACTERS = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": r"\div ",
        "π": r"\pi ", "∞": r"\infty ", "√": r"\sqrt ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ",
        "∪": r"\cup ", "∈": r"\in ", "∅": r"\emptyset ", "θ": r"\theta ", "⁄": "/", "º": "°", "′": "'",
        "“": "", "”": "", '"': "", "（": "(", "）": ")", "，": ",", "²": "^2", "³": "^3", "½": r"\frac{1}{2}",
        "％": "%", "\xa0": " ", "\u2009": " ", "\u202f": " ", "∖": "\\",
    }
)  # fmt: skip
_INVISIBLE = (
    r"displaystyle|textstyle|limits|m?left|m?right|middle|[bB]igg?[lr]?|"
    r"negthinspace|negmedspace|negthickspace|phantom|nolimits"
)
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z({\[]|[,!;])")
_WORDS = r"text|textbf|textit|textrm|textnormal|mbox|hbox|mathrm|mathbf|mathit|mathsf|operatorname|rm|bf"
# A backslash behind a backslash begins no command: it ends a row of a matrix.
_REPLACEMENTS = [
    (re.compile(r"(?<!\\)\\\$"), "¤"),
    (re.compile(r"(?<!\\)\\[()\[\]]|\$\$"), " "),
    (re.compile(rf"(?<!\\)\\(?:!\s*|(?:{_INVISIBLE})(?![A-Za-z]))"), ""),
    (re.compile(r"(?<!\\)\\(?:[,;:> ]|q?quad(?![A-Za-z])|hspace\s*\{[^{}]*\})|~"), " "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"(?<=frac)\s*\{(\d{1,3}),(\d{3})\}"), r"{\1\2}"),
    (re.compile(r"\\[dtc](frac|binom)(?![A-Za-z])"), r"\\\1"),
    (re.compile(r"\\[lr]?vert"), "|"),
    (re.compile(r"\\(?:lgroup|lparen)"), "("),
    (re.compile(r"\\(?:rgroup|rparen)"), ")"),
    (re.compile(r"\\lbrack"), "["),
    (re.compile(r"\\rbrack"), "]"),
    (re.compile(r"\^\s*(?:\\prime(?![A-Za-z])|\{\s*\\prime\s*\})|\\prime(?![A-Za-z])"), "'"),
    (re.compile(r"(?<=\d)\s*\{\s*,\s*\}\s*(?=\d)"), ","),
    (re.compile(r"\\langle(?![A-Za-z])(?=[^|]*\\rangle)"), "("),
    (re.compile(r"\\rangle(?![A-Za-z])"), ")"),
    (re.compile(r"=/="), r"\\ne "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\^\s*(?:\\circ(?![A-Za-z])|\{\s*\\circ\s*\})|\\(?:degree|textdegree)s?(?![A-Za-z])"), "°"),
    (re.compile(r"\\(?:leqslant|leq)(?![A-Za-z])"), r"\\le"),
    (re.compile(r"\\(?:geqslant|geq)(?![A-Za-z])"), r"\\ge"),
    (re.compile(r"\\neq(?![A-Za-z])"), r"\\ne"),
    (re.compile(r"\\varnothing(?![A-Za-z])"), r"\\emptyset"),
    (re.compile(r"\\lbrace"), r"\\{ "),
    (re.compile(r"\\rbrace"), r"\\}"),
    (re.compile(rf"\\(?:{_WORDS})\s*\{{([^{{}}]*)\}}"), r'"\1"'),
    (re.compile(r"\\(?:boxed|fbox|mathbb|mathcal|ensuremath)\s*(?=\{)"), ""),
]  # fmt: skip
_INNER_SPACE = re.compile(r"(?<=[A-Za-z0-9])\s+(?=[A-Za-z0-9])")
_CHOICE = re.compile(r'"?\s*\(?\s*"?\(?([A-Z])\)?"?\s*\)?[.:]?\s*"?')
_LABELLED_CHOICE = re.compile(r"\(([A-Z])\)|\b([A-Z])[.):]|\b[Oo]ption ([A-Z])\b|^([A-H])\b")
_LETTERS_ONLY = re.compile(r"[^\W\d_][^\d_\\^*/+=<>(){}|,;:&]*")
_LONG_WORD = re.compile(r"[^\W\d_]{3,}")
_SHORT_WORDS = frozenset({"no", "on", "am", "pm", "up", "if", "or", "we", "he"})
_NAMES = frozenset({"sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "sqrt", "abs", "ln", "infty"})
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})

_CURRENCIES = {"¤": "dollar", "£": "pound", "€": "euro"}
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
_UNIT_POWER = re.compile(r"\s?\^\s?(?:\{\s?-?[1-4]\s?\}|-?[1-4])$")
_TEMPERATURE = re.compile(r'\s?°\s?"?\s?([CF]?)"?$')


class Quantity(NamedTuple):
    """An exact number and the unit that was written behind it."""

    number: Fraction
    unit: str
    "Empty if there is none; `dollar` for a dollar sign, `degree` for a degree mark."


def tidy(text: str) -> str:
    r"""The text in one spelling, on one line.

    >>> tidy(r"$\dfrac{1}{2}\text{ cm}$")
    '\\frac{1}{2}" cm"'
    """
    text = " ".join(text.translate(_CHARACTERS).split())
    text = "".join(c for c in text if unicodedata.category(c) not in _UNSEEN)
    if r"\begin" not in text:  # no rows, so a doubled backslash is a slip of escaping
        text = _DOUBLED.sub(r"\\", text)
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    if text.count("$") % 2:
        text = re.sub(r"\$(?=\s*\.?\d)", "¤", text, count=1)
    text = " ".join(text.replace("$", " ").split())
    return text.rstrip(" .;,") if not text.endswith("...") else text


def same_key(text: str) -> str:
    """Equal for tidy texts that differ only in spaces that mean nothing, and in the case of plain words."""
    key = _INNER_SPACE.sub("\0", text.replace('"', " ").strip()).replace(" ", "").replace("\0", " ")
    return key.casefold() if is_words(text) else key


def is_words(text: str) -> bool:
    """Whether the tidy text is words: letters without any mathematics, and not only names of variables."""
    bare = text.replace('"', " ").strip()
    if _LETTERS_ONLY.fullmatch(bare) is None:
        return False
    return bare.casefold() in _SHORT_WORDS or any(w not in _NAMES for w in _LONG_WORD.findall(bare))


def choice_letter(text: str, *, labelled: bool = False) -> str | None:
    """The letter of `B`, `(B)`, `B.`; with `labelled`, the only one in `(B) 12` or `Option B` too."""
    match = _CHOICE.fullmatch(text.strip())
    if match is not None or not labelled:
        return match and match.group(1)
    labels = _LABELLED_CHOICE.findall(text.replace('"', " ").strip())
    letters = {letter for groups in labels for letter in groups if letter}
    return letters.pop() if len(letters) == 1 else None


def quantity(text: str, *, letters: bool = False) -> Quantity | None:
    r"""The exact number in the tidy text, with its unit; None for everything else; `letters` as in `split_unit`.

    >>> quantity("1,234.50 apples").number
    Fraction(2469, 2)
    >>> quantity(r"-2\frac{1}{3}").number, quantity("50%").number
    (Fraction(-7, 3), Fraction(1, 2))
    """
    if len(text) > LONGEST_ANSWER or not any(c.isdigit() for c in text):
        return None
    if match := _ARC.fullmatch(text.strip()):
        return Quantity(sum(Fraction(n or 0) / 60**at for at, n in enumerate(match.groups())), "degree")
    body, unit = split_unit(text.strip(), letters=letters)
    sign, body = _split_sign(_unwrap(body))
    if body[:1] in _CURRENCIES:
        unit, body = _CURRENCIES[body[0]], body[1:].strip()
    percent = body.endswith("%") or is_percent(unit)
    number = _number(_unwrap(body.removesuffix("%").strip()))
    if number is None:
        return None
    return Quantity(sign * number / (100 if percent else 1), "" if percent else unit)


def split_unit(text: str, *, letters: bool = False) -> tuple[str, str]:
    """What stands before the trailing unit of tidy text, and the unit; empty where there is none.

    A single letter, as in `5 m`, is a unit in quotes, or where `letters` says so: it may be a variable.
    """
    temperature = _TEMPERATURE.search(text)
    if temperature:
        return text[: temperature.start()].strip(), f"°{temperature.group(1)}" if temperature.group(
            1
        ) else "degree"
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
    is_word = name.startswith(" ") and len(words[0]) > 2 and words[0].isalpha() and words[0] not in _NAMES
    is_unit = (
        (letters and name.startswith(" ") and len(words) == 1)
        or "/" in unit
        or any(len(word) > 1 for word in words)
    )
    known = is_percent(unit) or ((is_unit or quoted) and unit_factor(unit) is not None)
    if body.rstrip().endswith("\\") or not (quoted or is_word or known):
        return text, ""
    return body.strip(), unit if known else unit.casefold()


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
