r"""Reads sums, products, integrals, limits, derivatives, matrices, repeating decimals: each has rules of its own.

Goes in: a parser that stands behind \sum, \prod, \int, \lim or in front of the two halves of d/dx. Comes out:
a Node whose operands are the body, the variable and the bounds. An integral reaches to its `dx`, wherever that
stands, also in a numerator; the others reach over one term. Nothing is summed or integrated here.
"""

import re
from typing import TYPE_CHECKING

from mixdistill.verifiers.nodes import NEGATIVE_ONE, Node, inverse, product
from mixdistill.verifiers.tokens import FUNCTIONS, GREEK, INVERTIBLE, OPERATORS, Unreadable, known_command
from mixdistill.verifiers.trees import kinds_in

if TYPE_CHECKING:
    from mixdistill.verifiers.latex import Parser

_OPENING, _CLOSING = frozenset({"(", "[", "{", r"\{"}), frozenset({")", "]", "}", r"\}"})
_KINDS = {"sum": "addition", "prod": "multiplication", "int": "integral", "lim": "limit"}
# Operations that may be written as functions.
_OPERATION_ARGUMENTS = {"factorial": 1, "binomial": 2}
_MOST_REPEATED = 40
_ONE = Node("number", text="1")
_DIFFERENTIAL = re.compile(r"d[A-Za-z]")
_MATRIX = re.compile(r"[a-zA-Z]?(?:small)?matrix|array")
_DERIVATIVE = re.compile(r"(?:d|partial)(?:\^(\d))?([A-Za-z]?)/(?:d|partial)([A-Za-z]+)(?:\^(\d))?")


def read_operator(parser: "Parser", name: str) -> Node:
    """The operator whose name was just read, with all that it reaches over."""
    kind = _KINDS[name]
    if kind == "limit":
        return _limit(parser)
    lower: list[str] = []
    upper: Node | None = None
    while parser.peek() in ("_", "^"):
        if parser.next() == "_":
            lower = read_group(parser)
        else:
            upper = parser.inner(read_group(parser))
    if kind == "integral":
        bounds = (parser.inner(lower), upper) if lower and upper is not None else ()
        return _integral(parser, bounds)
    if "=" not in lower or upper is None:
        raise Unreadable(f"a \\{name} without bounds cannot be read")
    at = lower.index("=")
    variable, start = parser.inner(lower[:at]), parser.inner(lower[at + 1 :])
    return Node(kind, (parser.product(), _variable(variable), start, upper))


def read_derivative(parser: "Parser") -> Node | None:
    r"""The derivative of \frac{d}{dx} f or \frac{dy}{dx}, if this is one; the parser stands behind \frac."""
    ahead = parser.tokens[parser.at : parser.at + 16]
    if ahead[:1] != ["{"] or (ahead[1:2] and ahead[1] != r"\partial" and not ahead[1].startswith("d")):
        return None
    joined = "".join(ahead)
    match = re.match(r"\{([^{}]*)\}\{([^{}]*)\}", joined.replace(r"\partial", "partial").replace("\\", ""))
    found = match and _DERIVATIVE.fullmatch(f"{match.group(1)}/{match.group(2)}")
    if not found:
        return None
    order, function, variable, below = found.groups()
    if (order or "1") != (below or "1") or (len(variable) > 1 and variable not in GREEK):
        return None
    for _ in range(2):
        read_group(parser)
    body = Node("symbol", text=function) if function else parser.product()
    if body.kind == "symbol" and body.text != variable:  # of an unknown function: a name of its own
        return Node("symbol", text=f"d{order or ''} {body.text}/d {variable}")
    return Node("derivative", (body, Node("symbol", text=variable)), order or "1")


def read_matrix(parser: "Parser") -> Node:
    r"""The matrix whose \begin was just read; the determinant of one between bars."""
    environment = _braced_name(parser)
    if not _MATRIX.fullmatch(environment):
        raise Unreadable(f"'{environment[:20]}' is not known")
    if environment == "array" and parser.peek() == "{":
        _braced_name(parser)
    rows: list[list[Node]] = [[]]
    while parser.peek() not in (r"\end", ""):
        rows[-1].append(parser.sum())
        if parser.peek() == "&":
            parser.at += 1
        elif parser.peek() == "\\\\":
            parser.at += 1
            if parser.peek() != r"\end":
                rows.append([])
    parser.expect(r"\end")
    _braced_name(parser)
    if not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise Unreadable("the rows of a matrix have different lengths")
    cells = tuple(cell for row in rows for cell in row)
    node = Node("matrix", cells, f"{len(rows)}x{len(rows[0])}")
    return Node("call", (node,), "det") if environment == "vmatrix" else node


def read_repeating(parser: "Parser", digits: str) -> Node:
    """The decimal whose last digits stand under the bar that comes next: 0.1666... is 0.1 and 6/90."""
    parser.next()
    block = "".join(read_group(parser))
    places = len(digits.partition(".")[2])
    if not block.isdecimal() or len(block) > _MOST_REPEATED or places > _MOST_REPEATED:
        raise Unreadable("what repeats in a decimal is no number")
    nines = Node("number", text="9" * len(block) + "0" * places)
    repeated = Node("product", (Node("number", text=block), inverse(nines)))
    return Node("sum", (Node("number", text=digits.rstrip(".")), repeated))


def read_root(parser: "Parser", name: str) -> Node:
    """The root whose name was just read, as a power."""
    degree = Node("number", text="2")
    if name == "root":
        arguments = parser.arguments()
        if len(arguments) != 2:
            raise Unreadable(f"a root of {len(arguments)} arguments is not known")
        return Node("power", (arguments[1], inverse(arguments[0])))
    if parser.peek() == "[":
        parser.at += 1
        degree = parser.sum()
        parser.expect("]")
    return Node("power", (parser.argument(), inverse(degree)))


