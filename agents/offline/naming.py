"""Patch templates on names: the wrong variable, attribute, method, function or exception."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher

from agents.offline.sites import Rewrite, Site, locals_of, parameters, receiver

_SHOWN = 7
"""Alternatives offered for one name."""


def _ranked(name: str, others: Iterable[str]) -> list[tuple[str, float]]:
    """Other names, the most alike first, with their likeness from 0 to 1."""
    scored = [(other, SequenceMatcher(None, name, other).ratio()) for other in sorted(set(others)) if other != name]
    return sorted(scored, key=lambda pair: -pair[1])[:_SHOWN]


def variables(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """Another variable of the function, another function of the module, an attribute of `self`."""
    if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load):
        return
    parent = site.parent(node)
    if isinstance(parent, ast.Call) and parent.func is node:
        yield from _functions(site, node)
        return
    undefined = f"name '{node.id}' is not defined" in site.hints.output
    lift = 0.45 if undefined else 0.0
    if site.function is not None and node.id not in vars(builtins):
        visible = [name for name in locals_of(site.function) if name not in {"self", "cls"}]
        for other, likeness in _ranked(node.id, visible):
            yield site.replace("variable", node, other, 0.4 + 0.25 * likeness + lift)
    owner = site.owner.name if site.owner is not None else ""
    method = site.function is not None and "self" in parameters(site.function)
    if method and node.id in site.names.members.get(f"self@{owner}", ()):
        yield site.replace("variable", node, f"self.{node.id}", 0.45 + lift)
    if undefined:
        for other, likeness in _ranked(node.id, site.names.module):
            yield site.replace("variable", node, other, 0.3 + 0.5 * likeness)


def _functions(site: Site, node: ast.Name) -> Iterator[Rewrite]:
    own = site.names.functions.get(node.id)
    arity = len(parameters(own)) if own is not None else None
    for other, likeness in _ranked(node.id, site.names.functions):
        same = arity is None or len(parameters(site.names.functions[other])) == arity
        yield site.replace("function", node, other, (0.4 if same else 0.2) + 0.3 * likeness)


def attributes(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """Another attribute or method of the same object; a parameter instead of the attribute of its name."""
    if not isinstance(node, ast.Attribute):
        return
    called = isinstance(parent := site.parent(node), ast.Call) and parent.func is node
    owner = receiver(site.source, node)
    plain = site.names.plain.get(owner, set()) if not called else set()
    known = site.names.members.get(owner, {})
    same_kind = [name for name in known if (name in site.names.called) == called or name in plain]
    near = _taken_nearby(site, node)
    missing = f"has no attribute '{node.attr}'" in site.hints.output
    end = site.source.span(node)[1]
    for other, likeness in _ranked(node.attr, same_kind):
        weight = 0.35 + 0.3 * likeness + (0.4 if missing else 0.12 if other in near else 0)
        yield Rewrite("attribute", end - len(node.attr), end, other, weight)
    for word in _ranked(node.attr, _suggested(site, node.attr)):
        yield Rewrite("attribute", end - len(node.attr), end, word[0], 0.9)
    if (
        isinstance(node.value, ast.Name)
        and node.value.id in {"self", "cls"}
        and isinstance(node.ctx, ast.Load)
        and site.function is not None
        and node.attr in locals_of(site.function)
    ):
        yield site.replace("variable", node, node.attr, 0.5)


def _taken_nearby(site: Site, node: ast.Attribute) -> set[str]:
    """What the same function takes from the same object."""
    found = ast.walk(site.function) if site.function is not None else ()
    others = (n for n in found if isinstance(n, ast.Attribute) and n is not node)
    return {other.attr for other in others if receiver(site.source, other) == receiver(site.source, node)}


def _suggested(site: Site, attribute: str) -> list[str]:
    """What the interpreter itself proposes: `has no attribute 'x'. Did you mean: 'y'?`"""
    _, found, rest = site.hints.output.partition(f"has no attribute '{attribute}'. Did you mean: '")
    return [rest.partition("'")[0]] if found else []


def keywords(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """A keyword argument under the wrong name."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return
    callee = site.names.functions.get(node.func.id)
    if callee is None:
        return
    given = {k.arg for k in node.keywords}
    free = [name for name in parameters(callee)[len(node.args) :] if name not in given]
    for keyword in node.keywords:
        if keyword.arg is None:
            continue
        start = site.source.span(keyword)[0]
        for other, likeness in _ranked(keyword.arg, free):
            yield Rewrite("keyword", start, start + len(keyword.arg), other, 0.3 + 0.3 * likeness)


_ERRORS = (
    "ValueError",
    "TypeError",
    "KeyError",
    "IndexError",
    "AttributeError",
    "LookupError",
    "RuntimeError",
    "OSError",
)


def exceptions(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """The wrong exception raised or caught."""
    parent = site.parent(node)
    if not isinstance(node, (ast.Name, ast.Attribute)):
        return
    handler = isinstance(site.statement, ast.ExceptHandler)
    raised = isinstance(parent, ast.Raise) or (
        isinstance(parent, ast.Call) and parent.func is node and isinstance(site.parent(parent), ast.Raise)
    )
    if not handler and not raised:
        return
    text = site.text(node)
    offered = dict.fromkeys((n for n in _ERRORS if n != text), 0.2)
    offered |= {n: 0.75 for n in site.hints.exceptions if n != text and n != "AssertionError"}
    offered |= {
        name: 0.45
        for name in site.names.module
        if name != text and name.endswith(("Error", "Exception")) and name not in offered
    }
    for other, weight in offered.items():
        yield site.replace("exception", node, other, weight)
        if handler and node is getattr(site.statement, "type", None):
            yield site.replace("exception", node, f"({text}, {other})", weight * 0.9)


def mapping_keys(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """A key of a mapping that the same function spells differently elsewhere."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or site.function is None:
        return
    parent = site.parent(node)
    if not isinstance(parent, (ast.Subscript, ast.Dict, ast.Call, ast.Compare)):
        return
    holder: ast.AST = site.owner or site.function
    keys = {n.value for n in ast.walk(holder) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    short = [k for k in keys if k and len(k) <= 40 and "\n" not in k and " " not in k]
    quote = site.text(node)[-1:]
    for other, likeness in _ranked(node.value, short):
        if quote in {'"', "'"} and quote not in other and "\\" not in other:
            yield site.replace("key", node, f"{quote}{other}{quote}", 0.2 + 0.35 * likeness)


RULES = (variables, attributes, keywords, exceptions, mapping_keys)
