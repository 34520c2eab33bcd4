"""The tree of an expression: what the parser builds, and everything behind it reads."""

from typing import NamedTuple


class Node(NamedTuple):
    """An operation and its operands, or a leaf with its text."""

    kind: str
    """number, symbol, constant; sum, product, power, factorial, binomial, mod; call (of a known function),
    apply (of an unknown one), matrix; addition, multiplication, integral, limit, derivative."""
    operands: tuple["Node", ...] = ()
    text: str = ""
    "Digits of a number, name of a symbol, constant or function, `2x3` for a matrix, side of a limit."


NEGATIVE_ONE = Node("number", text="-1")


def inverse(node: Node) -> Node:
    """One over the node."""
    return Node("power", (node, NEGATIVE_ONE))


def product(factors: list[Node]) -> Node:
    """The product of the nodes; of one, itself."""
    return factors[0] if len(factors) == 1 else Node("product", tuple(factors))
