r"""Texts of problems as tokens, and how alike two of them are.

In: the text of a problem, in LaTeX or plain. Out: its tokens, free of everything that a copy may change without
changing the problem: case, white space, punctuation, the spelling of LaTeX. Numbers and operators stay, for they
are the problem; the shape of a text has its numbers masked. Decides nothing: `decontaminate` does.
"""

import re
import unicodedata
from collections.abc import Hashable, Sequence
from functools import cached_property
from itertools import pairwise

NUMBER = "0"
"What stands in the place of a number in a shape."

_LONGEST_TEXT = 20_000  # characters; what follows is not compared
_FIGURE = re.compile(r"\[asy\].*?(?:\[/asy\]|\Z)|\\begin\{(asy|tikzpicture)\}.*?(?:\\end\{\1\}|\Z)", re.S | re.I)

# Before NFKC, which would make x² into x2 and leave no trace of the power.
_SUPERSCRIPTS = {ord(sign): f"^{digit}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
_SIGNS = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "×": " * ", "·": " * ", "⋅": " * ", "∗": " * ", "÷": " / ", "⁄": "/",
        "≤": " <= ", "≥": " >= ", "≠": " != ", "≈": " approx ", "∞": " infty ", "√": " sqrt ", "π": " pi ",
        "∠": " angle ", "△": " triangle ", "°": " deg ", "…": " ", "→": " to ", "∈": " in ", "’": "'", "‘": "'",
    }
)  # fmt: skip
_COMMANDS = {
    "frac": r" \frac ", "dfrac": r" \frac ", "tfrac": r" \frac ", "cfrac": r" \frac ",
    "cdot": " * ", "times": " * ", "ast": " * ", "div": " / ", "le": " <= ", "leq": " <= ", "leqslant": " <= ",
    "ge": " >= ", "geq": " >= ", "geqslant": " >= ", "ne": " != ", "neq": " != ", "lt": " < ", "gt": " > ",
    "lvert": " | ", "rvert": " | ", "vert": " | ", "mid": " | ", "lbrack": " [ ", "rbrack": " ] ",
    "circ": " deg ", "degree": " deg ", "tbinom": " binom ", "dbinom": " binom ", "rightarrow": " to ",
    "longrightarrow": " to ", "land": " and ", "lor": " or ", "varphi": " phi ", "varepsilon": " epsilon ",
    "over": " / ", "bar": " overline ",
    "tan": " tan ", "tg": " tan ", "emptyset": " varnothing ", "pmod": " mod ", "bmod": " mod ", "bullet": " ",
} | dict.fromkeys(
    # How it looks, not what it says.
    ("left", "right", "middle", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr",
     "text", "textbf", "textit", "textrm", "textsf", "texttt", "mbox", "hbox", "emph", "mathrm", "mathbf",
     "mathit", "mathsf", "mathcal", "mathbb", "boldsymbol", "operatorname", "displaystyle", "textstyle",
     "scriptstyle", "limits", "nolimits", "quad", "qquad", "hspace", "vspace", "space", "thinspace", "enspace",
     "hfill", "noindent", "dots", "ldots", "cdots", "dotsc", "dotsb", "dotsm", "rm", "bf", "it", "par", "item",
     "newline", "nonumber", "underline", "displaylimits", "ensuremath", "label", "tag", "centering", "phantom",
     "hline", "cline"),
    " ",
)  # fmt: skip
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{\s*[a-zA-Z]+\s*\*?\s*\}(?:\s*\{[|lcr@!>.]*\})?")
_SPACING = re.compile(r"\\[,;:!>\s/]|~|\\\\(?:\[[^\]]*\])?|&")
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|\\,|\\!|,|\\ )+(?=\d{3}(?!\d))")
_COMMAND = re.compile(r"\\([a-zA-Z]+)\*?")
_FRAC = "\\frac"
_TOKEN = re.compile(
    r"\\frac|[{}]|\d+(?:\.\d+)?|\.\d+"
    r"|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"  # scripts without spaces: a character is a word
    r"|[^\W\d_]+"
    r"|<=|>=|!=|[-+*/=<>^_|()\[\]%]"
    r"|(?<=[\d)])!|(?<=[a-z])'(?=\()"  # factorials and derivatives; elsewhere these end sentences and words
    r"|[^\s\w.,;:!?\"'`$\\{}&~]"  # signs of puzzles
)
_IS_NUMBER = re.compile(r"[\d.]+")
_NUMBER_WORDS = frozenset({
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty", "thirty", "forty", "fifty",
    "sixty", "seventy", "eighty", "ninety", "hundred", "thousand", "million",
})  # fmt: skip


