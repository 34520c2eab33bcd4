r"""Reads the boxes of a text, and says which of them are its answer.

Goes in: a text with \boxed{...} or \fbox{...}. Comes out: the answer that the boxes state, or None. Boxes that
stand together are one answer, joined by commas; so are boxes with nothing between them that says which one
counts, so that a list of guesses is never right because of its last. Words that conclude or correct make the
boxes behind them the answer; a box that is taken back, with none behind it, is none. One pass over the text,
linear in its length.
"""

import re
from itertools import pairwise
from typing import NamedTuple

# An answer is short. What is longer than this is prose or noise.
ANSWER_CHARACTERS = 4_400
# Boxes further apart than this, with no word that joins them, are steps of one solution.
_GAP_CHARACTERS = 200
# Of a long text between two boxes only the two ends are read for words.
_READ_CHARACTERS = 4_400

# JSON that was escaped once more writes \\boxed; rows of an array end with \\ as well.
_BOX_START = re.compile(r"\\{1,4}(?:boxed|fbox|framebox)\s{0,20}\{")
_BRACE = re.compile(_BOX_START.pattern + r"|\\.|[{}]", re.DOTALL)
_UNBRACED = re.compile(
    r"\\{1,4}(?:boxed|fbox)[ ~]{0,3}(-?\d[\d,./]{0,30}(?<![,./])|[A-Za-z](?![A-Za-z{])"
    r"|\\[dt]?frac(?:\d\d|\{[^{}]{1,40}\}\{[^{}]{1,40}\}))"
)

_COMMAND = re.compile(r"(?<!\\)\\[A-Za-z]")

_EMPTY = re.compile(
    r"(?:\\(?:[hv]?phantom|rule|hspace)\{[^{}]{0,40}\}|\\(?:text|textbf|mathrm|underline)\{\s{0,9}\}"
    r"|\\(?:quad|qquad|square|Box|[ld]?dots|cdots)(?![a-z])|\\[ ,;:!]|[\s~_?.…*#□⬜$]){0,60}"
)
_PLACEHOLDER = re.compile(
    r"[\s$<\[({\\]*(?:text\{|textbf\{|mathrm\{)?\s*(?:(?:the|your|my|insert|put|final|numerical|correct|answer|result|"
    r"value|number|here|content|letter|solution)[ \\_]{0,3})+[\s$>\])}.]*|[\s.]*|n/?a|x{3,9}",
    re.IGNORECASE,
)

_CONCLUDES = re.compile(
    r"final (?:answer|result)|\bfinal(?:ly)?\W{0,3}:|in total|altogether|in conclusion|the answer|answer:"
    r"|\*\*answer|<answer>|最终|综上|答案",
    re.IGNORECASE,
)
_CORRECTS = re.compile(
    r"\b(?:wait|actually|correction|corrected|oops|mistake|incorrect|wrong|instead|rather|reconsider|re-?check|"
    r"double[- ]check|re-?evaluat|apolog|but no|no[,:]|should be|should have|thinking (?:about it )?again|"
    r"(?:on|upon) (?:\w{1,10} )?(?:reflection|inspection|second thoughts?))",
    re.IGNORECASE,
)
# An instruction, and no box.
_FORM = re.compile(r"\b(?:in|into|within|inside|using|with)\s(?:(?:a|the)\s)?[$`*\\(\s]{0,9}$", re.IGNORECASE)
_ALTERNATIVE = re.compile(
    r"\b(?:alternatively|or (?:maybe|perhaps|possibly|else)|maybe|perhaps|possibly|might be|could (?:also )?be|"
    r"also (?:be|an?|valid|possible|acceptable)"
    r"|another (?:possible |valid )?(?:answer|option|possibility|solution))"
    r"|(?:^|\n)\W{0,6}(?:part )?\(?[b-h]\)|\bpart \(?[b-h2-9]\b|或者",
    re.IGNORECASE,
)
_STEP = re.compile(
    r"\b(?:so|thus|hence|therefore|then|gives?|yields?|get|obtain|impl(?:y|ies)|leads?|means|making|substitut\w{0,5}|"
    r"plug\w{0,5}|step|next|finally|overall|total|sum|combin\w{0,5})\b|\\(?:implies|Rightarrow|rightarrow|therefore)"
    r"|⇒|→|因此|所以|故|则|从而",
    re.IGNORECASE,
)
# What a reference joins, it joins by one of these, or by nothing at all.
_JOINS = re.compile(r"[,;&=\d]|\b(?:and|or|et|ou|und|oder|y|o|e)\b|[和或及与]")
_WORD = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{2,}")
_APPROXIMATELY = re.compile(
    r"[\s$.,;:()\\]{0,9}(?:(?:or|which is|that is|i\.e\.|is)[\s,]{1,3})?"
    r"(?:\\approx|\\simeq|≈|≃|numerically|approximately|approx\.|about|roughly)[\s$.,;:()\\]{0,9}"
)
_NUMERIC = re.compile(r"(?P<sign>\\approx|\\simeq|≈|≃)?\s{0,3}-?[\d.,]{1,40}(?:\\ldots|\\dots|…)?")
_SPACING = re.compile(r"\\(?:left|right|displaystyle|[,;:! ])(?![a-z])|\{,\}|[\s$]|(?<=\d),(?=\d{3}(?!\d))")
_TERM = re.compile(r"[+-]?[^+-]+")


