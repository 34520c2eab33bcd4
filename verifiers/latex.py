r"""Parses an expression, LaTeX or plain, into a tree; nothing is evaluated.

Goes in: tidy text (see `notation`). Comes out: a tree of Nodes, or Unreadable with the reason. A recursive
descent over tokens: numbers, variables, + - * / ^, juxtaposition, \frac, \sqrt[n], \binom, functions, |x|,
factorials, degrees, percent. Names are looked up in fixed tables, so no text ever becomes code. Limits on
length and nesting hold before anything is built. Lists, sets and relations are split off before (`shapes`).
"""

import re
from typing import NamedTuple

from mixdistill.verifiers.notation import MOST_DIGITS

# Longer expressions are not answers that a person would compare. A level of nesting takes up to six of the
# thousand calls that Python allows; a pair of parentheses is two levels, a fraction in braces three.
_MOST_TOKENS = 1_500
_MOST_LEVELS = 100

_TOKEN = re.compile(r'\d+(?:\.\d*)?|\.\d+|\\[A-Za-z]+|\\.|[A-Za-z]+|"[^"]*"|\*\*|\S')
_FUNCTION_NAMES = (
    "sin cos tan cot sec csc asin acos atan acot asec acsc sinh cosh tanh coth sech csch asinh acosh atanh "
    "exp ln log sqrt cbrt abs max min gcd lcm floor ceil"
)
_INVERTIBLE = frozenset({"sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh"})
_SYNONYMS = {
    **{f"arc{name}": f"a{name}" for name in _INVERTIBLE},
    **{f"ar{name}": f"a{name}" for name in ("sinh", "cosh", "tanh")},
    "lg": "log", "ceiling": "ceil", "Abs": "abs", "infinity": "oo", "infty": "oo", "inf": "oo",
}  # fmt: skip
_CONSTANTS = {"pi": "pi", "e": "e", "i": "i", "oo": "oo"}
_GREEK_NAMES = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma "
    "tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega hbar ell"
)
FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_GREEK = frozenset(_GREEK_NAMES.split())
_TIMES = frozenset({"*", r"\cdot", r"\times", r"\ast"})
_OVER = frozenset({"/", r"\div"})
_CLOSING = {
    "(": ")", "[": "]", "{": "}", r"\{": r"\}",
    r"\lvert": r"\rvert", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil",
}  # fmt: skip
_COMMANDS = FUNCTIONS | _GREEK | _CONSTANTS.keys() | {"frac", "binom"}


class Unreadable(ValueError):
    """The text is no expression that this parser knows; the message says what stopped it."""


class Node(NamedTuple):
    """An operation and its operands, or a leaf with its text."""

    kind: str
    "number, symbol, constant, sum, product, power, factorial, binomial, or call"
    operands: tuple["Node", ...] = ()
    text: str = ""
    "Digits of a number, name of a symbol, constant or function."


def parse(text: str) -> Node:
    r"""The tree of a tidy expression; raises Unreadable.

    >>> parse(r"2x").operands
    (Node(kind='number', operands=(), text='2'), Node(kind='symbol', operands=(), text='x'))
    """
    tokens = _tokens(text)
    if not tokens:
        raise Unreadable("it is empty")
    parser = _Parser(tokens)
    node = parser.sum()
    if parser.peek():
        raise Unreadable(f"'{parser.peek()[:20]}' was not expected")
    return node


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token.startswith('"'):
            token = token.strip('" ')
            if not token.isalpha():
                raise Unreadable(f"the text '{token[:20]}' stands in it")
        if token.isalpha():
            tokens += _split_letters(token)
        elif len(token) > MOST_DIGITS:
            raise Unreadable(f"a number has more than {MOST_DIGITS} digits")
        else:
            tokens.append(token)
        if len(tokens) > _MOST_TOKENS:
            raise Unreadable(f"it has more than {_MOST_TOKENS} symbols")
    return tokens


