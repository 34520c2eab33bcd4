r"""Formulas and numbers in prose: where the last one stands, and what a chain of equalities states.

Goes in: text with LaTeX between dollars, \( \) and \[ \], or with plain numbers. Comes out: formulas with their
place, numbers with sign, fraction and percent, the last member of a chain. What a formula is worth is not
decided here. All patterns are linear in the length of the text.
"""

import re
from collections import deque
from typing import NamedTuple

from mixdistill.boxes import ANSWER_CHARACTERS

_SIMPLE = (
    r"(?:\d+(?:(?:,|\{,\})\d+)*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,4}(?!\w))?(?::\d+)*(?:/\d+(?!\.?\d))?(?:\^\{?[-−]?\d+\}?)?"
    r"(?:\s?(?:\\times|\\cdot|[×x*·])\s?10\s?\^\s?\{?[-+−]?\d+\}?)?"
)
_PERCENT = r"\s?(?:\\?%|percent(?:age)?\b|per cent\b|pct\b)"
# Chinese, Japanese and Korean put no space before a number.
_NO_SPACES = r"(?<=[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])"
# A minus behind an operand subtracts; a power or an index is part of something larger; 3rd and 5x are no numbers.
NUMBER = re.compile(
    rf"(?:(?<![\w.,/^\\])(?<!\)\[)|{_NO_SPACES})(?:(?<![)\]}}])[-+−]\s?)?(?:\\?[$£€])?"
    rf"(?:{_SIMPLE}(?!\d|[.,]\d|\._|(?:st|nd|rd|th|[xyzn])\b)|\\[dt]?frac\{{[^{{}}]{{1,40}}\}}\{{[^{{}}]{{1,40}}\}})(?:{_PERCENT})?"
)
PERCENT_BEHIND = re.compile(r"(?:\$|\\\))?" + _PERCENT)

_PAIRS = frozenset({r"\(\)", r"\[\]", "$$", "$$$$"})
_INLINE = re.compile(r"\\\(|\\\)|(?<![\\$])\$(?!\$)")
_DISPLAY = re.compile(r"\\\[|\\\]|\$\$|\\(?:begin|end)\{(?:align|alignat|gather|equation|multline|eqnarray)\*?\}")
_TEXT = re.compile(r"\\(?:text\w{0,4}|mathrm|mbox|operatorname)\s?\{[^{}]{0,80}\}")
_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{4,}")

_ALIGNED = re.compile(r"\\begin\{(?:align|aligned|alignat|gather|gathered|split|equation|multline|eqnarray)\*?\}")
_ALIGNED_END = re.compile(
    r"\\end\{(?:align|aligned|alignat|gather|gathered|split|equation|multline|eqnarray)\*?\}"
)
_TOKEN = re.compile(
    r"(?P<open>[{(\[]|\\begin)|(?P<close>[})\]]|\\end)|(?P<approx>\\(?:approx|simeq|doteq)|≈)"
    r"|(?P<split>[,;]|\\q?quad|\\\\|\\(?:text|mbox)\{\s{0,3}(?:and|or|if|for|when|where)\b|\\(?:land|lor|implies|Rightarrow|iff)(?![a-z])"
    r"|(?<=[\d)}\s])(?:or|and)(?=[\sA-Z\\(]))"
    r"|(?P<relation>[<>≤≥≠]|!=|:=|\\(?:le|ge|leq|geq|ne|neq|lt|gt|in|equiv|pmod|cong)(?![a-z]))"
    r"|(?P<equal>=)|\\[A-Za-z]+|\\."
)
_ROW = re.compile(r"\\begin|\\end|\\\\")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{\w{1,20}\*?\}")
_GREEK = re.compile(
    r"\\(?:alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|phi|varphi|psi|omega|rho|sigma|tau|angle|triangle|vec)(?![a-z])"
)
_FUNCTION = re.compile(
    r"\\[A-Za-z]+|(?<![A-Za-z])(?:sin|cos|tan|cot|log|ln|sqrt|exp|max|min|gcd|lcm|mod|pi|abs|floor|ceil)(?![A-Za-z])"
)
_UNKNOWN = re.compile(r"[A-DF-HJ-Za-df-hj-zΑ-ω]")
# What these bind is no unknown.
_BINDER = re.compile(r"\\(?:lim|sum|prod|int)(?![a-z])")


APPROXIMATELY = re.compile(r"\\(?:approx|simeq|doteq)|≈")


