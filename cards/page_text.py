"""Cuts a text into plain parts and formulas, as people and models write them.

In: a text. Out: its pieces in order; put together they are the text again. Pure: nothing is drawn here, and
nothing is lost. A formula is what stands in $$..$$, \\(..\\), \\[..\\], a bare environment such as align or a bare
\\boxed{..}; and in $..$ where it is no money. A fenced code block has none.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

# What is longer is no formula but a mark that was forgotten; and what draws formulas recurses on their parts.
MAX_FORMULA_CHARS = 3000
# Of 32,669 formulas in benchmark problems and model responses none has more than 5 braces open at once.
MAX_NESTING = 40
_ENVIRONMENTS = r"align|alignat|aligned|array|cases|eqnarray|equation|gather|multline|[bpvBV]?matrix|split"
_MARK = re.compile(
    r"(?P<fence>^[ \t]*(?:`{3,}|~{3,}))|(?P<escaped>\\\\|\\\$)|(?P<open>\$\$|\\\[|\\\()|(?P<dollar>\$)"
    rf"|\\begin\{{(?P<environment>(?:{_ENVIRONMENTS})\*?)\}}|(?P<box>\\f?boxed\{{)",
    re.MULTILINE,
)
_CLOSING = {"$$": "$$", r"\[": r"\]", r"\(": r"\)"}
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_DOLLAR_END = re.compile(r"\\.|\n[ \t]*\n|[${}]", re.DOTALL)
_TEXT_IN_MATHS = re.compile(
    r"\\(?:text|mbox|textbf|textit|textrm|mathrm|operatorname)\*?\s*\{[^{}]*\}|\\[a-zA-Z]+"
)
_PROSE = re.compile(
    r"\b[A-Za-z][a-z]{2,}[,.;:]?[ \n]+[a-z]{2,}(?![a-z(])|\sa [a-z]{3,}"
    r"|\s(?:an|and|at|for|from|in|is|of|on|or|per|than|the|to|was|with)\s"
)
_ONLY_OF_MATHS = re.compile(r"\\[a-zA-Z]|[\^_=]")
_DOLLARS_IN_BOX = re.compile(r"(\\f?boxed\{)\$([^$]*)\$\}")
_PLAIN_BOX = re.compile(r"(\\f?boxed\{)([^\\$^_{}]*)\}")
_WORD = re.compile(r"[^\W\d_]{3}")


class Piece(NamedTuple):
    """A part of a text: plain, or a formula."""

    text: str
    "What stands in the text, marks and all."
    formula: str | None = None
    "The formula without its marks; None for a plain part."
    display: bool = False
    "Whether the formula stands on a line of its own."


def cut(text: str) -> list[Piece]:
    """The pieces of a text.

    >>> [piece.formula for piece in cut("It costs $5 or $6, so $x = 5$.")]
    [None, 'x = 5', None]
    """
    pieces, done = [], 0
    for start, piece in _formulas(text):
        if start > done:
            pieces.append(Piece(text[done:start]))
        pieces.append(piece)
        done = start + len(piece.text)
    if done < len(text):
        pieces.append(Piece(text[done:]))
    return pieces


def _formulas(text: str) -> Iterator[tuple[int, Piece]]:
    """The formulas with the places where they begin."""
    place = 0
    while mark := _MARK.search(text, place):
        start, place = mark.span()
        if mark["fence"]:
            place = _end_of_fence(text, place, mark["fence"].strip())
        elif not mark["escaped"] and (piece := _formula_at(text, mark)):
            yield start, piece
            place = start + len(piece.text)
        elif mark["dollar"] or mark["open"] == "$$":
            place = start + 1


def _end_of_fence(text: str, start: int, fence: str) -> int:
    end = re.compile(rf"^[ \t]*{re.escape(fence)}", re.MULTILINE).search(text, start)
    return end.end() if end else len(text)


def _formula_at(text: str, mark: "re.Match[str]") -> Piece | None:
    start, inside = mark.span()
    limit = start + MAX_FORMULA_CHARS
    if mark["dollar"]:
        return _between_dollars(text, start, limit)
    if mark["open"]:
        closing = _CLOSING[mark["open"]]
        end = text.find(closing, inside, limit)
        if end < 0 or not text[inside:end].strip():
            return None
        return Piece(text[start : end + len(closing)], text[inside:end], mark["open"] != r"\(")
    if mark["environment"]:
        closing = rf"\end{{{mark['environment']}}}"
        end = text.find(closing, inside, limit)
        formula = text[start : end + len(closing)]
        return Piece(formula, formula, True) if end >= 0 else None
    box = text[start : _end_of_braces(text, inside, limit)]
    return Piece(box, _as_latex(box)) if len(box) > len(mark[0]) else None


def _between_dollars(text: str, start: int, limit: int) -> Piece | None:
    """The formula that a dollar opens: the next dollar outside braces closes it, if it stands not before a digit.

    White space beside the dollars, which money has, needs something that only maths has.
    """
    end = _end_of_dollars(text, start + 1, limit)
    if end is None or text[end + 1 : end + 2].isdigit():
        return None
    formula = text[start + 1 : end]
    is_tight = formula == formula.strip() != ""
    if not (is_tight or _ONLY_OF_MATHS.search(formula)) or _PROSE.search(_TEXT_IN_MATHS.sub(" ", formula)):
        return None
    return Piece(text[start : end + 1], _as_latex(formula))


def _end_of_dollars(text: str, inside: int, limit: int) -> int | None:
    """Where the next dollar stands that is in no braces, in the same paragraph."""
    depth = 0
    for found in _DOLLAR_END.finditer(text, inside, limit):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if not 0 <= depth <= MAX_NESTING or found[0][0] == "\n":
            return None
        if found[0] == "$" and depth == 0:
            return found.start()
    return None


def _as_latex(formula: str) -> str:
    """The formula as LaTeX knows it: no dollars right within a box, and words in one as text."""
    bare = _DOLLARS_IN_BOX.sub(r"\1\2}", formula)
    return _PLAIN_BOX.sub(lambda box: rf"{box[1]}\text{{{box[2]}}}}}" if _WORD.search(box[2]) else box[0], bare)


def _end_of_braces(text: str, inside: int, limit: int) -> int:
    """Where the brace that was opened before `inside` is closed; `inside` if it is not."""
    depth = 1
    for found in _BRACE.finditer(text, inside, limit):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return found.end()
        if depth > MAX_NESTING:
            break
    return inside
