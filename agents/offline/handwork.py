"""Lint findings that have no safe automatic fix and are still simple enough to mend by rule, without changing behaviour."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from agents.offline.sites import Function, enclosing
from agents.offline.source import Edit, Source

_Fix = Callable[[Source, ast.AST], Edit | None]


def edits_for(source: Source, findings: list[dict[str, Any]]) -> list[Edit]:
    """Edits for the findings of one file that can be mended by hand; at most one edit for a line."""
    if source.tree is None:
        return []
    taken: set[int] = set()
    edits: list[Edit] = []
    for finding in findings:
        edit = _edit(source, finding)
        lines = set(range(edit.start, max(edit.end, edit.start) + 1)) if edit else set[int]()
        if edit is not None and not lines & taken:
            taken |= lines
            edits.append(edit)
    return edits


def can_mend(code: str) -> bool:
    """Whether a rule has a way here."""
    return code in _FIXES


def _edit(source: Source, finding: dict[str, Any]) -> Edit | None:
    fix = _FIXES.get(str(finding.get("code")))
    line, column = finding.get("line"), finding.get("column")
    if fix is None or not isinstance(line, int) or not isinstance(column, int) or line > len(source.lines):
        return None
    for node in _nodes_at(source, line, column):
        edit = fix(source, node)
        if edit is not None and _still_parses(source, edit):
            return edit
    return None


def _nodes_at(source: Source, line: int, column: int) -> Iterator[ast.AST]:
    """Nodes that begin at a place (column from 1, in characters), outer ones first."""
    assert source.tree is not None
    wanted = source.starts[line - 1] + column - 1
    for node in ast.walk(source.tree):
        if (
            isinstance(node, (ast.expr, ast.stmt, ast.ExceptHandler))
            and source.offset(node.lineno, node.col_offset) == wanted
        ):
            yield node
    for node in ast.walk(source.tree):
        if isinstance(node, ast.stmt) and node.lineno == line:
            yield node


def _still_parses(source: Source, edit: Edit) -> bool:
    lines = [*source.lines]
    lines[edit.start - 1 : edit.end] = [edit.text]
    try:
        ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return False
    return True


def _alone(source: Source, node: ast.stmt) -> bool:
    """Whether the statement has its lines for itself, no comment among them."""
    start, end = source.span(node)
    before = source.text[source.starts[node.lineno - 1] : start]
    after = source.text[end : source.starts[node.end_lineno or node.lineno]]
    return not before.strip() and not after.strip()


def _unused_variable(source: Source, node: ast.AST) -> Edit | None:
    """F841: keep what the right-hand side does, drop the name."""
    if isinstance(node, ast.ExceptHandler) and node.name and node.type is not None:
        start, end = source.span(node.type)[1], source.offset(node.body[0].lineno, node.body[0].col_offset)
        head = source.text[start:end]
        bare = head.lstrip(" )")
        if bare.startswith(f"as {node.name}"):
            closing = head[: len(head) - len(bare)].rstrip()
            return source.replace(start, start + head.index(node.name) + len(node.name), closing)
    target = (
        node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else getattr(node, "target", None)
    )
    if (
        not isinstance(node, (ast.Assign, ast.AnnAssign))
        or not isinstance(target, ast.Name)
        or not _alone(source, node)
    ):
        return None
    if node.value is None:
        return None
    if not _has_effect(node.value):
        return _dropped(source, node)
    start, _ = source.span(node)
    begin, _ = source.span(node.value)
    gap = source.text[start:begin]
    return source.replace(start, begin, "(" if gap.rstrip(" \t").endswith("(") else "")


def _has_effect(node: ast.expr) -> bool:
    """Whether evaluating may do more than give a value."""
    return any(
        isinstance(
            n, (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr, ast.Subscript, ast.Attribute, ast.BinOp)
        )
        for n in ast.walk(node)
    )


def _dropped(source: Source, node: ast.stmt) -> Edit:
    parent = source.parents.get(node)
    for name in ("body", "orelse", "finalbody"):
        if getattr(parent, name, None) == [node]:
            return source.replace(*source.span(node), "pass")
    return source.remove(node.lineno, node.end_lineno or node.lineno)


def _none_comparison(source: Source, node: ast.AST) -> Edit | None:
    """E711: `== None` becomes `is None`; only where the left side is a plain name, whose type cannot be an array's."""
    if not isinstance(node, ast.Compare):
        parent = source.parents.get(node)
        node = parent if isinstance(parent, ast.Compare) else node
    if not isinstance(node, ast.Compare) or len(node.ops) != 1 or not isinstance(node.left, ast.Name):
        return None
    right = node.comparators[0]
    if not isinstance(right, ast.Constant) or right.value is not None:
        return None
    word = {ast.Eq: "is", ast.NotEq: "is not"}.get(type(node.ops[0]))
    return source.replace(*source.span(node), f"{source.of(node.left)} {word} None") if word else None