def _split_letters(run: str) -> list[str]:
    """Letters side by side: one name that is known, or up to three variables."""
    if run in FUNCTIONS or run in _SYNONYMS or run in _GREEK or run == "pi":
        return ["\\" + run]
    if len(run) > 3:
        raise Unreadable(f"'{run[:20]}' is a word")
    return list(run)


NEGATIVE_ONE = Node("number", text="-1")


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._level = 0
        self._in_bars = False

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def sum(self) -> Node:
        self._descend()
        terms = [self._product()]
        while self.peek() in ("+", "-"):
            terms.append(self._product())
        self._level -= 1
        return terms[0] if len(terms) == 1 else Node("sum", tuple(terms))

    def _descend(self) -> None:
        self._level += 1
        if self._level > _MOST_LEVELS:
            raise Unreadable("it is nested too deeply")

    def _next(self) -> str:
        token = self.peek()
        self._at += 1
        return token

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise Unreadable(f"a '{token}' is missing")

    def _product(self) -> Node:
        factors = [self._signed()]
        while True:
            token = self.peek()
            if token in _TIMES:
                self._at += 1
                factors.append(self._signed())
            elif token in _OVER:
                self._at += 1
                factors.append(_inverse(self._signed()))
            elif token[:1].isdigit():  # 1 2 may be 12, 1.2 or a slip; x2 may be x_2
                raise Unreadable("a number stands behind a factor without a sign")
            elif self._starts_factor(token):
                factor = self._power()
                if len(factors) == 1 and _is_mixed(factors[0], factor):
                    factors[0] = Node("sum", (factors[0], factor))
                else:
                    factors.append(factor)
            else:
                return factors[0] if len(factors) == 1 else Node("product", tuple(factors))

    def _signed(self) -> Node:
        negative = False
        while self.peek() in ("+", "-"):
            negative ^= self._next() == "-"
        if not negative:
            return self._power()
        magnitude = self._power()
        # -3 1/2 is -(3 + 1/2), so the mixed number is read here, below the sign.
        if magnitude.kind == "number" and self._starts_factor(self.peek()):
            at = self._at
            part = self._power()
            if _is_mixed(magnitude, part):
                magnitude = Node("sum", (magnitude, part))
            else:
                self._at = at
        return Node("product", (NEGATIVE_ONE, magnitude))

    def _starts_factor(self, token: str) -> bool:
        if not token or token in ("+", "-", "^", "_", ",", ")", "]", "}", "!", "=", "&", ":", ";"):
            return False
        if token == "|":
            return not self._in_bars
        return token[0].isalnum() or token in _CLOSING or token[0] == "." or self._command(token) is not None

    def _command(self, token: str) -> str | None:
        """The name behind a backslash, if it may begin a factor."""
        name = _SYNONYMS.get(token[1:], token[1:]) if token.startswith("\\") else ""
        return name if name in _COMMANDS else None

    def _power(self) -> Node:
        base = self._postfix()
        if self.peek() not in ("^", "**"):
            return base
        self._at += 1
        exponent = self._exponent()
        if base.kind == "symbol":  # x^2_i is x_i^2
            base = Node("symbol", text=base.text + self._subscript())
        return Node("power", (base, exponent))

    def _exponent(self) -> Node:
        """What stands behind ^: a group, or one signed factor; towers associate to the right."""
        self._descend()
        negative = self.peek() == "-"
        if negative:
            self._at += 1
        exponent = self._power()
        self._level -= 1
        return Node("product", (NEGATIVE_ONE, exponent)) if negative else exponent

    def _postfix(self) -> Node:
        node = self._atom()
        while self.peek() in ("!", "°", "%"):
            mark = self._next()
            if mark == "!":
                node = Node("factorial", (node,))
            elif mark == "°":
                node = Node("product", (node, Node("constant", text="degree")))
            else:
                node = Node("product", (node, _inverse(Node("number", text="100"))))
        return node

    def _atom(self) -> Node:
        self._descend()
        node = self._undivided(self._next())
        self._level -= 1
        return node

    def _undivided(self, token: str) -> Node:
        if token[:1].isdigit() or (token[:1] == "." and len(token) > 1):
            return Node("number", text=token.rstrip("."))
        if token in _CLOSING or token == "|":
            return self._group(token)
        name = self._command(token) or (token if len(token) == 1 and token.isalpha() else "")
        if name in ("frac", "binom"):
            above, below = self._argument(), self._argument()
            if name == "binom":
                return Node("binomial", (above, below))
            return Node("product", (above, _inverse(below)))
        if name == "sqrt":
            return self._root()
        if name in FUNCTIONS:
            return self._call(name)
        if name in _CONSTANTS and self.peek() != "_":
            return Node("constant", text=_CONSTANTS[name])
        if name:
            return Node("symbol", text=name + self._subscript())
        raise Unreadable(f"'{token[:20]}' is not known" if token else "something is missing at the end")

    def _group(self, opening: str) -> Node:
        outer, self._in_bars = self._in_bars, opening == "|"
        node = self.sum()
        self._expect("|" if opening == "|" else _CLOSING[opening])
        self._in_bars = outer
        around = {"|": "abs", r"\lvert": "abs", r"\lfloor": "floor", r"\lceil": "ceil"}.get(opening)
        return Node("call", (node,), around) if around else node

    def _argument(self) -> Node:
        """One argument of a command: a group in braces, or a single digit or letter."""
        token = self.peek()
        if token[:1].isdigit() and len(token) > 1:
            self._tokens[self._at] = token[1:]
            return Node("number", text=token[0])
        return self._atom()

    def _root(self) -> Node:
        degree = Node("number", text="2")
        if self.peek() == "[":
            self._at += 1
            degree = self.sum()
            self._expect("]")
        radicand = self._atom()
        return Node("power", (radicand, _inverse(degree)))

    def _call(self, name: str) -> Node:
        base: tuple[Node, ...] = ()
        exponent: Node | None = None
        while self.peek() in ("_", "^"):
            if self._next() == "_":
                base = (self._atom(),)
            else:
                exponent = self._exponent()
        if exponent is not None and name in _INVERTIBLE and _is_minus_one(exponent):
            name, exponent = f"a{name}", None
        call = Node("call", (*self._call_arguments(), *base), name)
        return call if exponent is None else Node("power", (call, exponent))

    def _call_arguments(self) -> tuple[Node, ...]:
        token = self.peek()
        if token in ("(", "[", "{", r"\{"):
            outer, self._in_bars = self._in_bars, False
            self._at += 1
            arguments = [self.sum()]
            while self.peek() == ",":
                self._at += 1
                arguments.append(self.sum())
            self._expect(_CLOSING[token])
            self._in_bars = outer
            return tuple(arguments)
        factors = [self._signed()]
        while self._starts_factor(self.peek()) and not self._begins_call(self.peek()):
            factors.append(self._power())
        return (factors[0] if len(factors) == 1 else Node("product", tuple(factors)),)

    def _begins_call(self, token: str) -> bool:
        return token in ("(", "[") or (self._command(token) or "") in FUNCTIONS - {"sqrt"}

    def _subscript(self) -> str:
        if self.peek() != "_":
            return ""
        self._at += 1
        parts = [self._next()]
        if parts == ["{"]:
            while self.peek() not in ("}", ""):
                parts.append(self._next())
            self._expect("}")
        name = "".join(part.lstrip("\\") for part in parts if part != "{")
        if not name.replace(",", "").isalnum():
            raise Unreadable("a subscript is not a name")
        return "_" + name


def _inverse(node: Node) -> Node:
    return Node("power", (node, NEGATIVE_ONE))


def _is_minus_one(node: Node) -> bool:
    return node == Node("product", (NEGATIVE_ONE, Node("number", text="1")))


def _is_mixed(whole: Node, part: Node) -> bool:
    """Whether an integer and a fraction of integers side by side are a mixed number, as in 3 1/2."""
    if not whole.text.isdigit() or part.kind != "product" or len(part.operands) != 2:
        return False
    above, inverse = part.operands
    below = inverse.operands[0] if inverse.kind == "power" else inverse
    return above.text.isdigit() and below.text.isdigit() and inverse == _inverse(below)
