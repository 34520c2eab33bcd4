r"""Reads a set of real numbers however it is written, so that `x < -2 or x > 5` is (-\infty,-2) \cup (5,\infty).

Goes in: tidy text: intervals, finite sets, \cup, \cap, \setminus, \mathbb{R}, inequalities in one variable joined
by "and", "or" or commas. Comes out: its intervals, merged and in order, or None for what is no such set. End
points are computed to sixty digits, which is what tells two of them apart.
"""

import math
import re
from fractions import Fraction
from typing import NamedTuple

from mixdistill.verifiers.latex import parse
from mixdistill.verifiers.shapes import MEMBER, Shape, as_interval, cut, outside, shape, wraps
from mixdistill.verifiers.tokens import Unreadable
from mixdistill.verifiers.values import number_value

_GRID = 1 << 200
_OPERATORS = re.compile(r"\\(?:cup|cap|setminus)(?![A-Za-z])|\\(?=\s*\\\{)|\\backslash(?![A-Za-z])")
_JOINTS = re.compile(r"[,;]|\band\b|\bor\b|\\(?:land|wedge|lor|vee)(?![A-Za-z])")
_UNION = frozenset({"or", r"\lor", r"\vee"})
_BOTH = frozenset({"and", r"\land", r"\wedge"})
_BUILDER = re.compile(r"^\\\{\s*[A-Za-z]\s*(?:\\in\s*\\?R\s*)?(?:\||:|\\mid(?![A-Za-z]))(.*)\\\}$")
_REALS = frozenset({"R", r"\R", r"\Re", "{R}", "all real numbers", '"all real numbers"', "all reals"})
_ABSOLUTE = re.compile(r"(?<![A-Za-z])abs\(\s?([a-z])\s?\)")
_MAGNITUDE = re.compile(r"\|\s?[a-z]\s?\|")
_MOST_INTERVALS = 60
_MARKS = (r"\cup", r"\cap", r"\setminus", "<", ">", r"\le", r"\ge", r"\ne", "]", r"\in", "R", "real")

End = Fraction | float


class Interval(NamedTuple):
    """An interval, or a point where both ends are one."""

    low: End
    low_closed: bool
    high: End
    high_closed: bool


RealSet = tuple[Interval, ...]
_LINE: RealSet = (Interval(-math.inf, False, math.inf, False),)


def is_set(text: str) -> bool:
    """Whether the text can only be a set or a condition, and no point or number."""
    return any(mark in text for mark in _MARKS)


def real_set(text: str) -> RealSet | None:
    r"""The set in tidy text; None if it is none, or one with other numbers than constants.

    >>> real_set("x < 2 or x > 5") == real_set(r"(-\infty,2) \cup (5,\infty)")
    True
    """
    text = _ABSOLUTE.sub(r"|\1|", MEMBER.sub("", text.strip()).strip())
    builder = _BUILDER.match(text)
    if builder:
        return real_set(builder.group(1))
    if text in _REALS:
        return _LINE
    pieces = cut(text, _OPERATORS)
    if len(pieces) > 1:
        return _operated(pieces, [mark.group() for mark in outside(text, _OPERATORS)])
    if wraps(text, "(", ")") and _OPERATORS.search(text):
        return real_set(text[1:-1])
    return _simple(text)


def _operated(pieces: tuple[str, ...], marks: list[str]) -> RealSet | None:
    result = real_set(pieces[0])
    for mark, piece in zip(marks, pieces[1:], strict=True):
        other = real_set(piece)
        if result is None or other is None:
            return None
        if mark == r"\cup":
            result = _union(result, other)
        else:
            result = _intersection(result, other if mark == r"\cap" else _complement(other))
    return result


def _simple(text: str) -> RealSet | None:
    form = shape(text)
    if form.kind in ("()", "(]", "[)", "[]") and len(form.parts) == 2:
        return _interval(form)
    if form.kind == r"\ne" and form.parts[0].isalpha():
        point = _end(form.parts[1])
        return None if point is None else _complement((Interval(point, True, point, True),))
    bounds = as_interval(form)
    if bounds is not None:
        within = _interval(bounds)
        return _mirrored(within) if within is not None and any(map(_MAGNITUDE.fullmatch, form.parts)) else within
    if form.kind == "set" or (text[:1] == "{" and form.kind in ("list", "single")):
        return _points(form.parts)
    if form.kind == "list":
        return _conditions(text)
    return None


