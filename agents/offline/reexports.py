"""Names that others import from a module and that a tidied import no longer gives them."""

from __future__ import annotations

import ast
import re
import sys
import typing
from collections.abc import Iterable
from dataclasses import dataclass

from agents.offline.clues import imported_modules
from agents.offline.diffs import FileDiff
from agents.offline.paths import module_of
from agents.offline.sites import bound_by
from agents.offline.source import Edit, Source

_TAIL = (
    re.compile(r"cannot import name '(\w+)' from (?:partially initialized module )?'([\w.]+)'"),
    re.compile(r"module '([\w.]+)' has no attribute '(\w+)'"),
)


@dataclass(frozen=True, order=True)
class Missing:
    """A name that the module at `path` should have."""

    path: str
    name: str


def missing_in_output(output: str, files: Iterable[str]) -> set[Missing]:
    """Names that the output of a gate complains about."""
    by_module = {module_of(path): path for path in files if path.endswith(".py")}
    pairs = {(module, name) for name, module in _TAIL[0].findall(output)}
    pairs |= set(_TAIL[1].findall(output))
    return {Missing(by_module[module], name) for module, name in pairs if module in by_module}


def missing_for(importers: dict[str, str], modules: dict[str, str], files: Iterable[str]) -> set[Missing]:
    """Names that importing files want from modules and that these no longer bind.

    Args:
        importers: Text by path of the files that import.
        modules: Text by path of the modules in question.
        files: All paths, to know submodules.
    """
    known = {module_of(path) for path in files}
    paths = {module_of(path): path for path in modules}
    bound = {module: names_of(Source(path, modules[path])) for module, path in paths.items()}
    found: set[Missing] = set()
    for importer, text in importers.items():
        for module, name in imported_modules(importer, text):
            if name and name != "*" and module in paths and f"{module}.{name}" not in known:
                names = bound[module]
                if names is not None and name not in names and "__getattr__" not in names:
                    found.add(Missing(paths[module], name))
    return found


def names_of(source: Source) -> set[str] | None:
    """Names bound at a module's top level; None where that cannot be known (star imports, no parse)."""
    if source.tree is None:
        return None
    names: set[str] = set()
    for node in source.tree.body:
        names |= bound_by(node)
    return None if "*" in names else names


def removed_import(diffs: Iterable[FileDiff], missing: Missing) -> str | None:
    """The statement that gave the name before the change, as an explicit re-export."""
    for diff in diffs:
        if diff.path == missing.path:
            for block in diff.blocks:
                if (statement := _import_in(block.removed, missing.name)) is not None:
                    return statement
    return None


def _import_in(lines: list[str], name: str) -> str | None:
    """The import of a name among removed lines, which need not be whole statements."""
    for node in _imports(lines):
        for alias in node.names:
            if (alias.asname or alias.name) != name:
                continue
            if isinstance(node, ast.ImportFrom):
                return f"from {'.' * node.level}{node.module or ''} import {alias.name} as {name}"
            return f"import {alias.name} as {name}"
    return None


def _imports(lines: list[str]) -> list[ast.Import | ast.ImportFrom]:
    found: list[ast.Import | ast.ImportFrom] = []
    for start in range(len(lines)):
        if not lines[start].lstrip().startswith(("import ", "from ")):
            continue
        for end in range(start + 1, min(start + 40, len(lines)) + 1):
            try:
                tree = ast.parse("\n".join(lines[start:end]).strip())
            except SyntaxError:
                continue
            found.extend(n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom)))
            break
    return found


def definition_pattern(name: str) -> str:
    """Regular expression of lines that define a name at top level."""
    return rf"^((async )?def|class)\s+{name}\b|^{name}\s*(:[^=]+)?="


def import_from(source: Source, origin: str, name: str) -> str:
    """The re-export of a name defined in the file `origin`, relative where the module's own imports are."""
    module = module_of(origin)
    uses_relative = source.tree is not None and any(
        isinstance(node, ast.ImportFrom) and node.level for node in source.tree.body
    )
    here = module_of(source.path).split(".")
    package = here if source.path.endswith("__init__.py") else here[:-1]
    if uses_relative and module.split(".")[: len(package)] == package and module != ".".join(package):
        return f"from .{'.'.join(module.split('.')[len(package) :])} import {name} as {name}"
    return f"from {module} import {name} as {name}"


def well_known(name: str) -> str | None:
    """The import of a name of the standard library."""
    if name in sys.stdlib_module_names:
        return f"import {name} as {name}"
    return f"from typing import {name} as {name}" if hasattr(typing, name) else None


def insertion(source: Source, statements: list[str]) -> Edit:
    """The edit that puts statements after the module's last leading import."""
    line = 0
    for node in source.tree.body if source.tree is not None else ():
        if isinstance(node, (ast.Import, ast.ImportFrom)) or _is_docstring(node):
            line = node.end_lineno or node.lineno
        else:
            break
    after_docstring = source.tree is not None and source.tree.body and line and _is_docstring(source.tree.body[0])
    only_docstring = after_docstring and line == (source.tree.body[0].end_lineno if source.tree else 0)
    lead = source.newline if only_docstring else ""
    text = lead + "".join(statement + source.newline for statement in sorted(statements))
    return source.insert(line + 1, text)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