class Box(NamedTuple):
    """A box: its content, and where it begins and ends in the text."""

    content: str
    start: int
    end: int


class Boxes(NamedTuple):
    """The boxes of a text."""

    found: list[Box]
    "Outermost ones with something in them, in the order of the text."
    is_cut: bool
    "The text ends inside a box, or corrects its last box and gives an empty one."


def has_box(text: str) -> bool:
    return "boxed" in text or r"\fbox" in text or r"\framebox" in text


def read_boxes(text: str, problem: str = "") -> Boxes:
    r"""All boxes of the text; those that only repeat a box of the problem are left out.

    >>> [box.content for box in read_boxes(r"\boxed{\frac{1}{2}} or \boxed 3").found]
    ['\\frac{1}{2}', '3']
    """
    first = _BOX_START.search(text)
    closed: list[Box] = []
    is_cut = False
    if first is not None:
        closed, is_cut = _braced(text, first.start())
    outermost: list[Box] = []
    for box in reversed(closed):
        if not outermost or box.end <= outermost[-1].start:
            outermost.append(box)
    boxes = outermost[::-1]
    unbraced = [Box(match.group(1), match.start(), match.end()) for match in _UNBRACED.finditer(text)]
    if unbraced:
        last_end = boxes[-1].end if boxes else -1
        boxes += [box for box in unbraced if box.start >= last_end]
    restates = has_box(problem)
    found = [
        box._replace(content=content)
        for box in boxes
        if (content := _inner(box.content, text, box.start))
        and not (restates and _is_restated(box, text, problem))
    ]
    is_cut = is_cut and not (unbraced and boxes[-1] is unbraced[-1])
    return Boxes(found, is_cut or (len(found) < len(boxes) and _is_emptied(found, boxes[-1], text)))


def answer_of(boxes: list[Box], text: str, *, in_reference: bool = False) -> str | None:
    r"""The answer that the boxes state together. A reference does not hedge: words alone join no boxes of it.

    >>> text = r"either \boxed{1} or \boxed{2}"
    >>> answer_of(read_boxes(text).found, text)
    '1, 2'
    """
    if not boxes:
        return None
    if len(boxes) == 1:
        return boxes[0].content if len(boxes[0].content) <= ANSWER_CHARACTERS else None
    boxes = [boxes[0], *(box for before, box in pairwise(boxes) if not _approximates(before, box, text))]
    last = boxes[-1]
    group = {_spelling(last.content): last.content}
    following = last
    for box in reversed(boxes[:-1]):
        spelling = _spelling(box.content)
        if spelling not in group:
            gap = text[box.end : following.start]
            if not _belong_together(gap) or (in_reference and _is_prose(gap)):
                break
            group[spelling] = box.content
        following = box
    answer = ", ".join(reversed(group.values()))
    return answer if len(answer) <= ANSWER_CHARACTERS else None


def boxed_reference(text: str) -> str | None:
    r"""The answer that the boxes of a worked solution state; None if it has none, or ends inside of one.

    >>> boxed_reference(r"\boxed{x} or \boxed{\{1, 2\}}."), boxed_reference(r"\boxed{3}, \boxed{4")
    ('x, \\{1, 2\\}', None)
    """
    boxes = read_boxes(text) if has_box(text) else None
    return None if boxes is None or boxes.is_cut else answer_of(boxes.found, text, in_reference=True)