class Text:
    """A problem's text, taken apart; each view is made when it is first asked for."""

    def __init__(self, text: str) -> None:
        self._text = text[:_LONGEST_TEXT]

    @cached_property
    def tokens(self) -> list[str]:
        """Words, numbers, operators and brackets in order, without code of figures."""
        return tokenise(_FIGURE.sub(" ", self._text))

    @cached_property
    def all_tokens(self) -> list[str]:
        """The same with the code of figures."""
        return tokenise(self._text) if _FIGURE.search(self._text) else self.tokens

    @cached_property
    def key(self) -> str:
        """Equal for texts that differ only in what `tokenise` takes away."""
        return " ".join(self.all_tokens)

    @cached_property
    def words(self) -> list[str]:
        """Words and numbers in order."""
        return [token for token in self.tokens if token[0].isalnum() or token[0] == "."]

    @cached_property
    def shape(self) -> list[str]:
        """The tokens with numbers masked, several in a row as one."""
        masked = [mask(token) for token in self.tokens]
        return [token for before, token in pairwise(["", *masked]) if (before, token) != (NUMBER, NUMBER)]

    @cached_property
    def masked_words(self) -> list[str]:
        """The words with numbers masked."""
        return [mask(word) for word in self.words]

    @cached_property
    def n_words(self) -> int:
        """Different words of two letters or more: names of variables say little, and neither does sin sin sin."""
        return len({word for word in self.words if len(word) > 1 and word[0].isalpha()})


def tokenise(text: str) -> list[str]:
    r"""The tokens of a text, lower case.

    >>> tokenise(r"Find $\dfrac{1}{2} \cdot x^{2}$, if \(x \leqslant 1{,}000\).")
    ['find', '1', '/', '2', '*', 'x', '^', '2', 'if', 'x', '<=', '1000']
    """
    text = text.translate(_SUPERSCRIPTS).translate(_SIGNS)
    text = unicodedata.normalize("NFKC", text)
    if not text.isascii():
        text = text.translate(_SIGNS)
    text = _THOUSANDS.sub("", text)
    if "\\" in text:
        text = _plain(text)
    tokens: list[str] = _TOKEN.findall(text.lower())
    return _without_braces(tokens) if "{" in tokens or _FRAC in tokens else tokens


def _plain(text: str) -> str:
    """LaTeX without what only tells how it looks; fractions are all spelled alike."""
    text = _ENVIRONMENT.sub(" ", text.replace(r"\$", " ").replace(r"\%", "%"))
    text = text.replace(r"\(", " ").replace(r"\)", " ").replace(r"\[", " ").replace(r"\]", " ")
    text = _SPACING.sub(" ", text)
    return _COMMAND.sub(lambda match: _COMMANDS.get(match[1], f" {match[1]} "), text)


def _without_braces(tokens: list[str]) -> list[str]:
    """The tokens without braces, and with a slash between the two parts of a fraction."""
    kept: list[str] = []
    is_upper: list[bool] = []  # for each open brace: does it hold the upper part of a fraction?
    pending = False
    for token in tokens:
        if token == _FRAC:
            pending = True
        elif token == "{":
            is_upper.append(pending)
            pending = False
        elif token == "}":
            if is_upper and is_upper.pop():
                kept.append("/")
        elif pending:  # \frac12 is a half
            kept += [token[0], "/", token[1:]] if token[1:] else [token, "/"]
            pending = False
        else:
            kept.append(token)
    return kept


def mask(token: str) -> str:
    """The token, or the mark of a number."""
    return NUMBER if _IS_NUMBER.fullmatch(token) or token in _NUMBER_WORDS else token


def shingles(tokens: Sequence[str], size: int) -> set[str]:
    """All runs of so many tokens; the whole where there are fewer."""
    if len(tokens) <= size:
        return {" ".join(tokens)} if tokens else set()
    return {" ".join(tokens[start : start + size]) for start in range(len(tokens) - size + 1)}


def jaccard(one: set[str], other: set[str]) -> float:
    """Shared ones as a share of all, in [0, 1]; 0 for two empty sets."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def shared_runs(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Where, in the first, the runs stand that both have in the same order: start and end."""
    from rapidfuzz.distance import LCSseq

    opcodes = LCSseq.opcodes(one, other)
    return [(code.src_start, code.src_end) for code in opcodes if code.tag == "equal"]