class Formula(NamedTuple):
    """A formula and where it begins and ends, dollars included."""

    content: str
    start: int
    end: int


def last_display(text: str) -> Formula | None:
    return _last_formula(_DISPLAY, text)


def last_inline(text: str) -> Formula | None:
    """The last formula in a line; None where the dollars are money."""
    formula = _last_formula(_INLINE, text)
    return None if formula is None or _WORD.search(_TEXT.sub("", formula.content)) else formula


def with_percent(content: str, text: str, end: int) -> str:
    """The content, with a percent sign if one, or the word, stands behind it."""
    return content + r"\%" if PERCENT_BEHIND.match(text, end) and "%" not in content else content


def last_member(formula: str) -> str:
    r"""What a formula states: the last member of a chain of equalities, exact before approximate.

    An equation with an unknown is kept whole.

    >>> last_member(r"x = 3 + 4 = 7"), last_member(r"x=\frac13\approx0.33"), last_member(r"\sqrt{4} = 2")
    ('7', 'x=\\frac13', '2')
    """
    formula = _last_row(formula.strip())
    if "=" not in formula and APPROXIMATELY.search(formula) is None:
        return trim(formula)
    formula = formula.rstrip(" .,;\\")
    equals: list[int] = []
    depth = 0
    for match in _TOKEN.finditer(formula):
        kind = match.lastgroup
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(0, depth - 1)
        elif depth or kind is None:
            continue
        elif kind == "equal":
            equals.append(match.end())
        elif kind == "approx":
            if not equals and _has_unknown(formula[: match.start()]):
                return trim(formula[match.end() :])
            return last_member(formula[: match.start()])
        else:
            return trim(formula)
    if not equals:
        return trim(formula)
    left, right = formula[: equals[-1] - 1].strip(), formula[equals[-1] :].strip()
    if not right:
        return trim(formula)
    is_computed = not _has_unknown(right) and (not _has_unknown(left) or _BINDER.search(left) is not None)
    if len(equals) > 1 or not left or is_computed:
        return trim(right)
    return trim(formula)


def last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def trim(answer: str) -> str:
    r"""The answer without emphasis, one pair of dollars, \( \) and final punctuation around it."""
    answer = answer.strip().strip("*_`").strip()
    answer = answer.rstrip(".,;:。，；： ")
    for opening, closing in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        inner = answer[len(opening) : -len(closing)]
        if answer.startswith(opening) and answer.endswith(closing) and inner and opening not in inner:
            answer = inner.strip()
    if answer.endswith("$") and answer.count("$") == 1:
        answer = answer[:-1]
    return answer.strip("*` \t\n").rstrip(".,;:。 ")


def _last_formula(marks: re.Pattern[str], text: str) -> Formula | None:
    """The last formula between an opening mark and its closing one."""
    formula, opening = None, None
    for mark in marks.finditer(text):
        if opening is not None and _is_pair(opening.group(), mark.group()):
            formula, opening = (opening, mark), None
        else:
            opening = mark
    if formula is None:
        return None
    opened, closed = formula
    if opened.group().startswith(r"\begin"):
        content = text[opened.start() : closed.end()]
    else:
        content = text[opened.end() : closed.start()].strip()
    return Formula(content, opened.start(), closed.end()) if 0 < len(content) <= ANSWER_CHARACTERS else None


def _is_pair(opening: str, closing: str) -> bool:
    return opening + closing in _PAIRS or (opening.startswith(r"\begin") and closing.startswith(r"\end"))


def _last_row(formula: str) -> str:
    """The last row of an aligned formula; any other as it is."""
    if _ALIGNED.match(formula) is None:
        return formula
    body = _ALIGNED_END.sub("", _ALIGNED.sub("", formula))
    depth, row_start, row = 0, 0, ""
    for match in _ROW.finditer(body):
        depth += {r"\begin": 1, r"\end": -1}.get(match.group(), 0)
        if depth <= 0 and match.group() == r"\\":
            row, row_start = body[row_start : match.start()], match.end()
    row = body[row_start:] if body[row_start:].strip() else row
    return row.strip().lstrip("&").replace("&=", "=").replace("=&", "=").strip()


def _has_unknown(expression: str) -> bool:
    expression = _TEXT.sub("", _ENVIRONMENT.sub("", expression))
    return _GREEK.search(expression) is not None or _UNKNOWN.search(_FUNCTION.sub(" ", expression)) is not None
