r"""Copies of a problem, altered as problems are when they are handed on: what decontamination has to find.

In: the text of a problem and a seed. Out: a copy that is altered in one way, or None where that way changes
nothing. All rules are spelled out here, none asks a model: `reworded` is milder than what a paraphrasing model
does.
"""

import random
import re
from collections.abc import Callable

_SHORTEST_CUT = 10  # words that a truncated copy has at least; fewer say nothing of where they are from
_CUT = 0.6
_MATHS = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_SPELLINGS: tuple[tuple[str, str], ...] = (
    (r"\\frac(?=\{)", r"\\dfrac"), (r"\\dfrac(?=\{)", r"\\tfrac"), (r"\\leq?(?![a-z])", r"\\leqslant"),
    (r"\\geq?(?![a-z])", r"\\geqslant"), (r"\\ldots", r"\\dots"), (r"\\cdots", r"\\dots"), (r"\\neq", r"\\ne"),
    (r"(?<!\\left)\(", r"\\left("), (r"(?<!\\right)\)", r"\\right)"), (r"\^(\w)", r"^{\1}"), (r"_(\w)", r"_{\1}"),
    (r"\^\{(\w)\}", r"^{ \1 }"), (r",(?=\S)", r",\\,"), (r"=", r" = "), (r"\\times", r"\\cdot"),
)  # fmt: skip
_SYNONYMS = {
    "find the number of": "determine the count of", "how many": "what number of",
    "what is the value of": "evaluate", "what is": "determine", "what are": "find", "find": "determine",
    "compute": "calculate", "determine": "find", "calculate": "work out", "evaluate": "compute",
    "simplify": "write in simplest form", "suppose": "assume",
    "positive integers": "natural numbers", "positive integer": "natural number", "such that": "for which",
    "smallest": "least", "largest": "greatest", "greatest": "largest", "least": "smallest", "exactly": "precisely",
    "each": "every", "equal to": "the same as", "sum of": "total of", "contains": "has", "contain": "have",
    "distinct": "different", "there are": "we have", "given that": "if", "in terms of": "using",
    "satisfying": "that satisfy", "respectively": "in that order", "chosen": "picked", "total": "overall",
    "at least": "no fewer than", "at most": "no more than", "possible": "feasible", "passes": "goes",
}  # fmt: skip
_NAMES = {
    "Alice": "Maya", "Bob": "Igor", "Tom": "Jonas", "John": "Peter", "Mary": "Lena", "James": "Oscar",
    "Sam": "Theo",
    "Jane": "Ida", "Jack": "Emil", "Mr": "Dr", "Ann": "Eva", "Anna": "Elsa", "Ben": "Max", "Paul": "Erik",
    "Emily": "Clara", "Sarah": "Nora", "Mike": "Anton", "David": "Felix", "Lisa": "Greta", "Elizabeth": "Johanna",
    "Janet": "Karin", "Beth": "Rosa", "Alicia": "Wanda", "Xenia": "Olga", "Sergey": "Viktor", "Joe": "Karl",
}  # fmt: skip
_SAID = re.compile(
    rf"(?<![\\\w])(?:{'|'.join(sorted(_SYNONYMS, key=len, reverse=True))}|{'|'.join(_NAMES)})(?!\w)", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z])")


def verbatim(text: str, draw: random.Random) -> str | None:
    """The text itself."""
    return text


def respaced(text: str, draw: random.Random) -> str | None:
    """Other white space: runs of it between words, line breaks, none around operators in formulas."""
    words = re.split(r"\s+", text)
    blanks = ("  ", "\n", "\t", " \n ", "\N{NO-BREAK SPACE}", " ")
    joined = "".join(word + draw.choice(blanks) for word in words)
    return _in_maths(joined, lambda maths: re.sub(r"\s*([=+<>])\s*", r"\1", maths))


def respelled(text: str, draw: random.Random) -> str | None:
    """Formulas in another spelling of LaTeX; None where there is none."""

    def respell(maths: str) -> str:
        for old, new in _SPELLINGS:
            maths = re.sub(old, new, maths)
        return maths

    altered = _in_maths(text, respell, r"\(", r"\)")
    return altered if altered != text else None


def renumbered(text: str, draw: random.Random) -> str | None:
    """Every number is another one, of as many digits or one more; None where there is none."""

    def other(match: re.Match[str]) -> str:
        longest = min(len(match[0]) + draw.choice((0, 0, 1)), 15)
        number = match[0]
        while int(number) == int(match[0]):
            number = str(draw.randrange(2, 10**longest))
        return number

    altered = re.sub(r"\d+", other, text, flags=re.ASCII)
    return altered if altered != text else None


def reworded(text: str, draw: random.Random) -> str | None:
    """Synonyms, other names, and for every second one the question first; None where no rule applies."""

    def other(match: re.Match[str]) -> str:
        return _NAMES.get(match[0]) or _SYNONYMS.get(match[0].lower()) or match[0]

    altered = _SAID.sub(other, text)
    sentences = _SENTENCE.split(altered)
    if len(sentences) > 1 and draw.random() < 0.5:
        altered = " ".join([sentences[-1], *sentences[:-1]])
    return altered if altered != text else None


def truncated(text: str, draw: random.Random) -> str | None:
    """The first three fifths of the words; None where fewer than ten would be left."""
    words = text.split(" ")
    left = int(len(words) * _CUT)
    return " ".join(words[:left]) if left >= _SHORTEST_CUT else None


ALTERATIONS: dict[str, Callable[[str, random.Random], str | None]] = {
    "verbatim": verbatim,
    "whitespace": respaced,
    "latex": respelled,
    "renumbered": renumbered,
    "reworded": reworded,
    "truncated": truncated,
}


def _in_maths(text: str, alter: Callable[[str], str], opening: str = "", closing: str = "") -> str:
    """The text with its formulas altered, and between other marks where these are given."""

    def replace(match: re.Match[str]) -> str:
        maths = next(group for group in match.groups() if group is not None)
        width = 2 if match[0].startswith(("$$", "\\")) else 1
        marks = (opening, closing) if opening and width == 1 else (match[0][:width], match[0][-width:])
        return f"{marks[0]}{alter(maths)}{marks[1]}"

    return _MATHS.sub(replace, text)
