r"""Cuts a tidy expression into tokens, and knows the names that may stand in one.

Goes in: tidy text (see `notation`). Comes out: a list of tokens: numbers, single signs, `\commands` in one
spelling each, `"words"` that stood in \text, and runs of letters, which the parser splits where it meets them.
Names are looked up in fixed tables, so no text ever becomes code.
"""

import re

from mixdistill.verifiers.notation import MOST_DIGITS

# Longer expressions are not answers that a person would compare.
_MOST_TOKENS = 1_500

_MOST_EXPONENT_DIGITS = 3
_DIGITS = frozenset("0123456789.")

_TOKEN = re.compile(r'(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+(?![\d.]))?|\\[A-Za-z]+|\\.|[A-Za-z]+|"[^"]*"|\*\*|\S')
_FUNCTION_NAMES = (
    "sin cos tan cot sec csc asin acos atan acot asec acsc sinh cosh tanh coth sech csch asinh acosh atanh acoth "
    "asech acsch exp ln log log10 log2 sqrt cbrt abs max min gcd lcm floor ceil sgn det arg conj re im "
    "factorial binomial Gamma zeta"
)
INVERTIBLE = frozenset({"sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "sech", "csch"})
_GREEK_NAMES = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho varrho "
    "sigma tau upsilon phi varphi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega hbar ell "
    "aleph partial nabla varpi varsigma digamma imath jmath"
)
FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
GREEK = frozenset(_GREEK_NAMES.split())
CONSTANTS = {"pi": "pi", "e": "e", "i": "i", "oo": "oo"}
ACCENTS = frozenset(
    [
        "overline",
        "bar",
        "hat",
        "widehat",
        "tilde",
        "widetilde",
        "vec",
        "dot",
        "ddot",
        "underline",
        "overrightarrow",
        "mathring",
        "check",
        "breve",
    ]
)
OPERATORS = frozenset({"sum", "prod", "int", "lim"})
_SYNONYMS = {
    **{f"arc{name}": f"a{name}" for name in INVERTIBLE},
    **{f"ar{name}": f"a{name}" for name in INVERTIBLE if name.endswith("h")},
    **{f"arg{name}": f"a{name}" for name in INVERTIBLE if name.endswith("h")},
    "lg": "log10", "ceiling": "ceil", "Abs": "abs", "infinity": "oo", "infty": "oo", "inf": "oo", "cosec": "csc",
    "tg": "tan", "ctg": "cot", "cotg": "cot", "arctg": "atan", "sign": "sgn", "signum": "sgn",
    "conjugate": "conj", "Max": "max", "Min": "min", "cosech": "csch", "Re": "re",
    "Im": "im", "tfrac": "frac", "dfrac": "frac", "cfrac": "frac", "exponentialE": "e", "imaginaryI": "i",
    "imaginaryJ": "i", "differentialD": "d", "lgroup": "(", "rgroup": ")", "lparen": "(", "rparen": ")",
    "lbrack": "[", "rbrack": "]", "lbrace": r"\{", "rbrace": r"\}", "ulcorner": r"\lceil",
    "urcorner": r"\rceil", "llcorner": r"\lfloor", "lrcorner": r"\rfloor", "ast": "*", "cdot": "*",
    "bullet": "*", "centerdot": "*", "div": "/", "bmod": r"\mod", "rightarrow": r"\to", "longrightarrow": r"\to",
    "Rightarrow": r"\to", "Longrightarrow": r"\to", "arccos": "acos", "iint": "int", "oint": "int", "slash": "/",
    "thinspace": "", "thickspace": "", "medspace": "", "colon": ":", "vert": "|", "mid": "|", "dbinom": "binom",
    "tbinom": "binom", "mathrm": "", "operatorname": "", "rm": "", "root": "root", "nthroot": "root",
}  # fmt: skip
COMMANDS = (
    FUNCTIONS | GREEK | CONSTANTS.keys() | ACCENTS | OPERATORS | {"frac", "binom", "overset", "underset", "root"}
)
# Words of plain text that are read as a whole; single letters and everything else is split.
_WORDS = (FUNCTIONS | GREEK | _SYNONYMS.keys() | {"pi", "oo", "bar", "hat", "root"}) - {
    "mu", "nu", "xi", "Pi", "Xi", "re", "im", "Re", "Im", "arg", "det", "check", "dot", "e", "i", "ell", "ast",
    "div", "mid", "vert", "times", "partial", "sign", "int", "rm", "slash", "colon", "tg", "Phi", "chi",
}  # fmt: skip
_PARTS = sorted((word for word in _WORDS if len(word) > 1), key=len, reverse=True)


class Unreadable(ValueError):
    """The text is no expression that this parser knows; the message says what stopped it."""


def tokenize(text: str) -> list[str]:
    """The tokens of tidy text; raises Unreadable where there are too many, or one is no part of a formula."""
    tokens: list[str] = []
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token[0] == "\\" and len(token) > 2:
            token = _command(token)
        elif token[0] == '"':
            token = _quoted(token)
        elif len(token) > MOST_DIGITS:
            raise Unreadable(f"a number has more than {MOST_DIGITS} digits")
        elif token[0] in _DIGITS and len(token.lower().partition("e")[2].lstrip("+-")) > _MOST_EXPONENT_DIGITS:
            raise Unreadable("a number in it is too large to compute")
        if token:
            tokens.append(token)
        if len(tokens) > _MOST_TOKENS:
            raise Unreadable(f"it has more than {_MOST_TOKENS} symbols")
    return tokens


def split_word(word: str) -> list[str]:
    r"""The tokens of a run of letters: names that are known, or up to three variables side by side.

    >>> split_word("sinx"), split_word("ab")
    (['\\sin', 'x'], ['a', 'b'])
    """
    if word in _WORDS:
        return [_command("\\" + word)]
    tokens: list[str] = []
    letters, at = 0, 0
    while at < len(word):
        part = next((part for part in _PARTS if word.startswith(part, at)), None) if len(word) > 2 else None
        if part is None:
            letters += 1
            tokens.append(word[at])
            at += 1
        else:
            tokens.append(_command("\\" + part))
            at += len(part)
    if letters > 3 or len(word) > 12:
        raise Unreadable(f"'{word[:20]}' is a word")
    return tokens


def known_command(token: str) -> str | None:
    """The name behind a backslash, if it may begin a factor."""
    name = token[1:] if token[:1] == "\\" else ""
    return name if name in COMMANDS or name == "begin" else None


def _command(token: str) -> str:
    name = token[1:]
    synonym = _SYNONYMS.get(name)
    if synonym is None:
        return token
    return synonym if not synonym.isalnum() or synonym == "d" else "\\" + synonym


def _quoted(token: str) -> str:
    word = token.strip('" ')
    if not word.isalpha():
        if not word:
            return ""
        raise Unreadable(f"the text '{word[:20]}' stands in it")
    return word if len(word) == 1 or word in _WORDS else f'"{word}'