def _split_imports(source: Source, node: ast.AST) -> Edit | None:
    """E401: one import a line."""
    if not isinstance(node, ast.Import) or len(node.names) < 2 or not _alone(source, node):
        return None
    indent = source.indent(node.lineno)
    lines = [f"{indent}import {a.name}{f' as {a.asname}' if a.asname else ''}{source.newline}" for a in node.names]
    return Edit(source.path, node.lineno, node.end_lineno or node.lineno, "".join(lines))


def _lambda_assignment(source: Source, node: ast.AST) -> Edit | None:
    """E731: a named lambda becomes a function."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Lambda) or not _alone(source, node):
        return None
    target, function = node.targets[0], node.value
    if len(node.targets) != 1 or not isinstance(target, ast.Name) or isinstance(source.parents.get(node), ast.ClassDef):
        return None
    indent, newline = source.indent(node.lineno), source.newline
    body = source.of(function.body)
    if "\n" in body:
        return None
    text = f"{indent}def {target.id}({ast.unparse(function.args)}):{newline}{indent}    return {body}{newline}"
    return Edit(source.path, node.lineno, node.end_lineno or node.lineno, text)


def _unused_loop_variable(source: Source, node: ast.AST) -> Edit | None:
    """B007: an underscore says that a loop's variable is not used."""
    if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Store):
        return None
    loop = enclosing(source, node, (ast.For, ast.AsyncFor))
    function = enclosing(source, node, Function) or source.tree
    if loop is None or function is None or node.id.startswith("_"):
        return None
    named = [n for n in ast.walk(function) if isinstance(n, ast.Name) and n.id in {node.id, f"_{node.id}"}]
    words = {n.value for n in ast.walk(function) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    if len(named) != 1 or any(node.id in word for word in words) or _uses_locals(function):
        return None
    return source.replace(*source.span(node), f"_{node.id}")


def _uses_locals(function: ast.AST) -> bool:
    return any(isinstance(n, ast.Name) and n.id in {"locals", "vars", "eval", "exec"} for n in ast.walk(function))


def _keys_membership(source: Source, node: ast.AST) -> Edit | None:
    """SIM118: `key in mapping.keys()` on an attribute or name that the file itself shows to be a dict."""
    compare = node if isinstance(node, ast.Compare) else source.parents.get(node)
    if (
        not isinstance(compare, ast.Compare)
        or len(compare.ops) != 1
        or not isinstance(compare.ops[0], (ast.In, ast.NotIn))
    ):
        return None
    right = compare.comparators[0]
    if not isinstance(right, ast.Call) or right.args or not isinstance(right.func, ast.Attribute):
        return None
    if right.func.attr != "keys" or not _is_dict(source, right.func.value):
        return None
    return source.replace(*source.span(right), source.of(right.func.value))


def _is_dict(source: Source, node: ast.expr) -> bool:
    """Whether some assignment in the file gives the name a dict display, a `dict(...)` or such an annotation."""
    wanted = source.of(node)
    assert source.tree is not None
    for other in ast.walk(source.tree):
        if isinstance(other, ast.AnnAssign) and source.of(other.target) == wanted:
            return source.of(other.annotation).lower().startswith(("dict[", "dict", "typing.dict"))
        if not isinstance(other, ast.Assign) or not isinstance(other.value, (ast.Dict, ast.DictComp)):
            continue
        if any(source.of(target) == wanted for target in other.targets):
            return True
    return False


_FIXES: dict[str, _Fix] = {
    "F841": _unused_variable,
    "E711": _none_comparison,
    "E401": _split_imports,
    "E731": _lambda_assignment,
    "B007": _unused_loop_variable,
    "SIM118": _keys_membership,
}
