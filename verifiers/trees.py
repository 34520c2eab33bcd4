"""What stands in a tree: its free variables, its kinds of nodes, its numbers; and one form for many spellings."""

import re

from flint import fmpq

from mixdistill.verifiers.exact import exact_value, rational
from mixdistill.verifiers.nodes import Node


def canonical(node: Node) -> Node:
    """The tree in a form that is the same for spellings that differ in order or in factors of one."""
    operands = tuple(canonical(operand) for operand in node.operands)
    exact = exact_value(node) if node.kind in ("number", "sum", "product", "power") else None
    if exact is not None:
        return Node("number", text=str(exact))
    if node.kind in ("sum", "product"):
        neutral = Node("number", text="0" if node.kind == "sum" else "1")
        flat = [
            part for o in operands for part in (o.operands if o.kind == node.kind else (o,)) if part != neutral
        ]
        operands = tuple(sorted(flat or [neutral], key=repr))
        if len(operands) == 1:
            return operands[0]
    return Node(node.kind, operands, node.text)


def free_names(node: Node) -> frozenset[str]:
    """The free variables."""
    if node.kind == "symbol":
        return frozenset({node.text})
    names = frozenset().union(*map(free_names, node.operands))
    if node.kind in ("addition", "multiplication", "limit") or (
        node.kind == "integral" and len(node.operands) > 2
    ):
        names = frozenset().union(
            free_names(node.operands[0]) - {node.operands[1].text}, *map(free_names, node.operands[2:])
        )
    return names


def is_indexed(name: str, index: str) -> bool:
    """Whether the name has the index below it, as a_i has i, so that it changes with it."""
    below = name.partition("_")[2]
    return bool(below) and re.search(rf"(?<![A-Za-z]){re.escape(index)}(?![A-Za-z])", below) is not None


def kinds_in(node: Node) -> frozenset[str]:
    """The kinds of nodes and the names of functions and constants in a tree; `root` for a power of a half."""
    name = node.text if node.kind in ("call", "constant") else node.kind
    if node.kind == "power":
        exponent = exact_value(node.operands[1])
        name = "root" if exponent is not None and exponent.q != 1 else name
    return frozenset({node.kind, "root" if name == "sqrt" else name}).union(*map(kinds_in, node.operands))


def numbers_in(node: Node) -> list[fmpq]:
    """The numbers in a tree, which is where piecewise functions change."""
    if node.kind == "number":
        return [rational(node.text)] if len(node.text) < 12 else []
    return [number for operand in node.operands for number in numbers_in(operand)]


def common_logarithms(node: Node) -> Node:
    r"""The tree with \log to the base ten where no base is given."""
    if not node.operands:
        return node
    text = "log10" if node.kind == "call" and node.text == "log" and len(node.operands) == 1 else node.text
    return Node(node.kind, tuple(map(common_logarithms, node.operands)), text)