def is_placeholder(answer: str) -> bool:
    """Whether the answer is a gap to fill in, copied from an instruction."""
    return len(answer) <= 200 and (
        _EMPTY.fullmatch(answer) is not None or _PLACEHOLDER.fullmatch(answer) is not None
    )


def _is_restated(box: Box, text: str, problem: str) -> bool:
    """Whether the problem has the box, with the same words before or around it."""
    start = box.start
    behind = text[box.end : box.end + 6]
    return text[max(0, start - 12) : box.end] in problem or (
        len(behind.strip()) > 3 and text[max(0, start - 3) : box.end] + behind in problem
    )


def _braced(text: str, first: int) -> tuple[list[Box], bool]:
    """Boxes with braces in the order in which they close, and whether one behind the last is left open."""
    open_braces: list[tuple[int, int]] = []
    closed: list[Box] = []
    for match in _BRACE.finditer(text, first):
        token = match.group()
        if token == "}":
            if open_braces:
                start, opened = open_braces.pop()
                if start >= 0:
                    # Content of overlong boxes is cut: it is no answer, and copies of nests would be quadratic.
                    closed.append(
                        Box(text[opened : min(match.start(), opened + ANSWER_CHARACTERS + 1)], start, match.end())
                    )
        elif token == "{":
            open_braces.append((-1, match.end()))
        elif len(token) > 2:
            open_braces.append((match.start(), match.end()))
    end = closed[-1].end if closed else -1
    return closed, any(start >= end for start, _ in open_braces if start >= 0)


def _inner(content: str, text: str, start: int) -> str:
    """The content without boxes inside of it and doubled backslashes; empty where nothing stands in it."""
    if len(content) > ANSWER_CHARACTERS:
        return content
    if "boxed" in content or r"\fbox" in content:
        inner, _ = _braced(content, 0)
        content = inner[0].content if inner else content
    if text.startswith("\\\\", start) and _COMMAND.search(content) is None:
        content = content.replace("\\\\", "\\")
    content = content.strip()
    return "" if is_placeholder(content) else content


def _belong_together(gap: str) -> bool:
    """Whether nothing between two boxes says that the second one replaces the first or follows from it."""
    if len(gap) > 2 * _READ_CHARACTERS:
        gap = gap[:_READ_CHARACTERS] + "\n" + gap[-_READ_CHARACTERS:]
    if _CONCLUDES.search(gap) or _CORRECTS.search(gap):
        return False
    if _ALTERNATIVE.search(gap):
        return True
    return len(gap) <= _GAP_CHARACTERS and _STEP.search(gap) is None


def _is_prose(gap: str) -> bool:
    return _WORD.search(gap) is not None and not _JOINS.search(gap) and not _ALTERNATIVE.search(gap)


def _approximates(exact: Box, box: Box, text: str) -> bool:
    """Whether the box only says what the value in the box before it, which is no plain number, is about."""
    number = _NUMERIC.fullmatch(box.content)
    if number is None or _NUMERIC.fullmatch(exact.content) or box.start - exact.end > _GAP_CHARACTERS:
        return False
    return number["sign"] is not None or _APPROXIMATELY.fullmatch(text, exact.end, box.start) is not None


def _is_emptied(found: list[Box], box: Box, text: str) -> bool:
    """Whether the text ends in the box, which is empty, and says that it replaces the last one found."""
    if not found or box.start <= found[-1].start or text[box.end :].strip(" \n\t$.*)]}\\"):
        return False
    gap = text[max(found[-1].end, box.start - _READ_CHARACTERS) : box.start]
    return _CORRECTS.search(gap) is not None and not _FORM.search(gap[-40:])


def _spelling(content: str) -> str:
    """A form in which spellings of one value agree: no spacing, terms of a plain sum sorted."""
    spelling = _SPACING.sub("", content).replace("dfrac", "frac").replace("tfrac", "frac").rstrip(".,;")
    if len(spelling) > 100 or not ("+" in spelling or "-" in spelling) or any(c in spelling for c in "(){}[],=<>"):
        return spelling
    return "".join(sorted(term if term[0] in "+-" else "+" + term for term in _TERM.findall(spelling)))
