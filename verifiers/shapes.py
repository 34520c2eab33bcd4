r"""Splits an answer into its parts: one value, a list, a set, a tuple or interval, a matrix, a relation.

Goes in: tidy text. Comes out: a Shape whose parts are tidy text again, so that the cheap and the symbolic
comparison walk over the same structure and differ only in how they compare two single values. Nothing is
compared here.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from mixdistill.verifiers.moments import moment

_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_SEPARATORS = re.compile(r"[,;]|(?<!\\)\band\b|(?<!\\)(?:\b|(?<=\d))or(?=\b|[A-Z]\()")
_SEMICOLONS, _ORS, _COLON = re.compile(";"), re.compile(r"\bor\b"), re.compile(r":(?!=)")
_RELATIONS = re.compile(r"\\(?:le|ge|ne|lt|gt|approx|equiv)(?![A-Za-z])|<=|>=|!=|[<>=]")
_APPROXIMATELY = re.compile(r"\\approx(?![A-Za-z])")
_RELATION_NAMES = {
    "<=": r"\le", ">=": r"\ge", "!=": r"\ne", r"\lt": "<", r"\gt": ">", r"\approx": "=", r"\equiv": "=",
}  # fmt: skip
_THOUSANDS = re.compile(r"(?:(?<=[1-9])|(?<=\d\d)),(?=\d{3}(?!\d))")
_MATRIX = re.compile(
    r"[(\[]?\s*\\begin\{([a-uw-z]?matrix|array)\}(?:\{[lcr| ]*\})?(.*)\\end\{\1\}\s*[)\]]?", re.DOTALL
)
_CASES = re.compile(r"\\begin\{cases\}((?:(?!\\begin).)*)\\end\{cases\}", re.DOTALL)
_NOTHING = frozenset({"no solution", "no solutions", "no real solution", "no real solutions", "empty set"})
_LETTERS = r"(?:[A-Z]+|[A-Za-z]|\\(?!frac|sqrt|pi(?![A-Za-z])|sin|cos|tan|log|ln)[A-Za-z]+\s?|\"[^\"]*\")"
_SUB = r"(?:_\s?(?:\{[^{}]*\}|[A-Za-z0-9]))?'*"
_ARGUMENT = r"(?:\(\s*[a-z](?:\s*,\s*[a-z])*\s*\))?"
# A name that a value is given to: x, x_1, f(x), AB, |AB|, \angle ABC, \Delta p, S_1:S_2, \frac{NO}{BO}.
_NAME = re.compile(
    rf"(?:\\(?:angle|triangle|Delta|delta|overline|bar|vec)\s*)?\{{?{_LETTERS}\}}?{_SUB}{_ARGUMENT}"
    rf"|\|{_LETTERS}\|"
    rf"|\\frac\s*\{{{_LETTERS}{_SUB}\}}\s*\{{{_LETTERS}{_SUB}\}}"
    rf"|{_LETTERS}{_SUB}\s*[:/]\s*{_LETTERS}{_SUB}"
    r"|[A-Za-z]'?\s?\([^()=]{1,60}\)"  # P(A), f(2)
    r"|[A-Za-z](?:\s?\+\s?[A-Za-z]){1,5}"  # m + n
    r"|\\(?:sin|cos|tan|cot|sec|csc)\s?(?:[A-Za-z]|\\[a-z]{2,7})"
    r"|\\frac\s?\{d[A-Za-z]\}\s?\{d[A-Za-z]\}|[A-Za-z]'"
)
_UNKNOWNS = frozenset("xyz")
_UNION = re.compile(r"\\cup(?![A-Za-z])")
MEMBER = re.compile(r"^([A-Za-z]|\\[a-z]+)\s*\\in(?![A-Za-z])\s*")
"The name in front of the set that it is an element of."

RELATIONS = frozenset({"=", "<", ">", r"\le", r"\ge", r"\ne"})


class Shape(NamedTuple):
    r"""The kind of an answer, and its parts as tidy text.

    Kinds: `single`; `list` (bare, by commas), `set` (\{ \}) and `union`, where order means nothing; `()`,
    `[]`, `(]`, `[)` and `matrix 2x3`, where it does; a relation sign with its two sides.
    """

    kind: str
    parts: tuple[str, ...]


@lru_cache(maxsize=4096)
def shape(text: str) -> Shape:
    r"""The outermost structure of tidy text.

    >>> shape("(1, 2]").kind, shape(r"\{1, 2\}").parts, shape("1,234").kind, shape("3, 4").kind
    ('(]', ('1', '2'), 'single', 'list')
    """
    text = MEMBER.sub("", _strip_braces(text.strip().removeprefix(r"\approx ")))
    if text in (r"\emptyset", r"\{\}", r"\{ \}") or text.strip('" ').casefold() in _NOTHING:
        return Shape("set", ())
    cases = _CASES.fullmatch(text)
    if cases:
        return Shape("list", tuple(row.strip(" ,;&.") for row in cases.group(1).split("\\\\") if row.strip()))
    matrix = _MATRIX.fullmatch(text)
    if matrix and text.count(r"\begin") == 1:
        rows = [row.split("&") for row in re.split(r"\\\\", matrix.group(2)) if row.strip()]
        cells = tuple(cell.strip() for row in rows for cell in row)
        return Shape(f"matrix {len(rows)}x{len(rows[0]) if rows else 0}", cells)
    if wraps(text, r"\{", r"\}"):
        return Shape("set", _split(text[2:-2]))
    if text[:1] in ("(", "[") and text[-1:] in (")", "]") and wraps(text, text[0], text[-1]):
        parts = _split(text[1:-1])
        if len(parts) > 1:
            return Shape(text[0] + text[-1], parts)
    text = "".join(cut(text, _THOUSANDS, strip=False))
    for kind, pieces in (("union", cut(text, _UNION)), ("list", _split(text))):
        if len(pieces) > 1:
            return Shape(kind, pieces)
    return _relation(text) or _plus_minus(text) or _ratio(text) or Shape("single", (text,))


def assigned_name(relation: Shape) -> str | None:
    """The name on the left of `name = value`; None for any other shape, such as the line y = x."""
    if relation.kind != "=" or set(relation.parts) <= _UNKNOWNS:
        return None
    name = relation.parts[0]
    names = name[1:-1].replace(" ", "").split(",") if name[:1] + name[-1:] == "()" else [name]
    return name if all(map(_NAME.fullmatch, names)) else None


def as_interval(relation: Shape) -> Shape | None:
    r"""The interval of `x < 5` or `1 < x \le 2`; None for what is no such inequality.

    >>> as_interval(shape(r"1 < x \le 2"))
    Shape(kind='(]', parts=('1', '2'))
    """
    signs, sides = relation.kind.split(), relation.parts
    if signs and set(signs) <= {">", r"\ge"}:
        signs = ["<" if sign == ">" else r"\le" for sign in reversed(signs)]
        sides = sides[::-1]
    names = [at for at, side in enumerate(sides) if _NAME.fullmatch(side)]
    if not signs or not set(signs) <= {"<", r"\le"} or len(names) != 1:
        return None
    left = "(" if signs[0] == "<" else "["
    right = ")" if signs[-1] == "<" else "]"
    if len(sides) == 3 and names == [1]:
        return Shape(left + right, (sides[0], sides[2]))
    if len(sides) == 2:
        if names == [0]:
            return Shape(f"({right}", (r"-\infty", sides[1]))
        return Shape(f"{left})", (sides[0], r"\infty"))
    return None


def _relation(text: str) -> Shape | None:
    """Two sides around one sign; what a chain of equalities says of its names, or its ends; what is exact."""
    exact = next((text[: m.start()].rstrip() for m in outside(text, _APPROXIMATELY)), "")
    if exact and _NAME.fullmatch(exact) is None:
        return shape(exact)
    sides = cut(text, _RELATIONS)
    if len(sides) < 2 or not all(sides):
        return None
    signs = [_RELATION_NAMES.get(sign, sign) for sign in _signs(text)]
    if len(sides) == 2:
        return Shape(signs[0], sides)
    if set(signs) != {"="}:
        return Shape(" ".join(signs), sides)
    names = [side for side in sides if _NAME.fullmatch(side)]
    value = next((side for side in reversed(sides) if side not in names), sides[-1])
    given = tuple(f"{name} = {value}" for name in dict.fromkeys(names) if name != value)
    return Shape("list", given) if len(given) > 1 else Shape("=", (sides[0], sides[-1]))


def _plus_minus(text: str) -> Shape | None:
    r"""Both values of an expression with one \pm."""
    halves = re.split(r"\\pm(?![A-Za-z])", text)
    if len(halves) != 2 or r"\mp" in text:
        return None
    return Shape("list", (f"{halves[0]}+{halves[1]}", f"{halves[0]}-{halves[1]}"))


def _ratio(text: str) -> Shape | None:
    """The parts of 3:4:5; a time of day is one value."""
    parts = cut(text, _COLON)
    if len(parts) < 2 or not all(parts) or moment(text) is not None:
        return None
    return Shape("ratio", parts)


def _split(text: str) -> tuple[str, ...]:
    """Parts between commas, semicolons, "and", "or"; groups of parts where these stand above commas."""
    for above in (_SEMICOLONS, _ORS):
        groups = [part for part in cut(text, above) if part]
        inner = [[part for part in cut(group, _SEPARATORS) if part] for group in groups]
        sizes = {len(parts) for parts in inner}
        if len(groups) > 1 and len(sizes) == 1 and sizes != {1}:
            return tuple(f"({', '.join(parts)})" for parts in inner)
    return tuple(part for part in cut(text, _SEPARATORS) if part)


def cut(text: str, mark: re.Pattern[str], *, strip: bool = True) -> tuple[str, ...]:
    """The pieces between the marks that stand outside of all brackets and quotes."""
    pieces, start = [], 0
    for match in outside(text, mark):
        pieces.append(text[start : match.start()])
        start = match.end()
    pieces.append(text[start:])
    return tuple(piece.strip() for piece in pieces) if strip else tuple(pieces)


def _signs(text: str) -> list[str]:
    return [match.group() for match in outside(text, _RELATIONS)]


def outside(text: str, mark: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """The marks that stand outside of all brackets and quotes."""
    depth, at = 0, 0
    for match in mark.finditer(text):
        between = text[at : match.start()]
        depth += sum(c in _OPENING for c in between) - sum(c in _CLOSING for c in between)
        at = match.start()
        quoted = text.count('"', 0, at) % 2 and match.group() in ",;=<>"
        if depth == 0 and not quoted:
            yield match


def wraps(text: str, opening: str, closing: str) -> bool:
    """Whether the first bracket is closed by the last, whatever its kind, as in (1, 2]."""
    if not (text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing)):
        return False
    depth = 0
    for at, character in enumerate(text):
        depth += (character in _OPENING) - (character in _CLOSING)
        if depth == 0 and at < len(text) - 1 and character in _CLOSING:
            return False
    return depth == 0


def _strip_braces(text: str) -> str:
    while wraps(text, "{", "}"):
        text = text[1:-1].strip()
    return text
