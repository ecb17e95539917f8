"""Patch templates on operators: comparison, boolean, arithmetic, negation and conditions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from agents.offline.sites import Rewrite, Site

_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}
_COMPARE_SWAPS: dict[str, dict[str, float]] = {
    "<": {"<=": 1.0, ">": 0.7, ">=": 0.7, "!=": 0.3, "==": 0.25},
    "<=": {"<": 1.0, ">=": 0.7, ">": 0.7, "==": 0.3},
    ">": {">=": 1.0, "<": 0.7, "<=": 0.7, "!=": 0.3, "==": 0.25},
    ">=": {">": 1.0, "<=": 0.7, "<": 0.7, "==": 0.3},
    "==": {"!=": 0.9, ">=": 0.45, "<=": 0.45, "is": 0.2, "in": 0.3, ">": 0.25, "<": 0.25},
    "!=": {"==": 0.9, "<": 0.3, ">": 0.3, "is not": 0.2, "not in": 0.25},
    "is": {"is not": 0.9, "==": 0.7},
    "is not": {"is": 0.9, "!=": 0.7},
    "in": {"not in": 0.9, "==": 0.4},
    "not in": {"in": 0.9, "!=": 0.3},
}
_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
}
_BINARY_SWAPS: dict[str, dict[str, float]] = {
    "+": {"-": 0.9, "*": 0.4},
    "-": {"+": 0.9, "/": 0.15},
    "*": {"/": 0.6, "**": 0.4, "+": 0.4, "//": 0.3},
    "/": {"//": 0.75, "*": 0.7, "-": 0.15},
    "//": {"/": 0.8, "%": 0.6, "*": 0.3},
    "%": {"//": 0.7, "/": 0.3},
    "**": {"*": 0.7},
    "<<": {">>": 0.8},
    ">>": {"<<": 0.8},
    "&": {"|": 0.8, "^": 0.3},
    "|": {"&": 0.8, "^": 0.3},
    "^": {"|": 0.5, "&": 0.5},
}
_TIGHT = {"*", "/", "//", "%", "**"}
_LOOSE = (ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Lambda, ast.UnaryOp)


def _operator(site: Site, left: ast.expr, right: ast.expr, old: str, new: str) -> tuple[int, int, str] | None:
    """Where the operator stands between two operands, and the text that puts another in its place."""
    start, end = site.source.span(left)[1], site.source.span(right)[0]
    gap = site.source.text[start:end]
    position = gap.find(old)
    if position < 0 or "#" in gap[:position]:
        return None
    return start + position, start + position + len(old), new


def comparisons(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """Another comparison operator; a bound moved by one."""
    if not isinstance(node, ast.Compare):
        return
    left = node.left
    for operator, right in zip(node.ops, node.comparators, strict=True):
        old = _COMPARE[type(operator)]
        for new, weight in _COMPARE_SWAPS[old].items():
            if (place := _operator(site, left, right, old, new)) is not None:
                yield Rewrite("comparison", *place, weight)
        if isinstance(operator, (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)) and _countable(right):
            for text in (" + 1", " - 1"):
                yield site.replace("boundary", right, _wrapped(site, right) + text, 0.4)
        left = right


def _countable(node: ast.expr) -> bool:
    return isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.BinOp, ast.Subscript))


def _wrapped(site: Site, node: ast.expr) -> str:
    """The text of an operand, in parentheses where it needs them."""
    text = site.text(node)
    return f"({text})" if isinstance(node, _LOOSE) else text


def booleans(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """`and` for `or`, one condition too many, operands in the wrong order."""
    if not isinstance(node, ast.BoolOp):
        return
    old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    values = node.values
    for left, right in pairwise(values):
        if (place := _operator(site, left, right, old, new)) is not None:
            yield Rewrite("and-or", *place, 0.85)
    if len(values) == 2:
        yield site.replace("drop-condition", node, site.text(values[0]), 0.45)
        yield site.replace("drop-condition", node, site.text(values[1]), 0.45)
        yield site.replace("swap-operands", node, f"{site.text(values[1])} {old} {site.text(values[0])}", 0.25)
        return
    for dropped in values:
        rest = f" {old} ".join(site.text(v) for v in values if v is not dropped)
        yield site.replace("drop-condition", node, rest, 0.4)


def negations(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """A `not` or a minus too many."""
    if not isinstance(node, ast.UnaryOp):
        return
    if isinstance(node.op, ast.Not):
        yield site.replace("drop-not", node, site.text(node.operand), 0.85)
        yield site.replace("none-check", node, f"{_wrapped(site, node.operand)} is None", 0.55)
    elif isinstance(node.op, ast.USub):
        yield site.replace("drop-minus", node, site.text(node.operand), 0.6)


def conditions(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """A condition that lacks a `not`, tests truth instead of None, or None instead of truth."""
    if not _is_condition(site, node) or not isinstance(node, ast.expr):
        return
    text = site.text(node)
    if not isinstance(node, (ast.UnaryOp, ast.Compare)):
        yield site.replace("add-not", node, f"not ({text})" if isinstance(node, _LOOSE) else f"not {text}", 0.75)
    if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.NamedExpr)):
        subject = f"({text})" if isinstance(node, ast.NamedExpr) else text
        yield site.replace("none-check", node, f"{subject} is not None", 0.6)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and _is_none(node.comparators[0]):
        left = site.text(node.left)
        yield site.replace("truth", node, left if isinstance(node.ops[0], ast.IsNot) else f"not {left}", 0.45)
    if isinstance(node, (ast.Compare, ast.BoolOp)):
        yield site.replace("add-not", node, f"not ({text})", 0.3)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_condition(site: Site, node: ast.AST) -> bool:
    parent = site.parent(node)
    match parent:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.Assert(test=test):
            return node is test
        case ast.comprehension(ifs=ifs):
            return node in ifs
        case ast.BoolOp():
            return True
        case ast.Return():
            return isinstance(node, (ast.Compare, ast.BoolOp, ast.Call))
        case _:
            return False


def arithmetic(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """Another arithmetic operator, swapped operands, an operand too many."""
    if not isinstance(node, ast.BinOp):
        return
    old = _BINARY[type(node.op)]
    if isinstance(node.left, (ast.Constant, ast.JoinedStr)) and not _is_number(node.left) and old == "%":
        return
    swaps = {} if _is_text(node) else _BINARY_SWAPS.get(old, {})  # text can only be added or repeated
    for new, weight in swaps.items():
        yield from _swapped_operator(site, node, old, new, weight)
    left, right = site.text(node.left), site.text(node.right)
    if not isinstance(node.op, (ast.Mult, ast.BitAnd, ast.BitOr, ast.BitXor)):
        yield site.replace(
            "swap-operands", node, f"{_wrapped(site, node.right)} {old} {_wrapped(site, node.left)}", 0.5
        )
    yield site.replace("drop-operand", node, left, 0.55 if isinstance(node.right, ast.Constant) else 0.3)
    yield site.replace("drop-operand", node, right, 0.25)


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)))


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)


def _swapped_operator(site: Site, node: ast.BinOp, old: str, new: str, weight: float) -> Iterator[Rewrite]:
    place = _operator(site, node.left, node.right, old, new)
    if place is None:
        return
    same_level = (old in _TIGHT) == (new in _TIGHT) and "**" not in (old, new)
    nested = isinstance(site.parent(node), ast.BinOp) or isinstance(node.left, _LOOSE) or isinstance(node.right, _LOOSE)
    if same_level or not nested:
        yield Rewrite("arithmetic", *place, weight)
        return
    text = f"{_wrapped(site, node.left)} {new} {_wrapped(site, node.right)}"
    wrapped = f"({text})" if isinstance(site.parent(node), ast.BinOp) else text
    yield site.replace("arithmetic", node, wrapped, weight)
    yield Rewrite("arithmetic", *place, weight * 0.6)


def assignments(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """`+=` for `-=` and for plain assignment."""
    if isinstance(node, ast.AugAssign):
        old = _BINARY[type(node.op)]
        for new, weight in {**_BINARY_SWAPS.get(old, {}), "": 0.5}.items():
            place = _operator(site, node.target, node.value, old + "=", new + "=")
            if place is not None:
                yield Rewrite("augmented", *place, weight)
    elif isinstance(node, ast.Assign) and len(node.targets) == 1 and _is_reassigned(site, node):
        for new in ("+", "-", "*"):
            place = _operator(site, node.targets[0], node.value, "=", new + "=")
            if place is not None:
                yield Rewrite("augmented", *place, 0.5 if new == "+" else 0.3)


def _is_reassigned(site: Site, node: ast.Assign) -> bool:
    target = node.targets[0]
    if not isinstance(target, (ast.Name, ast.Attribute, ast.Subscript)) or site.function is None:
        return False
    wanted = ast.dump(target)
    stores = [
        n
        for n in ast.walk(site.function)
        if isinstance(n, type(target)) and isinstance(getattr(n, "ctx", None), ast.Store) and ast.dump(n) == wanted
    ]
    return len(stores) > 1 or isinstance(target, (ast.Attribute, ast.Subscript))


def choices(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """Branches of a conditional expression in the wrong order; a comprehension that filters too much."""
    if isinstance(node, ast.IfExp):
        body, test, other = (site.text(part) for part in (node.body, node.test, node.orelse))
        yield site.replace("swap-branches", node, f"{other} if {test} else {body}", 0.6)
        yield site.replace("drop-choice", node, body, 0.25)
    elif isinstance(node, ast.comprehension):
        for condition in node.ifs:
            start, end = site.source.span(condition)
            head = site.source.text[:start].rstrip(" (")
            if head.endswith("if"):
                yield Rewrite("drop-filter", len(head) - 2, end, "", 0.4)


RULES = (comparisons, booleans, negations, conditions, arithmetic, assignments, choices)
