r"""Finds the answer that a response states, and says by which rule.

Goes in: the text of a response, at any length. Comes out: the answer as it stands there (LaTeX or plain)
and the rule that found it, or None. The rules are tried from the strongest to the weakest; a strong rule is
a mark that the writer set on purpose, a weak one (WEAK_RULES) is a guess at where the answer must be.
Whether the answer is right is not decided here. All patterns are linear in the length of the text.
"""

import re
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from mixdistill.text import after_hashes, last_boxed

WEAK_RULES = frozenset({"display_math", "inline_math", "last_number"})
"Rules that guess; they say nothing about a response that was cut."

# Numbers are looked for in the end of a response alone: a guess from further up is worth nothing.
_TAIL_CHARACTERS = 20_000
# An answer is short. What is longer than this behind a mark is prose, and is cut before anything reads it.
_ANSWER_CHARACTERS = 2_000

_PLACEHOLDERS = frozenset({"", "...", r"\ldots", r"\dots", "answer", "your answer", "final answer", "n/a"})
_ANSWER_TAG = re.compile(r"<answer>([^<]{1,2000})</answer>", re.IGNORECASE)
_FINAL_ANSWER = re.compile(r"final answer\**[ \t]{0,3}:", re.IGNORECASE)
_ANSWER_IS = re.compile(r"\b(?:the|my|our)[ \t](?:final[ \t]|correct[ \t])?answer[ \t]is\b", re.IGNORECASE)
_ANSWER_LINE = re.compile(r"^[ \t*>#_-]{0,6}(?:a|ans|answer)[*_]{0,3}[ \t]{0,3}:", re.I | re.MULTILINE)
_INLINE = re.compile(r"\\\(|\\\)|(?<![\\$])\$(?!\$)")
_PAIRS = frozenset({r"\(\)", r"\[\]", "$$", "$$$$"})
_DISPLAY = re.compile(r"\\\[|\\\]|\$\$")
_NUMBER = re.compile(
    r"(?<![\w.,/])(?:(?<![)\]}])[-+−])?[$£€]?"  # a minus behind an operand subtracts
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:/\d+(?![\d.]))?%?"
)
_INLINE_MATH = re.compile(
    r"^\s{0,3}(?:\$\$?([^$]{1,2000})\$\$?|\\\((.{1,2000}?)\\\)|\\\[(.{1,2000}?)\\\])", re.DOTALL
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")


_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{4,}")


class _Formula(NamedTuple):
    content: str
    end: int


class FoundAnswer(NamedTuple):
    """An answer and the rule that found it."""

    answer: str
    rule: str


def find_answer(response: str) -> FoundAnswer | None:
    r"""The answer that the response states; None if it states none.

    Text up to the last `</think>` is thinking and is left out. Where a box was begun and holds no answer,
    only the strong rules count.

    >>> find_answer("<think>2?</think>16 - 7 = 9, so the answer is 18.")
    FoundAnswer(answer='18', rule='answer_is')
    """
    text = response[response.rfind("</think>") + len("</think>") :] if "</think>" in response else response
    has_box = r"\boxed" in text or r"\fbox" in text
    for rule, find in _RULES.items():
        if has_box and rule in WEAK_RULES:
            return None
        answer = find(text)
        if answer is not None and answer.strip().strip("*$").casefold() not in _PLACEHOLDERS:
            # A lone surrogate can be written to no file.
            return FoundAnswer(answer.strip().encode("utf-8", "replace").decode(), rule)
    return None


def _boxed(text: str) -> str | None:
    answer = last_boxed(text)
    return answer if answer is None or len(answer) <= _ANSWER_CHARACTERS else None


def _answer_tag(text: str) -> str | None:
    answers = _ANSWER_TAG.findall(text)
    return _trim(answers[-1]) if answers else None


def _final_answer(text: str) -> str | None:
    return _after_last(_FINAL_ANSWER, text)


def _answer_is(text: str) -> str | None:
    return _after_last(_ANSWER_IS, text)


def _hashes(text: str) -> str | None:
    answer = after_hashes(text)
    return None if answer is None else _trim(answer[:_ANSWER_CHARACTERS])


def _answer_line(text: str) -> str | None:
    return _after_last(_ANSWER_LINE, text)


def _display_math(text: str) -> str | None:
    r"""The last \[...\] or $$...$$; of a chain of equalities, the last member."""
    formula = _last_formula(_DISPLAY, text)
    return None if formula is None else _last_member(formula.content)


def _inline_math(text: str) -> str | None:
    r"""The last $...$ or \(...\), unless a number comes behind it."""
    formula = _last_formula(_INLINE, text)
    if formula is None or _WORD.search(formula.content):  # words between dollars that are money
        return None
    if _NUMBER.search(text, formula.end):
        return None
    return _last_member(formula.content)


def _last_number(text: str) -> str | None:
    last = _last_match(_NUMBER, text[-_TAIL_CHARACTERS:])
    return None if last is None or len(last.group()) > _ANSWER_CHARACTERS else last.group()


# From the strongest to the weakest.
_RULES: dict[str, Callable[[str], str | None]] = {
    "boxed": _boxed,
    "answer_tag": _answer_tag,
    "final_answer": _final_answer,
    "answer_is": _answer_is,
    "hashes": _hashes,
    "answer_line": _answer_line,
    "display_math": _display_math,
    "inline_math": _inline_math,
    "last_number": _last_number,
}


def _after_last(mark: re.Pattern[str], text: str) -> str | None:
    """What the text says after the last mark: to the end of the sentence, or the formula that comes first."""
    last = _last_match(mark, text)
    if last is None:
        return None
    behind = text[last.end() : last.end() + 3 * _ANSWER_CHARACTERS].lstrip(" \t:*_\r\n")
    nested = _ANSWER_IS.match(behind)
    if nested is not None:
        behind = behind[nested.end() :].lstrip(" \t:*_\r\n")
    formula = _INLINE_MATH.match(behind)
    if formula is not None and not re.match(r"\s{0,3}(?:,|and\b|or\b)", behind[formula.end() :]):
        return _trim(next(group for group in formula.groups() if group is not None))
    end = _SENTENCE_END.search(behind)
    sentence = behind if end is None else behind[: end.start()]
    sentence = re.split(r"\b(?:is|are)\b", sentence)[-1]
    return _trim(sentence) if len(sentence) <= _ANSWER_CHARACTERS else None


def _last_formula(marks: re.Pattern[str], text: str) -> _Formula | None:
    """The last formula between an opening mark and its closing one."""
    formula, opening = None, None
    for mark in marks.finditer(text):
        if opening is not None and opening.group() + mark.group() in _PAIRS:
            formula, opening = _Formula(text[opening.end() : mark.start()].strip(), mark.end()), None
        else:
            opening = mark
    return None if formula is None or len(formula.content) > _ANSWER_CHARACTERS else formula


def _last_member(formula: str) -> str:
    """The last member of a chain of equalities; any other formula as it is."""
    return _trim(formula.rpartition("=")[2] if formula.count("=") > 1 else formula)


def _last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def _trim(answer: str) -> str:
    r"""The answer without emphasis, one pair of dollars, \( \) and final punctuation around it."""
    answer = answer.strip().strip("*_`").strip()
    answer = answer.rstrip(".,;: ")
    for opening, closing in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        inner = answer[len(opening) : -len(closing)]
        if answer.startswith(opening) and answer.endswith(closing) and inner and opening not in inner:
            answer = inner.strip()
    return answer.strip("*` \t\n").rstrip(".,;: ")
