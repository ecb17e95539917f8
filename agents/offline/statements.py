"""Patch templates on whole statements: returns, guards, loops, indentation, mutable defaults."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from agents.offline.sites import Function, Rewrite, Site, enclosing, locals_of, parameters
from agents.offline.source import Edit


def _line_edit(template: str, edit: Edit, weight: float, *more: Edit) -> Rewrite:
    return Rewrite(template, 0, 0, "", weight, more, edit)


def _own_line(site: Site, node: ast.stmt) -> bool:
    """Whether a statement has its lines for itself."""
    start, end = site.source.span(node)
    before = site.source.text[site.source.starts[node.lineno - 1] : start]
    last = node.end_lineno or node.lineno
    after = site.source.text[end : site.source.starts[last]].strip()
    return not before.strip() and (not after or after.startswith("#"))


def returns(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """A return that is missing, or returns the wrong thing."""
    function = site.function
    if function is None:
        return
    if isinstance(node, ast.Expr) and not isinstance(node.value, (ast.Constant, ast.Yield, ast.YieldFrom)):
        last = node is function.body[-1] or _ends_block(site, node)
        text = f"return {site.text(node.value)}"
        yield site.replace("return", node, text, 0.75 if last and not _has_value_return(function) else 0.3)
    if isinstance(node, ast.Return):
        current = site.text(node.value) if node.value is not None else ""
        for name in locals_of(function):
            if name != current and name not in {"self", "cls"}:
                weight = 0.5 if node.value is None else 0.25
                yield site.replace("return-name", node, f"return {name}", weight)
        for constant in ("None", "True", "False", "[]", "0", "{}", '""'):
            if constant != current:
                yield site.replace("return-constant", node, f"return {constant}", 0.12)
    if node is function.body[-1] and isinstance(node, ast.stmt) and not isinstance(node, ast.Return):
        yield from _appended_returns(site, function, node)


def _has_value_return(function: Function) -> bool:
    return any(isinstance(n, ast.Return) and n.value is not None for n in ast.walk(function))


def _ends_block(site: Site, node: ast.stmt) -> bool:
    parent = site.parent(node)
    return any(
        isinstance(block, list) and block[-1:] == [node] for block in (getattr(parent, f, None) for f in _BLOCKS)
    )


_BLOCKS = ("body", "orelse", "finalbody")


def _appended_returns(site: Site, function: Function, last: ast.stmt) -> Iterator[Rewrite]:
    end = last.end_lineno or last.lineno
    indent = site.source.indent(function.body[0].lineno)
    newline = site.source.newline
    lead = "" if site.source.lines[end - 1].endswith("\n") else newline
    weight = 0.7 if not _has_value_return(function) else 0.4
    assigned = [name for name in locals_of(function) if name not in {"self", "cls"}]
    own = parameters(function)
    for name in reversed(assigned):
        edit = site.source.insert(end + 1, f"{lead}{indent}return {name}{newline}")
        yield _line_edit("append-return", edit, weight * (0.5 if name in own else 1))
    if "self" in own:
        edit = site.source.insert(end + 1, f"{lead}{indent}return self{newline}")
        yield _line_edit("append-return", edit, weight * 0.5)


def loops(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """`break` for `continue`, a return that stands one level too deep, a step that stands one level too shallow."""
    swaps = {ast.Break: ("continue", "return", "pass"), ast.Continue: ("break", "pass", "return")}
    for other in swaps.get(type(node), ()) if isinstance(node, (ast.Break, ast.Continue)) else ():
        yield site.replace("loop", node, other, {"pass": 0.35, "return": 0.2}.get(other, 0.8))
    if not isinstance(node, ast.stmt) or not _own_line(site, node):
        return
    parent = site.parent(node)
    if _ends_block(site, node) and isinstance(parent, (ast.For, ast.While, ast.If, ast.With, ast.AsyncFor)):
        yield from _moved(site, node, site.source.indent(parent.lineno), _dedent_weight(node, parent))
    before = _previous(site, node)
    if (
        isinstance(before, (ast.For, ast.While, ast.If, ast.With))
        and before.body
        and not getattr(before, "orelse", None)
    ):
        indent = site.source.indent(before.body[-1].lineno)
        weight = 0.3 if not isinstance(node, ast.Return) else 0.2
        if before.body[-1].lineno != before.lineno:
            yield from _moved(site, node, indent, weight)


def _dedent_weight(node: ast.stmt, parent: ast.AST) -> float:
    if isinstance(node, ast.Return):
        return 0.7 if isinstance(parent, (ast.For, ast.While)) else 0.4
    return 0.4


def _previous(site: Site, node: ast.stmt) -> ast.stmt | None:
    parent = site.parent(node)
    for name in _BLOCKS:
        block = getattr(parent, name, None)
        if isinstance(block, list) and node in block:
            index = block.index(node)
            return block[index - 1] if index else None
    return None


def _moved(site: Site, node: ast.stmt, indent: str, weight: float) -> Iterator[Rewrite]:
    first, last = node.lineno, node.end_lineno or node.lineno
    old = site.source.indent(first)
    lines = site.source.lines[first - 1 : last]
    if indent == old or any(line.strip() and not line.startswith(old) for line in lines):
        return
    text = "".join(indent + line[len(old) :] if line.strip() else line for line in lines)
    yield _line_edit("indentation", Edit(site.source.path, first, last, text), weight)


def deletions(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """A statement that should not be there."""
    if not isinstance(node, (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Delete, ast.Return, ast.Assert)):
        return
    if not _own_line(site, node) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return
    weight = 0.12 if isinstance(node, (ast.Assign, ast.Return)) else 0.25
    block = _block_of(site, node)
    if block is not None and len(block) == 1:
        yield site.replace("delete", node, "pass", weight)
    else:
        last = node.end_lineno or node.lineno
        yield _line_edit("delete", site.source.remove(node.lineno, last), weight)


def _block_of(site: Site, node: ast.stmt) -> list[ast.stmt] | None:
    parent = site.parent(node)
    for name in _BLOCKS:
        block = getattr(parent, name, None)
        if isinstance(block, list) and node in block:
            return block
    return None


def guards(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """A missing check before a statement: for None, for an empty value, for zero."""
    if not isinstance(node, ast.stmt) or site.function is None or not _own_line(site, node):
        return
    raised = site.hints.exceptions
    tested = _guarded(site, node, raised)
    if not tested:
        return
    indent, newline = site.source.indent(node.lineno), site.source.newline
    in_loop = enclosing(site.source, node, (ast.For, ast.While, Function))
    ways = [f"return {value}" for value in _returned(site)]
    ways += ["continue"] if isinstance(in_loop, (ast.For, ast.While)) else []
    for condition, weight in tested.items():
        for rank, way in enumerate(ways):
            text = f"{indent}if {condition}:{newline}{indent}    {way}{newline}"
            yield _line_edit("guard", site.source.insert(node.lineno, text), weight * (1 - 0.12 * rank))


def _guarded(site: Site, node: ast.stmt, raised: frozenset[str]) -> dict[str, float]:
    """Conditions under which the statement would fail in the way the tests saw, with weights."""
    conditions: dict[str, float] = {}
    for part in (n for root in site.roots for n in ast.walk(root)):
        if isinstance(part, ast.BinOp) and isinstance(part.op, (ast.Div, ast.FloorDiv, ast.Mod)):
            if "ZeroDivisionError" in raised and not isinstance(part.right, ast.Constant):
                condition = _emptiness(site, part.right)
                conditions[condition] = 0.7
        elif isinstance(part, (ast.Attribute, ast.Subscript)) and isinstance(part.value, (ast.Name, ast.Attribute)):
            subject = site.text(part.value)
            if "NoneType" in site.hints.output and subject not in {"self", "cls"}:
                conditions.setdefault(f"{subject} is None", 0.6)
            if "IndexError" in raised and isinstance(part, ast.Subscript):
                conditions.setdefault(f"not {subject}", 0.65)
    if raised & {"ValueError", "TypeError", "AttributeError", "StopIteration", "IndexError"}:
        for name in parameters(site.function) if site.function is not None else ():
            if name not in {"self", "cls"} and node in (site.function.body if site.function else ()):
                conditions.setdefault(f"not {name}", 0.3)
                conditions.setdefault(f"{name} is None", 0.28)
    return conditions


def _emptiness(site: Site, node: ast.expr) -> str:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len" and len(node.args) == 1:
        return f"not {site.text(node.args[0])}"
    text = site.text(node)
    return f"not {text}" if isinstance(node, (ast.Name, ast.Attribute, ast.Call)) else f"({text}) == 0"


def _returned(site: Site) -> list[str]:
    """What a guard might return: what the tests compare with first, then the usual empty values."""
    usual = ["None", "0", "[]", '""', "False", "{}", "True", "0.0"]
    assert site.function is not None
    used = [
        site.text(n.value)
        for n in ast.walk(site.function)
        if isinstance(n, ast.Return) and isinstance(n.value, (ast.Constant, ast.List, ast.Dict, ast.Tuple))
    ]
    return list(dict.fromkeys([*used, *usual]))[:6]


def definitions(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """A default that all calls share; a constructor that forgets its base class."""
    if not isinstance(node, Function):
        return
    args = [*node.args.posonlyargs, *node.args.args]
    pairs = list(zip(args[len(args) - len(node.args.defaults) :], node.args.defaults, strict=True))
    pairs += [(a, d) for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if d is not None]
    body = _first_statement(node)
    indent, newline = site.source.indent(body.lineno), site.source.newline
    for argument, default in pairs:
        if isinstance(default, (ast.List, ast.Dict, ast.Set)) or _is_empty_call(default):
            text = f"{indent}if {argument.arg} is None:{newline}"
            text += f"{indent}    {argument.arg} = {site.text(default)}{newline}"
            edit = site.source.replace(*site.source.span(default), "None")
            if body.lineno > edit.end:
                yield _line_edit("mutable-default", edit, 0.9, site.source.insert(body.lineno, text))
    derived = node.name == "__init__" and site.owner is not None and bool(site.owner.bases)
    if derived and body.lineno > node.lineno and "super()" not in site.text(node):
        edit = site.source.insert(body.lineno, f"{indent}super().__init__(){newline}")
        yield _line_edit("super", edit, 0.35)


def _is_empty_call(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"list", "dict", "set"}
        and not node.args
    )


def _first_statement(function: Function) -> ast.stmt:
    first = function.body[0]
    is_doc = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return function.body[1] if is_doc and len(function.body) > 1 else first


RULES = (returns, loops, deletions, guards, definitions)
