"""Patch templates on values: constants, indexes, slices, ranges and off-by-one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from difflib import SequenceMatcher

from agents.offline.sites import Rewrite, Site


def constants(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """Numbers off by one, flipped flags, empty for None, a string that the tests spell differently."""
    if not isinstance(node, ast.Constant) or _is_docstring(site, node):
        return
    value = node.value
    if isinstance(value, bool):
        yield site.replace("flag", node, str(not value), 0.75)
        yield site.replace("flag", node, "None", 0.15)
    elif isinstance(value, (int, float)):
        yield from _numbers(site, node, value)
    elif isinstance(value, str):
        yield from _strings(site, node, value)
    elif value is None:
        for text, weight in {"[]": 0.3, "{}": 0.25, '""': 0.25, "0": 0.25, "False": 0.25, "True": 0.2}.items():
            yield site.replace("empty", node, text, weight)


def _numbers(site: Site, node: ast.Constant, value: int | float) -> Iterator[Rewrite]:
    offered: dict[int | float, float] = {}
    if isinstance(value, int):
        offered |= {value + 1: 0.6, value - 1: 0.6}
        offered |= {0: 0.35, 1: 0.35} if value not in (0, 1) else {}
    offered |= {-value: 0.3} if value else {}
    for number in site.hints.numbers:
        offered.setdefault(number, 0.4 if abs(number) > 2 else 0.2)
    for factor in (10, 100, 1000):
        offered.setdefault(value * factor, 0.15)
    offered.pop(value, None)
    for number, weight in offered.items():
        yield site.replace("number", node, repr(number), weight)


def _strings(site: Site, node: ast.Constant, value: str) -> Iterator[Rewrite]:
    parent = site.parent(node)
    if isinstance(parent, (ast.JoinedStr, ast.FormattedValue)) or "\n" in value or len(value) > 200:
        return
    text = site.text(node)
    quote = text[-1:]
    if text.startswith(("b", "B", "r", "R", "u", "f")) or not quote:
        return
    offered: dict[str, float] = {}
    for other in sorted(site.hints.strings):
        if other != value and len(other) <= 200 and (ratio := _alike(value, other)) > 0.5:
            offered[other] = 0.35 + 0.5 * ratio
    if not value:
        offered.setdefault(" ", 0.3)
    elif value.strip() != value:
        offered.setdefault(value.strip(), 0.35)
    elif len(value) <= 2:
        for other in ("", value + " ", ",", " ", "-", "_", ".", ":", "/"):
            offered.setdefault(other, 0.2)
    for changed in (value.lower(), value.upper()):
        offered.setdefault(changed, 0.3)
    offered.pop(value, None)
    for other, weight in offered.items():
        yield site.replace("string", node, _quoted(other, quote), weight)


def _alike(value: str, other: str) -> float:
    if abs(len(value) - len(other)) > max(len(value), len(other)) / 2:
        return 0.0
    return SequenceMatcher(None, value, other).ratio()


def _quoted(value: str, quote: str) -> str:
    text = repr(value)
    if quote == '"' and text[0] == "'" and '"' not in text:
        return '"' + text[1:-1].replace("\\'", "'") + '"'
    return text


def _is_docstring(site: Site, node: ast.Constant) -> bool:
    return isinstance(node.value, str) and isinstance(site.parent(node), ast.Expr)


def subscripts(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """Index off by one, first for last, a key that may be missing."""
    if not isinstance(node, ast.Subscript):
        return
    index = node.slice
    if isinstance(index, ast.Slice):
        yield from _slices(site, index)
        return
    text = site.text(index)
    if text in {"0", "-1"}:
        yield site.replace("index", index, "-1" if text == "0" else "0", 0.7)
    elif isinstance(index, (ast.Name, ast.BinOp, ast.Attribute, ast.Call)):
        yield site.replace("index", index, f"{text} + 1", 0.45)
        yield site.replace("index", index, f"{text} - 1", 0.45)
    if isinstance(node.ctx, ast.Load) and isinstance(index, (ast.Name, ast.Constant, ast.Attribute)):
        missing = 0.5 if "KeyError" in site.hints.exceptions else 0.2
        yield site.replace("get", node, f"{site.text(node.value)}.get({text})", missing)


def _slices(site: Site, node: ast.Slice) -> Iterator[Rewrite]:
    lower, upper, step = (site.text(part) if part is not None else "" for part in (node.lower, node.upper, node.step))

    def made(low: str, high: str, by: str = step) -> str:
        return f"{low}:{high}" + (f":{by}" if by else "")

    offered: dict[str, float] = {}
    if lower:
        offered |= {made(f"{lower} + 1", upper): 0.4, made(f"{lower} - 1", upper): 0.4, made("", upper): 0.5}
    else:
        offered[made("1", upper)] = 0.4
    if upper:
        offered |= {made(lower, f"{upper} + 1"): 0.55, made(lower, f"{upper} - 1"): 0.5, made(lower, ""): 0.5}
    else:
        offered[made(lower, "-1")] = 0.4
    if lower and not upper:
        offered[made("", lower)] = 0.6
        offered[made("", f"-{lower}")] = 0.4
    elif upper and not lower:
        offered[made(upper, "")] = 0.6
        offered[made(upper.lstrip("-"), "")] = 0.4
        offered[made(f"-{upper}", "")] = 0.5
    offered |= {made(lower, upper, ""): 0.4} if step else {made(lower, upper, "-1"): 0.25}
    offered |= {made(lower, upper, f"-{step}"): 0.4} if step else {}
    current = site.text(node)
    for text, weight in offered.items():
        if text != current:
            yield site.replace("slice", node, text, weight)


def ranges(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """Bounds of `range` and starts of `enumerate`."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.keywords:
        return
    name, args = node.func.id, [site.text(arg) for arg in node.args]
    offered: dict[str, float] = {}
    if name == "range" and len(args) == 1:
        offered = {f"{args[0]} + 1": 0.8, f"{args[0]} - 1": 0.7, f"1, {args[0]}": 0.5, f"1, {args[0]} + 1": 0.5}
    elif name == "range" and len(args) >= 2:
        rest = "".join(f", {arg}" for arg in args[2:])
        offered = {
            f"{args[0]}, {args[1]} + 1{rest}": 0.8,
            f"{args[0]}, {args[1]} - 1{rest}": 0.7,
            f"{args[0]} + 1, {args[1]}{rest}": 0.55,
            f"{args[0]} - 1, {args[1]}{rest}": 0.5,
            f"{args[1]}{rest and ''}": 0.3,
        }
    elif name == "enumerate" and len(args) == 1:
        offered = {f"{args[0]}, 1": 0.6, f"{args[0]}, start=1": 0.5}
    elif name == "enumerate" and len(args) == 2:
        offered = {args[0]: 0.6}
    for text, weight in offered.items():
        yield site.replace("range", node, f"{name}({text})", weight)


def adjustments(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """A value that is one too small or too large: what is returned, assigned or passed."""
    if not isinstance(node, (ast.Name, ast.Call, ast.BinOp, ast.Attribute)):
        return
    parent = site.parent(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
        weight = 0.45
    elif isinstance(parent, (ast.Return, ast.Assign, ast.AugAssign)) and getattr(parent, "value", None) is node:
        weight = 0.3 if isinstance(node, ast.BinOp) else 0.22
    else:
        return
    text = site.text(node)
    yield site.replace("off-by-one", node, f"{text} + 1", weight)
    yield site.replace("off-by-one", node, f"{text} - 1", weight)


RULES = (constants, subscripts, ranges, adjustments)
