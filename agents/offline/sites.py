"""Where a patch may go: statements under suspicion, the names known there, and what the failing tests tell."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agents.offline.source import Edit, Source

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Rewrite:
    """Replace the characters `start` to `end` of the file by `text`, and make the `more` edits elsewhere.

    `weight` says how often a bug is undone by such a rewrite, from 0 to 1: a guess from experience that orders candidates.
    """

    template: str
    start: int
    end: int
    text: str
    weight: float
    more: tuple[Edit, ...] = ()
    whole: Edit | None = None
    """A line edit made by hand; then `start`, `end` and `text` are not used."""


@dataclass(frozen=True)
class Hints:
    """What the failing tests and their output tell. Empty hints are fine: they only order and add candidates."""

    strings: frozenset[str] = frozenset()
    numbers: frozenset[int | float] = frozenset()
    names: frozenset[str] = frozenset()
    exceptions: frozenset[str] = frozenset()
    """Names of the exceptions that were raised or expected."""
    output: str = ""
    lines: frozenset[tuple[str, int]] = frozenset()
    """Places in tracebacks."""


@dataclass
class Site:
    """One suspect statement. `roots` are the expressions of its head, without the bodies of compound statements."""

    source: Source
    statement: ast.AST
    function: Function | None
    owner: ast.ClassDef | None
    score: float
    hints: Hints
    names: FileNames
    roots: tuple[ast.AST, ...] = field(default_factory=tuple)

    def replace(self, template: str, node: Any, text: str, weight: float) -> Rewrite:
        start, end = self.source.span(node)
        return Rewrite(template, start, end, text, weight)

    def text(self, node: Any) -> str:
        return self.source.of(node)

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self.source.parents.get(node)

    def nodes(self) -> Iterator[ast.AST]:
        """Every expression node of the head, those in f-strings only where their position is reliable."""
        for root in self.roots:
            yield from _expressions(self.source, root)


def _expressions(source: Source, root: ast.AST) -> Iterator[ast.AST]:
    yield root
    for child in ast.iter_child_nodes(root):
        if isinstance(child, ast.JoinedStr):
            yield from (node for node in _expressions(source, child) if _reliable(source, node))
        else:
            yield from _expressions(source, child)


def _reliable(source: Source, node: ast.AST) -> bool:
    """Before Python 3.12 positions in f-strings may be off: trust one only where the text there means the node."""
    if not isinstance(node, ast.expr) or isinstance(node, (ast.JoinedStr, ast.FormattedValue)):
        return False
    try:
        return ast.dump(ast.parse(source.of(node), mode="eval").body) == ast.dump(node)
    except (SyntaxError, ValueError):
        return False


def heads(statement: ast.AST) -> tuple[ast.AST, ...]:
    """The expressions that a statement evaluates itself, before or without entering its body."""
    match statement:
        case ast.If(test=test) | ast.While(test=test):
            return (test,)
        case ast.For(target=target, iter=iterable) | ast.AsyncFor(target=target, iter=iterable):
            return (target, iterable)
        case ast.With(items=items) | ast.AsyncWith(items=items):
            return tuple(items)
        case ast.FunctionDef(args=args) | ast.AsyncFunctionDef(args=args):
            return tuple(d for d in (*args.defaults, *args.kw_defaults) if d is not None)
        case ast.ExceptHandler(type=kind):
            return (kind,) if kind is not None else ()
        case ast.Match(subject=subject):
            return (subject,)
        case ast.match_case(guard=guard):
            return (guard,) if guard is not None else ()
        case ast.ClassDef() | ast.Try() | ast.TryStar():
            return ()
        case ast.stmt():
            return (statement,)
        case _:
            return ()


@dataclass
class FileNames:
    """Names that a file defines and uses."""

    functions: dict[str, Function] = field(default_factory=dict[str, Function])
    module: set[str] = field(default_factory=set[str])
    members: dict[str, Counter[str]] = field(default_factory=dict[str, "Counter[str]"])
    """Receiver text (`self@Class` for self) -> attributes used or defined on it."""
    called: set[str] = field(default_factory=set[str])
    """Attribute names that are called somewhere in the file."""
    plain: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """Receiver text -> attributes that are taken from it without a call, though another object's may be called."""


def file_names(source: Source) -> FileNames:
    """Collect the names of a file."""
    names = FileNames()
    if source.tree is None:
        return names
    for node in source.tree.body:
        if isinstance(node, Function):
            names.functions[node.name] = node
        names.module.update(bound_by(node))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            key = receiver(source, node)
            names.members.setdefault(key, Counter())[node.attr] += 1
            parent = source.parents.get(node)
            if not (isinstance(parent, ast.Call) and parent.func is node):
                names.plain.setdefault(key, set()).add(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            names.called.add(node.func.attr)
        elif isinstance(node, ast.ClassDef):
            own = names.members.setdefault(f"self@{node.name}", Counter())
            own.update(name for item in node.body for name in bound_by(item))
            names.called.update(item.name for item in node.body if isinstance(item, Function))
    return names


def receiver(source: Source, node: ast.Attribute) -> str:
    """Key of the object an attribute is taken from; `self` is told apart by its class."""
    if not isinstance(node.value, ast.Name) or node.value.id not in {"self", "cls"}:
        return source.of(node.value)
    owner = enclosing(source, node, ast.ClassDef)
    return f"self@{owner.name}" if isinstance(owner, ast.ClassDef) else "self"


def enclosing(source: Source, node: ast.AST, kinds: Any) -> ast.AST | None:
    """The nearest ancestor of some kind."""
    parent = source.parents.get(node)
    while parent is not None and not isinstance(parent, kinds):
        parent = source.parents.get(parent)
    return parent


def bound_by(node: ast.AST) -> set[str]:
    """Names that a statement binds, its own body's for compound statements that are no definitions."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)} | {
        name
        for n in ast.walk(node)
        if isinstance(n, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        for name in bound_by(n)
    }


def parameters(function: Function) -> list[str]:
    """Names of a function's parameters in order, starred ones at the end."""
    args = function.args
    names = [a.arg for a in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
    return names + [a.arg for a in (args.vararg, args.kwarg) if a is not None]


def locals_of(function: Function) -> list[str]:
    """Parameters and local variables, in the order of their first binding."""
    names = parameters(function)
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id not in names:
            names.append(node.id)
    return names