def _conditions(text: str) -> RealSet | None:
    r"""Inequalities and points: "or" joins them, "and" cuts; commas cut where something is left."""
    marks = [mark.group() for mark in outside(text, _JOINTS)]
    parts = [piece for piece in cut(text, _JOINTS) if piece]
    names = {
        match.group() for piece in parts for match in re.finditer(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])", piece)
    }
    sets = [_condition(piece) for piece in parts]
    known = [s for s in sets if s is not None]
    if (
        len(known) != len(sets)
        or not known
        or len(names) > 1
        or all(len(s) == 1 and s[0].low == s[0].high for s in known)
    ):
        return None
    union, common = known[0], known[0]
    for one in known[1:]:
        union, common = _union(union, one), _intersection(common, one)
    if any(mark in _UNION for mark in marks):
        return union
    return common if any(mark in _BOTH for mark in marks) else common or union


def _condition(piece: str) -> RealSet | None:
    form = shape(piece)
    if form.kind == "=" and form.parts[0].isalpha():
        return _points(form.parts[1:])
    return None if form.kind in ("list", "single") else _simple(piece)


def _interval(form: Shape) -> RealSet | None:
    low, high = _end(form.parts[0]), _end(form.parts[1])
    if low is None or high is None or low > high:
        return None
    left, right = form.kind[0] == "[" and low != -math.inf, form.kind[1] == "]" and high != math.inf
    return () if low == high and not (left and right) else (Interval(low, left, high, right),)


def _mirrored(sizes: RealSet) -> RealSet:
    """The numbers whose absolute value is in the set."""
    upper = _intersection(sizes, (Interval(Fraction(0), True, math.inf, False),))
    return _union(upper, tuple(Interval(-i.high, i.high_closed, -i.low, i.low_closed) for i in upper))


def _points(parts: tuple[str, ...]) -> RealSet | None:
    points = [_end(part) for part in parts]
    known = [point for point in points if isinstance(point, Fraction)]
    if len(known) != len(points) or len(points) > _MOST_INTERVALS:
        return None
    return _merge([Interval(point, True, point, True) for point in known])


def _end(text: str) -> End | None:
    bare = text.replace(" ", "").replace("{", "").replace("}", "")
    if bare in (r"\infty", r"+\infty", "oo", "+oo", "infty", "infinity", "inf"):
        return math.inf
    if bare in (r"-\infty", "-oo", "-infty", "-infinity", "-inf"):
        return -math.inf
    try:
        value = number_value(parse(text))
    except Unreadable:
        return None
    if value is None:
        return None
    mantissa, exponent = value.mid().man_exp()
    if abs(int(exponent)) > 10_000:
        return None
    return Fraction(round(Fraction(int(mantissa)) * Fraction(2) ** int(exponent) * _GRID), _GRID)


def _merge(intervals: list[Interval]) -> RealSet:
    merged: list[Interval] = []
    for one in sorted(intervals, key=lambda i: (i.low, not i.low_closed)):
        last = merged[-1] if merged else None
        if last and (one.low < last.high or (one.low == last.high and (one.low_closed or last.high_closed))):
            high = max((last.high, last.high_closed), (one.high, one.high_closed))
            merged[-1] = Interval(last.low, last.low_closed, *high)
        else:
            merged.append(one)
    return tuple(merged)


def _union(one: RealSet, other: RealSet) -> RealSet:
    return _merge([*one, *other])


def _complement(one: RealSet) -> RealSet:
    gaps: list[Interval] = []
    low, closed = -math.inf, False
    start: End = low
    for interval in one:
        if start < interval.low or (start == interval.low and closed and not interval.low_closed):
            gaps.append(
                Interval(start, closed, interval.low, not interval.low_closed and interval.low != -math.inf)
            )
        start, closed = interval.high, not interval.high_closed
    if start < math.inf:
        gaps.append(Interval(start, closed, math.inf, False))
    return tuple(gaps)


def _intersection(one: RealSet, other: RealSet) -> RealSet:
    return _complement(_union(_complement(one), _complement(other)))