def read_call(parser: "Parser", name: str) -> Node:
    """The function whose name was just read, with its exponent, base and arguments."""
    base: tuple[Node, ...] = ()
    exponent: Node | None = None
    while parser.peek() in ("_", "^", "**"):
        if parser.next() == "_":
            base = (parser.atom() if parser.peek()[:1].isdecimal() else parser.argument(),)
        else:
            exponent = parser.exponent()
    if exponent is not None and name in INVERTIBLE and _is_minus_one(exponent):
        name, exponent = f"a{name}", None
    operands = (*_call_arguments(parser), *base)
    if len(operands) == _OPERATION_ARGUMENTS.get(name):
        call = Node(name, operands)
    else:
        call = Node("call", operands, name)
    return call if exponent is None else Node("power", (call, exponent))


def _call_arguments(parser: "Parser") -> tuple[Node, ...]:
    if parser.peek() in ("(", "[", "{", r"\{"):
        return parser.arguments()
    factors = [parser.signed()]
    while parser.starts_factor(parser.peek()) and not _begins_call(parser.peek()):
        factors.append(parser.power())
    return (product(factors),)


def _begins_call(token: str) -> bool:
    name = known_command(token) or ""
    return token in ("(", "[") or name in OPERATORS or name in FUNCTIONS - {"sqrt"}


def _is_minus_one(node: Node) -> bool:
    return node == Node("product", (NEGATIVE_ONE, Node("number", text="1")))


def read_accented(parser: "Parser", name: str) -> Node:
    """A letter under a bar, hat, arrow: a name of its own."""
    inner = parser.argument()
    if inner.kind == "power" and inner.operands[0].kind == "symbol":
        raise Unreadable(f"a {name} over a power is not known")
    if name in ("overline", "bar") and "i" in kinds_in(inner):
        return Node("call", (inner,), "conj")
    letters = inner.operands if inner.kind == "product" else (inner,)
    if not all(letter.kind in ("symbol", "constant", "number") for letter in letters):
        raise Unreadable(f"a {name} over a formula is not known")
    accent = {"overline": "bar", "widehat": "hat", "widetilde": "tilde", "overrightarrow": "vec"}.get(name, name)
    return parser.symbol(f"{accent}({''.join(letter.text for letter in letters)})")


def _braced_name(parser: "Parser") -> str:
    return "".join(token.strip('"').lstrip("\\") for token in read_group(parser))


def _limit(parser: "Parser") -> Node:
    if parser.peek() != "_":
        raise Unreadable(r"a \lim without its variable cannot be read")
    parser.at += 1
    inside = read_group(parser)
    if r"\to" not in inside:
        raise Unreadable(r"a \lim without an arrow cannot be read")
    at = inside.index(r"\to")
    variable, target, side = inside[:at], inside[at + 1 :], "+"
    if target[-2:-1] == ["^"] and target[-1] in ("+", "-"):
        target, side = target[:-2], target[-1]
    elif target[-4:-1] in (["^", "{", "+"], ["^", "{", "-"]):
        target, side = target[:-4], target[-2]
    return Node("limit", (parser.product(), _variable(parser.inner(variable)), parser.inner(target)), side)


def _integral(parser: "Parser", bounds: tuple[Node, ...]) -> Node:
    """The body up to the end of the enclosing brackets, without its dx."""
    end, depth = parser.at, 0
    while end < len(parser.tokens):
        token = parser.tokens[end]
        depth += (token in _OPENING) - (token in _CLOSING)
        if depth < 0:
            break
        end += 1
    body, variable, rest = _without_differential(parser.tokens[parser.at : end])
    parser.at = end - rest
    integrand = parser.inner(body) if body else _ONE
    return Node("integral", (integrand, variable, *bounds))


def _without_differential(tokens: list[str]) -> tuple[list[str], Node, int]:
    """The tokens before or around dx, its variable, and how many come behind it at the outermost level."""
    split: list[str] = []
    for token in tokens:
        is_run = len(token) > 1 and token.isalpha() and not token.startswith("d") and token[-2:-1] == "d"
        split += [token[:-2], token[-2:]] if is_run and len(token) <= 4 else [token]
    depth = 0
    for at, token in enumerate(split):
        depth += (token in _OPENING) - (token in _CLOSING)
        name, width = "", 1
        if _DIFFERENTIAL.fullmatch(token):
            name = token[1]
        elif token == "d" and at + 1 < len(split):
            name, width = split[at + 1].lstrip("\\"), 2
        if name and (len(name) == 1 or name in GREEK) and name.isalpha():
            variable = Node("symbol", text=name)
            before, behind = split[:at], split[at + width :]
            if depth == 0:
                return before, variable, len(behind)
            filler = ["1"] if before[-1] == "{" and behind[:1] == ["}"] else []
            return [*before, *filler, *behind], variable, 0
    return split, Node("symbol", text="x"), 0


def read_group(parser: "Parser") -> list[str]:
    """The tokens of a subscript or a group, taken: of a pair of braces, or a single one."""
    if parser.peek() != "{":
        return [parser.next()]
    start, depth = parser.at, 0
    while parser.at < len(parser.tokens):
        token = parser.tokens[parser.at]
        depth += (token == "{") - (token == "}")
        parser.at += 1
        if depth == 0:
            return parser.tokens[start + 1 : parser.at - 1]
    raise Unreadable("a '}' is missing")


def _variable(node: Node) -> Node:
    if node.kind == "constant":  # i and e count and run, too
        return Node("symbol", text=node.text)
    if node.kind != "symbol":
        raise Unreadable("the variable of a sum or limit is not a name")
    return node
