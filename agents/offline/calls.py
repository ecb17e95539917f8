"""Patch templates on calls: swapped, missing and superfluous arguments, the sibling of a function, wrapped values."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from agents.offline.sites import Function, Rewrite, Site, parameters

_SIBLINGS: tuple[tuple[str, ...], ...] = (
    ("min", "max"),
    ("any", "all"),
    ("startswith", "endswith"),
    ("lstrip", "rstrip", "strip"),
    ("removeprefix", "removesuffix"),
    ("upper", "lower", "title", "capitalize", "casefold"),
    ("append", "extend", "add"),
    ("append", "appendleft"),
    ("pop", "popleft", "popitem"),
    ("update", "add"),
    ("index", "rindex", "find", "rfind"),
    ("split", "rsplit", "splitlines"),
    ("partition", "rpartition"),
    ("floor", "ceil", "trunc", "round"),
    ("int", "float", "round"),
    ("str", "repr"),
    ("keys", "values", "items"),
    ("isdigit", "isalpha", "isalnum", "isnumeric", "isidentifier"),
    ("islower", "isupper"),
    ("encode", "decode"),
    ("sum", "len", "max"),
    ("union", "intersection", "difference", "symmetric_difference"),
    ("issubset", "issuperset"),
    ("get", "pop", "setdefault"),
    ("remove", "discard"),
    ("ljust", "rjust", "center"),
    ("match", "search", "fullmatch"),
    ("findall", "finditer"),
    ("dumps", "dump"),
    ("loads", "load"),
    ("read", "readline", "readlines"),
    ("list", "tuple", "set", "frozenset", "sorted"),
    ("getattr", "hasattr"),
    ("isinstance", "issubclass"),
    ("exists", "is_file", "is_dir"),
    ("isfile", "isdir", "exists"),
    ("bisect_left", "bisect_right", "bisect"),
    ("heappush", "heappop", "heappushpop"),
    ("nlargest", "nsmallest"),
    ("permutations", "combinations", "product"),
    ("zip", "zip_longest"),
    ("insert", "append"),
    ("deepcopy", "copy"),
    ("fromkeys", "fromiter"),
    ("basename", "dirname"),
    ("debug", "info", "warning", "error"),
    ("acquire", "release"),
)


def siblings(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """The function's counterpart: `max` for `min`, `rsplit` for `split`, ..."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        start, end = site.source.span(node)
        name = node.id
    elif isinstance(node, ast.Attribute):
        end = site.source.span(node)[1]
        start, name = end - len(node.attr), node.attr
    else:
        return
    called = isinstance(parent := site.parent(node), ast.Call) and parent.func is node
    for group in _SIBLINGS:
        if name in group:
            for other in group:
                if other != name:
                    yield Rewrite("sibling", start, end, other, (0.8 if called else 0.5) / (1 + 0.15 * len(group)))


