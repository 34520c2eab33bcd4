r"""Guesses at the answer of a response that marks none: a choice, its last formula or number, or all of it.

Goes in: a text, its problem and the options that it lists. Comes out: the answer, or None. A number or formula
that stands there as it stands in the problem is a restatement and no answer; nor is anything in a response that
gives up. All patterns are linear in the length of the text.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from mixdistill.verifiers.formulas import (
    NUMBER,
    Formula,
    last_display,
    last_inline,
    last_match,
    last_member,
    trim,
    with_percent,
)
from mixdistill.verifiers.marks import after_equals
from mixdistill.verifiers.notation import tidy
from mixdistill.verifiers.options import stated_choice, without_options
from mixdistill.verifiers.quantities import quantity

# Guesses are made in the end of a response alone: one from further up is worth nothing.
_TAIL_CHARACTERS = 20_000
# A response longer than this is not an answer as a whole.
_WHOLE_CHARACTERS = 200
# Numbers are tried backwards from the end, in the last lines only.
_LINE_CHARACTERS = 400
# Letters and digits on each side that say whether a number stands where the problem has it.
_CONTEXT = 8

_GIVES_UP = re.compile(
    r"\b(?:(?:I|we)(?: am|'m|’m| are)? (?:cannot|can ?not|can't|can’t|could not|couldn't|do not"
    r"|don't|don’t|unable to|not able to)"
    r" (?:solve|answer|determine|find|know|compute|help|be solved)"
    r"|(?:I|we)(?: am|'m|’m| are) (?:unable|not able|not sure|sorry)"
    r"|cannot (?:solve|answer|be (?:solved|answered|determined))|no idea|give up|not enough information)\b",
    re.IGNORECASE,
)
_OUTPUT = re.compile(r"```output\s{0,3}\n([^\n`]{1,200})\n\s{0,3}```")
_SENTENCE = re.compile(
    r"[.!?:;](?:\s|$)|\n|\b(?:is|are|was|has|have|be|we|you|he|she|it|the|to|of|that"
    r"|so|also|thus|then|hence|therefore|answer|equals|get|find|gives)\b|[是为為]|等于"
    r"|[\u3040-\u30ff\u3400-\u9fff]{2}\s?(?=[\d$\\])",
    re.IGNORECASE,
)
_PLAIN_WORD = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{2,}")
_COMMAND = re.compile(r"\\[A-Za-z]+(?:\{[A-Za-z ]{0,40}\})?")
_JOINING = re.compile(r"\b(?:and|or|per)\b|или|或|和")
_TAG = re.compile(r"</?[A-Za-z|]")
_DENIED_BEFORE = re.compile(r"(?:\bnot|n't|≠|\\neq?)\s{0,3}\$?$")
_NON_WORD = re.compile(r"[\W_]+")
# A number behind one of these is the end of an expression, not a value.
_OPERAND_BEFORE = re.compile(r"(?:[A-Za-z)\]}]\s?[+*/^×·]|[A-Za-z)\]}][-−]|\d\s?\^)\s?$")
_EXPRESSION_BEFORE = re.compile(
    r"(?<![\w.,^])(?:\d[\d.,]{0,20}\s?[-+*/×]\s?){1,10}$"
    r"|(?<![\w.,^])(?:[-−$]?\d[\d./]{0,20},\s){0,10}[-−$]?\d[\d./]{0,20},?\s(?:or|and)\s$"
)
_SENTENCE_END = re.compile(r"[.!?](?=\s)|\n|。")
_STATES = re.compile(r"(?:\b(?:is|are|equals|be|get|have|gives|makes)|=)\s{0,3}[*$]{0,3}$")
# Words and letters alone: a letter in them is a choice even if no options are known.
_MATHEMATICS = re.compile(r"[\d$\\^=]")
# "where $m$ is the mass" says what a letter stands for.
_WHERE = re.compile(
    r"(?:\bwhere|其中)[，,]?\s{0,3}(?:\$[A-Za-z]\$|\\\([A-Za-z]\\\))\s{0,3}(?:is|are|denotes|represents|stands|代表|表示|是|为)"
)
_LIST_MARK_BEHIND = re.compile(r"[.)]\s+\S")


class Guess(NamedTuple):
    """An answer that is guessed, and how."""

    answer: str
    rule: str


def guess(text: str, problem: str, options: Mapping[str, str]) -> Guess | None:
    """The best guess at the answer; None where the text holds nothing to guess by, or gives up."""
    text = _without_drawings(text)
    if _GIVES_UP.search(text, max(0, len(text) - 600)):
        return None
    text = without_options(text, options) if options else text
    if options or not _MATHEMATICS.search(text):
        choice = stated_choice(text, options) if len(_letters(text)) > 1 else None
        if choice is not None:
            return Guess(choice, "choice")
    letters = _letters(problem)
    found = _code_output(text, letters)
    if found is not None:
        return Guess(found, "code_output")
    whole = _whole(text, letters)
    if whole is not None:
        return Guess(whole, "whole")
    conclusion = after_equals(text)
    if conclusion is not None:
        return Guess(conclusion, "conclusion")
    return _last_value(text, letters)


def _without_drawings(text: str) -> str:
    if "[asy]" not in text:
        return text
    first, *others = text.split("[asy]")
    return first + "".join(other.rpartition("[/asy]")[2] for other in others)


def _code_output(text: str, problem_letters: str) -> str | None:
    """What the last program printed, or what the sentence behind it makes of that."""
    output = last_match(_OUTPUT, text) if "```output" in text else None
    if output is None or "```" in text[output.end() :]:
        return None
    printed = output.group(1).strip()
    if NUMBER.fullmatch(printed) is None:
        return None
    sentence = text[output.end() :]
    numbers = [
        number
        for number in NUMBER.finditer(sentence)
        if not _restates(sentence, number.start(), number.end(), problem_letters)
    ]
    if any(_is_same(number.group(), printed) for number in numbers) or not numbers:
        return printed
    return trim(numbers[0].group()) if len(numbers) == 1 else None


def _whole(text: str, problem_letters: str) -> str | None:
    """The response itself, where it is nothing but an answer."""
    text = text.strip()
    if len(text) > _WHOLE_CHARACTERS or "\n" in text or text.endswith("?") or _TAG.search(text):
        return None
    text = trim(text)
    if text.startswith("[") and text.endswith("]") and not any(mark in text for mark in ",;\\"):
        text = text[1:-1].strip()  # brackets of a form to fill in
    if not text or "$" in text[1:] or r"\(" in text or r"\[" in text:
        return None
    bare = _COMMAND.sub(" ", text)
    words = _PLAIN_WORD.findall(_JOINING.sub(" ", bare))
    starts_with_value = text[0] in "0123456789$\\-−+(["
    allowed = 3 if starts_with_value else 2 if any(character in "0123456789=\\$^" for character in text) else 1
    if len(words) > allowed or _SENTENCE.search(bare):
        return None
    letters = _letters(text)
    if len(letters) >= 2 * _CONTEXT and letters in problem_letters:
        return None
    return last_member(text)


def _last_value(text: str, problem_letters: str) -> Guess | None:
    """The last formula or number, whichever the end of the text is about."""
    text = _without_where(text)
    display, inline = last_display(text), last_inline(text)
    formula = max((one for one in (display, inline) if one is not None), key=lambda one: one.end, default=None)
    if formula is not None and _restates(text, formula.start, formula.end, problem_letters):
        formula = None
    number = _last_number(text, formula.end if formula is not None else 0, problem_letters)
    if formula is None or (number is not None and _replaces(number, formula, text)):
        return None if number is None else Guess(number.answer, "last_number")
    answer = with_percent(last_member(formula.content), text, formula.end)
    return Guess(answer, "display_math" if formula is display else "inline_math")


def _without_where(text: str) -> str:
    """The text without an explanation of its letters at the end."""
    where = _WHERE.search(text, max(0, len(text) - _LINE_CHARACTERS))
    is_last = where is not None and not any(c.isdigit() or c == "=" for c in text[where.start() :])
    return text[: where.start()] if where is not None and is_last else text


class _Number(NamedTuple):
    answer: str
    start: int


def _replaces(number: _Number, formula: Formula, text: str) -> bool:
    """Whether a number behind a formula is what the text ends in, and not a number in the rest of its sentence."""
    between = text[formula.end : number.start]
    return (
        formula.content.endswith((".", "。"))
        or _SENTENCE_END.search(between) is not None
        or _STATES.search(between) is not None
        or not any(character.isdigit() for character in formula.content)
    )


def _last_number(text: str, begin: int, problem_letters: str) -> _Number | None:
    """The last number of the last lines that does not stand there as in the problem."""
    for tail in (_LINE_CHARACTERS, _TAIL_CHARACTERS):
        first = max(begin, len(text) - tail)
        numbers = list(NUMBER.finditer(text, first))
        if numbers and numbers[0].start() == first > begin:
            del numbers[0]  # it may be a part of a longer one
        if numbers or first == begin:
            break
    for number in reversed(numbers):
        start, end = number.span()
        if numbers[-1].end() - end > _LINE_CHARACTERS:
            return None
        if _restates(text, start, end, problem_letters) or _is_list_mark(text, start, end):
            continue
        before = text[max(begin, start - 100) : start]
        if _DENIED_BEFORE.search(before) or _OPERAND_BEFORE.search(before):
            return None
        expression = _EXPRESSION_BEFORE.search(before)
        return _Number(trim((expression.group() if expression else "") + number.group()), start)
    return None


def _is_same(one: str, other: str) -> bool:
    """Whether two spellings are of one number."""
    first, second = quantity(tidy(one)), quantity(tidy(other))
    return first is not None and second is not None and first.number == second.number


def _letters(text: str) -> str:
    return _NON_WORD.sub("", text.casefold())


def _restates(text: str, start: int, end: int, problem_letters: str) -> bool:
    """Whether the problem has the same piece between the same letters."""
    if not problem_letters:
        return False
    before = _letters(text[max(0, start - 40) : start])[-_CONTEXT:]
    behind = _letters(text[end : end + 40])[:_CONTEXT]
    return len(before) + len(behind) >= _CONTEXT and before + _letters(text[start:end]) + behind in problem_letters


def _is_list_mark(text: str, start: int, end: int) -> bool:
    line_start = text.rfind("\n", 0, start) + 1
    return not text[line_start:start].strip(" *-#") and _LIST_MARK_BEHIND.match(text, end) is not None
