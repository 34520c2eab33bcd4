r"""Compares answers by their type: formulas of a problem, choices, numbers with a tolerance, texts.

In: the reference, the answer as it was found, and what `grading` read besides. Out: an Equality. Pure functions
that evaluate nothing and take time in proportion to the text.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import product

from mixdistill.records import Leniency
from mixdistill.verifiers.equality import Equality
from mixdistill.verifiers.equivalence import compare_quickly, too_long
from mixdistill.verifiers.notation import LONGEST_ANSWER, choice_letter, is_words, tidy
from mixdistill.verifiers.options import read_options
from mixdistill.verifiers.quantities import Quantity, quantity
from mixdistill.verifiers.units import conversion, units_differ

_PERCENT = re.compile(r"\\?%|percent(?:age)?|per cent", re.IGNORECASE)
_WRAPPED = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|emph|boxed)\s*\{([^{}]*)\}")
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "`": "'"})
_LETTER = r"\(?([A-Za-z])[).:]*"
_ONE_LETTER = re.compile(rf"{_LETTER}")
_SEVERAL_LETTERS = re.compile(r"[\s(]*[A-Z](?:(?:[\s,;&()]|and(?![a-z]))+[A-Z])+[\s).]*")
_NAMED_LETTER = re.compile(
    r"(?:the )?(?:correct |right |final )?(?:answer|option|choice)(?: is)?:? (?:option )?"
    r"\(?([A-Z])(?:[).:]+|(?= )|$)",
    re.IGNORECASE,
)
# In a reference: `C Cecile`. In an answer the letter may be an article or begin a text.
_LETTER_AND_TEXT = re.compile(r"([A-Z])\s+(?=\S)")
_LABELLED = re.compile(r"\(([A-Z])\)[.:]?|([A-Z])[).:]")
# Letters of options in Arabic, and those that East Asian texts write in full width.
_LETTERS_ELSEWHERE = dict(zip("أبجدهＡＢＣＤＥ", "ABCDEABCDE", strict=True))
_EQUALS = re.compile(r"[A-Za-z]\w{0,9}\s*(?:=|\\approx|≈)")


def compare_choice(reference: str, answer: str, *, options: Mapping[str, str]) -> Equality:
    """Whether the answer chooses what the reference does, by letter or by the text of an option.

    >>> compare_choice("B", "13", options={"A": "12", "B": "13"}).status
    'correct'
    >>> compare_choice("B", "(B) 12", options={"A": "12", "B": "13"}).reason
    'the letter B and the text of option A contradict one another'
    """
    if len(reference) > LONGEST_ANSWER or len(answer) > LONGEST_ANSWER:
        return too_long(reference)
    wanted = _choose(_bare(reference), options, is_reference=True)
    if isinstance(wanted, str):
        return Equality("unscored", "choice", f"the reference names no choice: {wanted}")
    chosen = _choose(_bare(answer), options)
    if isinstance(chosen, str):
        # A text that is none of the options is a wrong answer; without options nobody can tell.
        return Equality("incorrect" if options else "unparsable", "choice", chosen)
    if chosen == wanted:
        return Equality("correct", "choice", "it is the same choice")
    if len(wanted) == 1 < len(chosen):
        return Equality("incorrect", "choice", "several choices are named, the reference is one")
    return Equality("incorrect", "choice", "it is another choice")


def compare_math(reference: str, answer: str, problem: str, leniency: Leniency) -> Equality | None:
    """Equality of formulas; of options that the problem lists; of 10% and 10 where it asks for a percentage."""
    options = read_options(problem)
    if options and choice_letter(tidy(reference), labelled=True) in options:
        return compare_choice(reference, answer, options=options)
    equality = compare_quickly(reference, answer, leniency)
    if equality is None or equality.status == "correct":
        return equality
    chosen = compare_choice(reference, answer, options=options) if options else equality
    if chosen.status == "correct":
        return chosen
    is_percent = [_PERCENT.search(text) is not None for text in (reference, answer)]
    if leniency == "strict" or all(is_percent) or not any(is_percent) or not _PERCENT.search(problem):
        return equality
    bare = compare_quickly(_PERCENT.sub("", reference), _PERCENT.sub("", answer), leniency)
    if bare is None or bare.status != "correct":
        return equality
    return Equality("correct", bare.method, f"{bare.reason}; the problem asks for a percentage")


def as_letter(answer: str, options: Mapping[str, str]) -> str:
    r"""The letter alone where the answer is `b`, `B. 13`, `B) 13` or `B: 13`; any other answer as it is.

    >>> options = {"A": "12", "B": "13"}
    >>> as_letter("b", options), as_letter(r"\text{B. } 13", options), as_letter("B. 12", options)
    ('B', 'B', 'B. 12')
    """
    if len(answer) > LONGEST_ANSWER:
        return answer
    text = _bare(answer)
    letter = _ONE_LETTER.fullmatch(text)
    if letter is not None:
        name = letter.group(1)
        is_text = any(_text_key(option) == name.casefold() for option in options.values())
        is_written_so = name.isupper() and name in answer
        return answer if is_text or is_written_so or name.upper() not in options else name.upper()
    match = _LABELLED.match(text)
    chosen = None if match is None or match.group(1) else _choose_labelled(text, options)
    return "".join(chosen) if isinstance(chosen, frozenset) else answer


def compare_number(reference: str, answer: str, *, absolute: float | None, relative: float | None) -> Equality:
    """Whether two numbers differ by no more than a tolerance; where both are given, either will do.

    >>> compare_number("3.14159", "3.14", absolute=0.01, relative=None).status
    'correct'
    """
    if len(reference) > LONGEST_ANSWER or len(answer) > LONGEST_ANSWER:
        return too_long(reference)
    wanted, stated = _number(reference), _number(answer)
    if wanted is None:
        return Equality("unscored", "number", "the reference is not a number")
    if stated is None and is_words(tidy(answer)):
        return Equality("incorrect", "number", "the answer is words, the reference a number")
    if stated is None:
        return Equality("unparsable", "number", "the answer is not a number")
    pairs = product(wanted.readings(), stated.readings())
    wanted, stated = min(pairs, key=lambda pair: abs(pair[0].number - pair[1].number))
    ratio = conversion(wanted.unit, stated.unit)
    if ratio is None and units_differ(wanted.unit, stated.unit):
        return Equality("incorrect", "unit", f"the units {wanted.unit} and {stated.unit} differ")
    difference = abs(wanted.number - stated.number * (1 if ratio is None else ratio))
    if difference == 0:
        return Equality("correct", "number", "the numbers are equal")
    allowed = max(_exact(absolute), _exact(relative) * abs(wanted.number))
    if not allowed:
        return Equality("incorrect", "number", "the numbers differ")
    if difference <= allowed:
        return Equality("correct", "number", "the numbers differ by no more than the tolerance")
    return Equality("incorrect", "number", "the numbers differ by more than the tolerance")


def compare_text(reference: str, answer: str, *, allowed: Sequence[str]) -> Equality:
    """Whether the answer is the reference or another allowed text, but for case, quotes, edges and spaces.

    >>> compare_text("Zürich", " “ZÜRICH”. ", allowed=[]).status, compare_text("on", "no", allowed=[]).status
    ('correct', 'incorrect')
    """
    wanted = [key for key in map(_text_key, (reference, *allowed)) if key]
    if not wanted:
        return Equality("unscored", "text", "the reference is empty")
    stated = _text_key(answer)
    if stated not in wanted:
        return Equality("incorrect", "text", "the texts differ")
    what = "the texts are the same" if stated == wanted[0] else "it is one of the allowed texts"
    return Equality("correct", "text", what)


def unwrap_text(text: str) -> str:
    r"""The text without dollar signs and without \text{...} and its like around words."""
    for _ in range(3):  # as deep as they are nested in practice
        text = _WRAPPED.sub(r" \1 ", text)
    return " ".join(text.replace("$", " ").replace("\\ ", " ").replace("~", " ").split())


def _bare(text: str) -> str:
    """One line of an answer or an option, without marks of LaTeX and Markdown around it."""
    text = unwrap_text(text).replace("**", " ").strip("\"' ")
    text = re.sub(r"\(\s*([A-Za-z])\s*\)", r"(\1)", " ".join(text.split()))
    return _LETTERS_ELSEWHERE.get(text.strip("()."), text)


def _choose(text: str, options: Mapping[str, str], *, is_reference: bool = False) -> frozenset[str] | str:
    """The letters that a text names, or why it names none."""
    match = _ONE_LETTER.fullmatch(text)
    if match is not None:
        letter = match.group(1).upper()
        if options and letter not in options:
            return f"there is no option {letter}"
        return frozenset({letter})
    if _SEVERAL_LETTERS.fullmatch(text):
        letters = frozenset(re.findall("[A-Z]", text.replace("and", " ")))
        return letters if not options or letters <= options.keys() else "there is no such option"
    by_text = [letter for letter, option in options.items() if _is_same(option, text)]
    if len(by_text) == 1:
        return frozenset(by_text)
    if by_text:
        return f"the options {' and '.join(by_text)} have the same text"
    lettered = _LETTER_AND_TEXT.match(text) if is_reference else None
    if lettered is not None:
        text = f"({lettered.group(1)}) {text[lettered.end() :]}"
    return _choose_labelled(text, options)


def _choose_labelled(text: str, options: Mapping[str, str]) -> frozenset[str] | str:
    """The letter in `(B) 13`, `B. 13`, `option B`; a text behind it must not be that of another option."""
    match = _LABELLED.match(text) or _NAMED_LETTER.match(text)
    if match is None:
        return "the answer is none of the options" if options else "the answer names no choice"
    letter = next(group for group in match.groups() if group).upper()
    if options and letter not in options:
        return f"there is no option {letter}"
    rest = text[match.end() :].strip(" .:,-—–=")
    others = {found.upper() for groups in _LABELLED.findall(rest) for found in groups if found} - {letter}
    if others & (options.keys() or others):
        return "several choices are named"
    if rest and options and not _is_same(options[letter], rest):
        for other, option in options.items():
            if other != letter and _is_same(option, rest):
                return f"the letter {letter} and the text of option {other} contradict one another"
        if quantity(tidy(rest)) is not None and quantity(tidy(options[letter])) is not None:
            return f"the letter {letter} and the number behind it contradict one another"
    return frozenset({letter})


def _is_same(option: str, text: str) -> bool:
    if _text_key(option) == _text_key(text):
        return True
    equality = compare_quickly(option, text)
    return equality is not None and equality.status == "correct"


def _number(text: str) -> Quantity | None:
    """The number that an answer states, with its unit. The number that a `number` answer states, with its unit."""
    bare = tidy(text)
    match = _EQUALS.match(bare)
    return quantity(bare[match.end() :].strip() if match else bare)


def _exact(tolerance: float | None) -> Fraction:
    """The tolerance as it was written: 0.01 is a hundredth, not the nearest binary fraction."""
    return Fraction(0) if tolerance is None else Fraction(repr(float(tolerance)))


def _text_key(text: str) -> str:
    """Equal for texts that differ only in what does not count."""
    text = unicodedata.normalize("NFKC", unwrap_text(text)).translate(_QUOTES).casefold()
    start, end = 0, len(text)
    while start < end and _is_edge(text[start]):
        start += 1
    while start < end and _is_edge(text[end - 1]):
        end -= 1
    return " ".join(text[start:end].split())


def _is_edge(character: str) -> bool:
    """Whether a character counts for nothing at the ends: white space, and punctuation that carries no value."""
    return character.isspace() or character in "\"'.,;:!?*_()[]"