def arguments(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """Arguments in the wrong order, one too many, one too few."""
    if not isinstance(node, ast.Call):
        return
    args = node.args
    for first, second in pairwise(args):
        if site.text(first) != site.text(second) and not isinstance(second, ast.Starred):
            yield _swapped(site, first, second, 0.65)
    if len(args) == 3:
        yield _swapped(site, args[0], args[2], 0.3)
    yield from _dropped(site, node)
    yield from _forwarded(site, node)


def _swapped(site: Site, first: ast.expr, second: ast.expr, weight: float) -> Rewrite:
    start, middle = site.source.span(first)
    begin, end = site.source.span(second)
    text = site.text(second) + site.source.text[middle:begin] + site.text(first)
    return Rewrite("swap-arguments", start, end, text, weight)


def _dropped(site: Site, node: ast.Call) -> Iterator[Rewrite]:
    parts = [*node.args, *node.keywords]
    unexpected = "unexpected keyword" in site.hints.output or "positional argument" in site.hints.output
    for index, part in enumerate(parts):
        if index > 0:
            start, end = site.source.span(parts[index - 1])[1], site.source.span(part)[1]
        else:
            start = site.source.span(part)[0]
            end = site.source.span(parts[1])[0] if len(parts) > 1 else site.source.span(part)[1]
        weight = 0.4 if index == len(parts) - 1 else 0.15
        yield Rewrite("drop-argument", start, end, "", weight + (0.2 if unexpected else 0))


def _forwarded(site: Site, node: ast.Call) -> Iterator[Rewrite]:
    """Parameters of the enclosing function that the callee takes too and does not get."""
    if site.function is None or any(k.arg is None for k in node.keywords):
        return
    callee = _callee(site, node)
    given = {k.arg for k in node.keywords} | {site.text(a) for a in node.args}
    theirs = set(parameters(callee)) if callee is not None else None
    used = {n.id for n in ast.walk(site.function) if isinstance(n, ast.Name)}
    end = site.source.span(node)[1]
    before = site.source.text[: end - 1].rstrip()
    comma = "" if before.endswith(("(", ",")) else ", "
    for name in parameters(site.function):
        if name in {"self", "cls"} or name in given or (theirs is not None and name not in theirs):
            continue
        if theirs is None and name in used:
            continue
        weight = 0.6 if name not in used else 0.35
        yield Rewrite("forward-argument", len(before), end - 1, f"{comma}{name}={name}", weight)


def _callee(site: Site, node: ast.Call) -> Function | None:
    if isinstance(node.func, ast.Name):
        return site.names.functions.get(node.func.id)
    if (
        isinstance(node.func, ast.Attribute)
        and site.owner is not None
        and site.text(node.func.value) in {"self", "cls"}
    ):
        for item in site.owner.body:
            if isinstance(item, Function) and item.name == node.func.attr:
                return item
    return None


def ordering(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """`sorted` and `sort` in the wrong direction; a list sorted in place and lost."""
    if not isinstance(node, ast.Call):
        return
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    if name not in {"sorted", "sort", "max", "min"}:
        return
    for keyword in node.keywords:
        if keyword.arg == "reverse" and isinstance(keyword.value, ast.Constant):
            return
    if name in {"sorted", "sort"} and not any(k.arg == "reverse" for k in node.keywords):
        end = site.source.span(node)[1]
        comma = ", " if node.args or node.keywords else ""
        yield Rewrite("reverse", end - 1, end - 1, f"{comma}reverse=True", 0.6)
    if name == "sort" and isinstance(node.func, ast.Attribute) and not isinstance(site.parent(node), ast.Expr):
        inner = ", ".join([site.text(node.func.value), *(site.text(k) for k in node.keywords)])
        yield site.replace("sorted", node, f"sorted({inner})", 0.7)


def wrappers(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """A conversion too many or too few: `int(x)` for `x`, `list(x)` for an alias, a call that was forgotten."""
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords and isinstance(node.func, ast.Name):
        yield site.replace("unwrap", node, site.text(node.args[0]), 0.4)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args and not node.keywords:
        yield site.replace("unwrap", node, site.text(node.func.value), 0.4)
    parent = site.parent(node)
    value = getattr(parent, "value", None) is node and isinstance(parent, (ast.Return, ast.Assign, ast.keyword))
    passed = isinstance(parent, ast.Call) and node in parent.args
    if not isinstance(node, (ast.Name, ast.Attribute, ast.Subscript, ast.Call)) or not (value or passed):
        return
    if not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
        return
    text = site.text(node)
    raised = site.hints.exceptions
    for name in ("list", "dict", "int", "str", "float", "set", "tuple", "sorted", "bool", "len", "abs"):
        fits = "TypeError" in raised and name in {"int", "str", "float", "list", "len"}
        yield site.replace("wrap", node, f"{name}({text})", 0.3 if fits else 0.15)
    for method in ("strip()", "lower()", "copy()"):
        yield site.replace("wrap", node, f"{text}.{method}", 0.18)
    if isinstance(node, ast.Attribute) and (node.attr in site.names.called or "method" in site.hints.output):
        yield site.replace("call", node, f"{text}()", 0.45)


def awaiting(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """A missing or superfluous `await`."""
    if isinstance(node, ast.Await):
        yield site.replace("drop-await", node, site.text(node.value), 0.3)
    elif (
        isinstance(node, ast.Call)
        and isinstance(site.function, ast.AsyncFunctionDef)
        and not isinstance(site.parent(node), ast.Await)
    ):
        callee = _callee(site, node)
        known = isinstance(callee, ast.AsyncFunctionDef)
        simple = isinstance(site.parent(node), (ast.Assign, ast.Return, ast.Expr, ast.keyword))
        text = f"await {site.text(node)}"
        yield site.replace("await", node, text if simple else f"({text})", 0.85 if known else 0.35)


def defaults(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """A default that `get` and its like lack."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.keywords:
        return
    if node.func.attr in {"get", "pop"} and len(node.args) == 1:
        end = site.source.span(node)[1]
        for text, weight in {"0": 0.35, "None": 0.25, '""': 0.3, "[]": 0.3, "{}": 0.25, "False": 0.2}.items():
            yield Rewrite("default", end - 1, end - 1, f", {text}", weight)


def types(site: Site, node: ast.AST) -> Iterator[Rewrite]:
    """A type check that is too narrow."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "isinstance":
        return
    if len(node.args) != 2 or not isinstance(node.args[1], ast.Name):
        return
    kin = {
        "list": ["tuple"],
        "int": ["float"],
        "str": ["bytes"],
        "dict": ["Mapping"],
        "tuple": ["list"],
        "float": ["int"],
    }
    for other in kin.get(node.args[1].id, []):
        yield site.replace("types", node.args[1], f"({node.args[1].id}, {other})", 0.45)
        yield site.replace("types", node.args[1], other, 0.4)


RULES = (siblings, arguments, ordering, wrappers, awaiting, defaults, types)
