r"""Parses an expression, LaTeX or plain, into a tree; nothing is evaluated.

Goes in: tidy text (see `notation`). Comes out: a tree of Nodes, or Unreadable with the reason. A recursive
descent over tokens: numbers, variables with subscripts, + - * / ^, juxtaposition, \frac, \sqrt[n], \binom,
functions known and unknown, |x|, factorials, degrees, percent, mod, matrices, and sums, products, integrals,
limits and derivatives (`operators`). Limits on length and nesting hold before anything is built. Lists, sets
and relations are split off before (`shapes`).
"""

from functools import lru_cache

from mixdistill.verifiers.nodes import NEGATIVE_ONE, Node, inverse, product
from mixdistill.verifiers.operators import (
    read_accented,
    read_call,
    read_derivative,
    read_matrix,
    read_operator,
    read_repeating,
    read_root,
)
from mixdistill.verifiers.tokens import (
    ACCENTS,
    CONSTANTS,
    FUNCTIONS,
    OPERATORS,
    Unreadable,
    known_command,
    split_word,
    tokenize,
)

# A level of nesting takes up to seven of the thousand calls that Python allows; a pair of parentheses is two
# levels, a fraction in braces three.
_MOST_LEVELS = 90

_TIMES = frozenset({"*", r"\times"})
_OVER = frozenset({"/"})
_MOD = frozenset({r"\mod", "mod"})
_CLOSING = {
    "(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\lvert": r"\rvert", r"\lfloor": r"\rfloor",
    r"\lceil": r"\rceil", r"\lVert": r"\rVert",
}  # fmt: skip
_AROUND = {"|": "abs", r"\lvert": "abs", r"\lfloor": "floor", r"\lceil": "ceil"}
# Names of functions that are letters as well.
_LETTERS_TOO = frozenset({"Gamma", "zeta"})
_FIRST_IDEOGRAPH = "\u2e80"  # no writing from there on names a variable by one sign
_REPEATED = frozenset({r"\overline", r"\bar", r"\dot"})
# Behind one of these letters, parentheses hold arguments; behind any other, a factor.
_FUNCTION_LETTERS = frozenset("fghFGH")
# These letters are functions of events and random variables, and factors of anything else.
_MEASURES = frozenset("EP")
_NO_FACTOR = frozenset(
    {"+", "-", "^", "_", ",", ")", "]", "}", "!", "=", "&", ":", ";", "'", "**", "%", "°", "*", "/"}
)


@lru_cache(maxsize=4096)
def parse(text: str) -> Node:
    r"""The tree of a tidy expression; raises Unreadable.

    >>> parse(r"2x").operands
    (Node(kind='number', operands=(), text='2'), Node(kind='symbol', operands=(), text='x'))
    """
    tokens = tokenize(text)
    if not tokens:
        raise Unreadable("it is empty")
    parser = Parser(tokens)
    node = parser.sum()
    if parser.peek() in (r"\choose", r"\over"):  # its braces were the outermost
        node = parser.split(node)
    if parser.peek():
        raise Unreadable(f"'{parser.peek()[:20]}' was not expected")
    return node


