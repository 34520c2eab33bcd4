r"""Reads the spelling of an answer: LaTeX and plain text in one form, words, choices.

`tidy` turns the many spellings of LaTeX and of plain text into one, in which `"..."` stands for \text{...},
`°` for a degree mark and `¤` for a dollar sign that is money. The other functions take tidy text. Numbers are
read by `quantities`, formulas by `latex`.
"""

import re
import unicodedata
from functools import lru_cache

# Longer texts are no answers. Numbers that are not longer than this stay under Python's own limit of 4,300 digits.
LONGEST_ANSWER = 4_500
MOST_DIGITS = 4_200

_CHARACTERS = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": r"\div ",
        "π": r"\pi ", "∞": r"\infty ", "√": r"\sqrt ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ",
        "∪": r"\cup ", "∈": r"\in ", "∅": r"\emptyset ", "θ": r"\theta ", "⁄": "/", "º": "°", "′": "'",
        "“": "", "”": "", '"': "", "½": r"\frac{1}{2}",
        "\xa0": " ", "\u2009": " ", "\u202f": " ", "∖": "\\", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]", "∗": "*",
        "≈": r"\approx ", "∓": r"\mp ", **{chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F)},
    }
)  # fmt: skip
# Small digits as LaTeX writes them, and the whole number under a root sign.
_SMALL_DIGITS = re.compile("([₀-₉]+)|[⁰¹²³⁴-⁹]+")
_ROOT = re.compile(r"([√∛∜])\s*(\d+(?:\.\d+)?)")
_INVISIBLE = (
    r"displaystyle|textstyle|limits|m?left|m?right|middle|[bB]igg?[lr]?|"
    r"negthinspace|negmedspace|negthickspace|phantom|nolimits"
)
_EATEN = {
    "\\\x0crac": r"\frac", "\x08oxed": r"\boxed", "\x0cbox": r"\fbox", "\x0crac": r"\frac", "\x08egin": r"\begin",
    "\x08inom": r"\binom",
}  # fmt: skip
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z({\[]|[,!;])")
_WORDS = r"text|textbf|textit|textrm|textnormal|mbox|hbox|mathrm|mathbf|mathit|mathsf|operatorname|rm|bf"
# A backslash behind a backslash begins no command: it ends a row of a matrix.
_REPLACEMENTS = [
    (re.compile(r"(?<=\d)(?:,|\{,\})\\!\s*(?=\d)"), ""),
    (re.compile(r"(?<!\\)\\\$"), "¤"),
    (re.compile(r"(?<!\\)\\[()\[\]]|\$\$"), " "),
    (re.compile(rf"(?<!\\)\\(?:!\s*|(?:{_INVISIBLE})(?![A-Za-z]))"), ""),
    (re.compile(r"(?<!\\)\\(?:[,;:> ]|q?quad(?![A-Za-z])|hspace\s*\{[^{}]*\})|~"), " "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"(?<=frac)\s*\{(\d{1,3}),(\d{3})\}"), r"{\1\2}"),
    (re.compile(r"\\[dtc](frac|binom)(?![A-Za-z])"), r"\\\1"),
    (re.compile(r"\\[lr]?vert"), "|"),
    (re.compile(r"\\(?:lgroup|lparen)"), "("),
    (re.compile(r"\\(?:rgroup|rparen)"), ")"),
    (re.compile(r"\\lbrack"), "["),
    (re.compile(r"\\rbrack"), "]"),
    (re.compile(r"\^\s*(?:\\prime(?![A-Za-z])|\{\s*\\prime\s*\})|\\prime(?![A-Za-z])"), "'"),
    (re.compile(r"(?<=\d)\s*\{\s*,\s*\}\s*(?=\d)"), ","),
    (re.compile(r"\\langle(?![A-Za-z])(?=[^|]*\\rangle)"), "("),
    (re.compile(r"\\rangle(?![A-Za-z])"), ")"),
    (re.compile(r"=/="), r"\\ne "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\^\s*(?:\\circ(?![A-Za-z])|\{\s*\\circ\s*\})|\\(?:degree|textdegree)s?(?![A-Za-z])"), "°"),
    (re.compile(r"\\(?:leqslant|leq)(?![A-Za-z])"), r"\\le"),
    (re.compile(r"\\(?:geqslant|geq)(?![A-Za-z])"), r"\\ge"),
    (re.compile(r"\\neq(?![A-Za-z])"), r"\\ne"),
    (re.compile(r"\\varnothing(?![A-Za-z])"), r"\\emptyset"),
    (re.compile(r"\\lbrace"), r"\\{ "),
    (re.compile(r"\\rbrace"), r"\\}"),
    (re.compile(rf"\\(?:{_WORDS})\s*\{{([^{{}}]*)\}}"), r'"\1"'),
    (re.compile(r'" ?% ?"'), "%"),
    (re.compile(r'" *(and|or) *"'), r" \1 "),
    (re.compile(r"(?<=[)\]}]) ?U ?(?=\\\{|[(\[{][^()\[\]{}]*,)"), r"\\cup "),
    (re.compile(r"(?<=\d) ?\\[lc]?dots$"), "..."),
    (re.compile(r"\\(?:boxed|fbox|mathbb|mathcal|ensuremath)\s*(?=\{)"), ""),
]  # fmt: skip
# None of the replacements finds anything in such a text.
_PLAIN = re.compile(r"[\w.,+*/ -]*")
_INNER_SPACE = re.compile(r"(?<=[A-Za-z0-9])\s+(?=[A-Za-z0-9])")
_CHOICE = re.compile(r'"?\s*\(?\s*"?\(?([A-Z])\)?"?\s*\)?[.:]?\s*"?')
_LABELLED_CHOICE = re.compile(r'"?\(([A-Z])\)"?[.:]? +(?=[\w"$\\.-])(?!.*\b(?:wrong|incorrect|not|false)\b).*')
_LETTERS_ONLY = re.compile(r"[^\W\d_][^\d_\\^*/+=<>(){}|,;:&]*")
_LONG_WORD = re.compile(r"[^\W\d_]{3,}")
_SHORT_WORDS = frozenset({"no", "on", "am", "pm", "up", "if", "or", "we", "he"})
FUNCTION_NAMES = frozenset({"sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "sqrt", "abs", "ln", "infty"})
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
IDEOGRAPHS = re.compile(r"[\u3005-\u30ff\u3400-\u9fff\uac00-\ud7af]+$")


def restored(text: str) -> str:
    """The text with commands of LaTeX whose first letter an escape of JSON or Python ate."""
    if "\x08" in text or "\x0c" in text:
        for eaten, command in _EATEN.items():
            text = text.replace(eaten, command)
    return text


@lru_cache(maxsize=4096)
def tidy(text: str) -> str:
    r"""The text in one spelling, on one line.

    >>> tidy(r"$\dfrac{1}{2}\text{ cm}$")
    '\\frac{1}{2}" cm"'
    """
    text = restored(text)
    if not text.isascii():
        text = _SMALL_DIGITS.sub(_full_size, _ROOT.sub(r"\1{\2}", text))
    text = text.translate(_CHARACTERS)
    text = "".join(c for c in " ".join(text.split()) if c.isprintable() or unicodedata.category(c) not in _UNSEEN)
    if r"\begin" not in text:  # no rows, so a doubled backslash is a slip of escaping
        text = _DOUBLED.sub(r"\\", text)
    for pattern, replacement in () if _PLAIN.fullmatch(text) else _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    if text.count("$") % 2:
        text = re.sub(r"\$(?=\s*\.?\d)", "¤", text, count=1)
    text = _without_stray_end(" ".join(text.replace("$", " ").split()))
    return text.rstrip(" .;,") if not text.endswith("...") else text


def _full_size(digits: re.Match[str]) -> str:
    return f"{'_' if digits.group(1) else '^'}{{{unicodedata.normalize('NFKC', digits.group())}}}"


def _without_stray_end(text: str) -> str:
    """The text without backslashes and closing braces at its end that belong to nothing."""
    text = text.rstrip("\\ ") if r"\begin" not in text else text
    unopened = text.count("}") - text.count(r"\}") - text.count("{") + text.count(r"\{")
    while unopened > 0 and text.endswith("}") and not text.endswith(r"\}"):
        text, unopened = text[:-1].rstrip(), unopened - 1
    return text


def same_key(text: str) -> str:
    """Equal for tidy texts that differ only in spaces that mean nothing, and in the case of plain words."""
    key = _INNER_SPACE.sub("\0", text.replace('"', " ").strip()).replace(" ", "").replace("\0", " ")
    return key.casefold() if is_words(text) else key


def is_words(text: str) -> bool:
    """Whether the tidy text is words: letters without any mathematics, and not only names of variables."""
    bare = text.replace('"', " ").strip()
    if _LETTERS_ONLY.fullmatch(bare) is None:
        return False
    return (
        bare.casefold() in _SHORT_WORDS
        or IDEOGRAPHS.search(bare) is not None
        or any(w not in FUNCTION_NAMES for w in _LONG_WORD.findall(bare))
    )


def choice_letter(text: str, *, labelled: bool = False) -> str | None:
    """The letter of `B`, `(B)`, `B.`; with `labelled`, that of `(B) 12` too."""
    text = text.strip()
    match = _CHOICE.fullmatch(text) or (_LABELLED_CHOICE.fullmatch(text) if labelled else None)
    return match and match.group(1)