class Parser:
    """Reads a list of tokens from left to right; `operators` uses it too."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self._level = 0
        self._in_bars = False

    def peek(self) -> str:
        """The next token; empty at the end. A run of letters is split when it is first seen."""
        if self.at >= len(self.tokens):
            return ""
        token = self.tokens[self.at]
        if len(token) > 1 and token.isalpha():
            self.tokens[self.at : self.at + 1] = split_word(token)
            token = self.tokens[self.at]
        return token

    def next(self) -> str:
        """The next token, taken."""
        token = self.peek()
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        """Take this token; raises Unreadable if it is another."""
        if self.next() != token:
            raise Unreadable(f"a '{token}' is missing")

    def inner(self, tokens: list[str]) -> Node:
        """The tree of some of the tokens, all of them; raises Unreadable."""
        parser = Parser(tokens)
        node = parser.sum()
        if parser.peek():
            raise Unreadable(f"'{parser.peek()[:20]}' was not expected")
        return node

    def sum(self) -> Node:
        """Terms up to whatever is no part of one."""
        self._descend()
        terms = [self.product()]
        while self.peek() in ("+", "-"):
            terms.append(self.product())
        self._level -= 1
        return terms[0] if len(terms) == 1 else Node("sum", tuple(terms))

    def _descend(self) -> None:
        self._level += 1
        if self._level > _MOST_LEVELS:
            raise Unreadable("it is nested too deeply")

    def product(self) -> Node:
        """One term."""
        factors = [self.signed()]
        while True:
            token = self.peek()
            if token in _TIMES:
                self.at += 1
                factors.append(self.signed())
                if token == r"\times" and all(map(_is_vector, factors[-2:])):
                    raise Unreadable("a cross product is no product of numbers")
            elif token in _OVER:
                self.at += 1
                factors.append(inverse(self.signed()))
            elif token in _MOD:
                self.at += 1
                factors = [Node("mod", (product(factors), self.signed()))]
            elif token[:1].isdecimal() and self._previous_is_number():  # 1 2 may be 12, 1.2 or a slip
                raise Unreadable("a number stands behind a number without a sign")
            elif self.starts_factor(token):
                mixed = token == r"\frac" and self._previous_is_number()
                factor = self.power()
                if mixed and len(factors) == 1 and _is_mixed(factors[0], factor):
                    factors[0] = Node("sum", (factors[0], factor))
                else:
                    factors.append(factor)
            else:
                return product(factors)

    def _previous_is_number(self) -> bool:
        return self.tokens[self.at - 1][-1:].isdecimal()

    def signed(self) -> Node:
        """One factor with the signs in front of it."""
        negative = False
        while self.peek() in ("+", "-"):
            negative ^= self.next() == "-"
        if not negative:
            return self.power()
        magnitude = self.power()
        # -3 1/2 is -(3 + 1/2), so the mixed number is read here, below the sign.
        if magnitude.kind == "number" and self.peek() == r"\frac":
            at = self.at
            part = self.power()
            if _is_mixed(magnitude, part):
                magnitude = Node("sum", (magnitude, part))
            else:
                self.at = at
        return Node("product", (NEGATIVE_ONE, magnitude))

    def starts_factor(self, token: str) -> bool:
        """Whether the token may begin a factor that stands without a sign."""
        if not token or token in _NO_FACTOR:
            return False
        if token == "|":
            return not self._in_bars
        return token[0].isalnum() or token[0] in '."' or token in _CLOSING or known_command(token) is not None

    def power(self) -> Node:
        """One factor with its exponent."""
        base = self._postfix()
        while self.peek() in ("^", "**"):
            self.at += 1
            exponent = self.exponent()
            if base.kind == "symbol":  # x^2_i is x_i^2
                base = Node("symbol", text=base.text + self._subscript())
            base = Node("power", (base, exponent))
            if self.peek() == "!":
                self.at += 1
                base = Node("factorial", (base,))
        return base

    def exponent(self) -> Node:
        """What stands behind ^: a group, or one signed factor; towers associate to the right."""
        self._descend()
        negative = False
        while self.peek() in ("+", "-"):
            negative ^= self.next() == "-"
        exponent = self.power()
        self._level -= 1
        return Node("product", (NEGATIVE_ONE, exponent)) if negative else exponent

    def _postfix(self) -> Node:
        node = self.atom()
        while self.peek() in ("!", "°", "%"):
            mark = self.next()
            if mark == "!":
                node = Node("factorial", (node,))
            elif mark == "°":
                node = Node("product", (node, Node("constant", text="degree")))
            else:
                node = Node("product", (node, inverse(Node("number", text="100"))))
        return node

    def atom(self) -> Node:
        """A number, a name, a group or a command with its arguments."""
        self._descend()
        node = self._undivided(self.next())
        self._level -= 1
        return node

    def _undivided(self, token: str) -> Node:
        if token[:1].isdecimal() or (token[:1] == "." and len(token) > 1):
            return self._number(token)
        if token in _CLOSING or token == "|":
            return self._group(token)
        if token[:1] == '"':
            return Node("symbol", text=token[1:] + self._subscript())
        name = known_command(token) or (
            token if len(token) == 1 and token.isalpha() and token < _FIRST_IDEOGRAPH else ""
        )
        if name in ("frac", "binom"):
            return self._fraction(name)
        if name in OPERATORS:
            return read_operator(self, name)
        if name in ACCENTS:
            return read_accented(self, name)
        if name == "sqrt" or name == "root":
            return read_root(self, name)
        if name in FUNCTIONS and (name not in _LETTERS_TOO or self.peek() == "("):
            return read_call(self, name)
        if token == r"\begin":
            return read_matrix(self)
        if name in CONSTANTS and self.peek() not in ("_", "'"):
            return Node("constant", text=CONSTANTS[name])
        if name:
            return self.symbol(name)
        raise Unreadable(f"'{token[:20]}' is not known" if token else "something is missing at the end")

    def _number(self, token: str) -> Node:
        if self.peek() in _REPEATED and "." in token:
            return read_repeating(self, token)
        return Node("number", text=token.rstrip("."))

    def symbol(self, name: str) -> Node:
        """A name with what is written below or behind it; what it is applied to."""
        marks = self._subscript()
        while self.peek() == "'":
            marks += self.next()
        name += self._subscript() + marks
        if name == "Delta" and (letter := self.peek()).isalpha() and len(letter) == 1:  # a difference of it
            self.at += 1
            return self.symbol(f"Delta {letter}")
        is_function = name[0] in _FUNCTION_LETTERS or "'" in marks or (name in _MEASURES and self._of_capital())
        if is_function and self.peek() in ("(", "{"):
            arguments = self._arguments_in_parentheses()
            if arguments:
                return Node("apply", arguments, name)
        return Node("symbol", text=name)

    def _of_capital(self) -> bool:
        """Whether the parentheses that come next begin with a capital: an event or a random variable."""
        return "".join(self.tokens[self.at : self.at + 2])[1:2].isupper()

    def _arguments_in_parentheses(self) -> tuple[Node, ...]:
        if self.peek() == "{":
            if self.tokens[self.at + 1 : self.at + 2] != ["("]:
                return ()
            self.at += 1
            arguments = self.arguments()
            self.expect("}")
            return arguments
        return self.arguments()

    def _group(self, opening: str) -> Node:
        outer, self._in_bars = self._in_bars, opening == "|"
        node = self.sum()
        if opening == "{" and self.peek() in (r"\choose", r"\over"):
            node = self.split(node)
        self.expect("|" if opening == "|" else _CLOSING[opening])
        self._in_bars = outer
        around = _AROUND.get(opening)
        return Node("call", (node,), around) if around else node

    def split(self, above: Node) -> Node:
        r"""The fraction or binomial of TeX's \over or \choose, whose upper part was read."""
        kind, below = self.next(), self.sum()
        return Node("binomial", (above, below)) if kind == r"\choose" else Node("product", (above, inverse(below)))

    def _fraction(self, name: str) -> Node:
        if name == "frac":
            derivative = read_derivative(self)
            if derivative is not None:
                return derivative
        above, below = self.argument(), self.argument()
        if name == "binom":
            return Node("binomial", (above, below))
        return Node("product", (above, inverse(below)))

    def argument(self) -> Node:
        """One argument of a command: a group in braces, or a single digit or letter."""
        token = self.peek()
        if token[:1].isdecimal() and len(token) > 1:
            self.tokens[self.at] = token[1:]
            return Node("number", text=token[0])
        return self.atom()

    def arguments(self) -> tuple[Node, ...]:
        """The trees between the bracket that comes next and its partner."""
        outer, self._in_bars = self._in_bars, False
        opening = self.next()
        if opening not in _CLOSING:
            raise Unreadable("a '(' is missing")
        arguments = [self.sum()]
        while self.peek() == ",":
            self.at += 1
            arguments.append(self.sum())
        self.expect(_CLOSING[opening])
        self._in_bars = outer
        return tuple(arguments)

    def _subscript(self) -> str:
        if self.peek() != "_":
            return ""
        self.at += 1
        if self.at >= len(self.tokens):
            raise Unreadable("a subscript is missing")
        if self.tokens[self.at] != "{":
            return "_" + self.raw()
        parts: list[str] = []
        depth = 0
        while self.at < len(self.tokens):
            token = self.raw()
            depth += (token == "{") - (token == "}")
            if depth == 0:
                return "_" + "".join(parts[1:])
            parts.append(token)
        raise Unreadable("a '}' is missing")

    def raw(self) -> str:
        """The next token, taken as it stands: no word is split."""
        self.at += 1
        return self.tokens[self.at - 1].strip('"').lstrip("\\")


def _is_vector(node: Node) -> bool:
    return node.kind == "symbol" and node.text.startswith("vec(")


def _is_mixed(whole: Node, part: Node) -> bool:
    """Whether an integer and a fraction of integers side by side are a mixed number, as in 3 1/2."""
    if not whole.text.isdecimal() or part.kind != "product" or len(part.operands) != 2:
        return False
    above, inverted = part.operands
    below = inverted.operands[0] if inverted.kind == "power" else inverted
    return above.text.isdecimal() and below.text.isdecimal() and inverted == inverse(below)
