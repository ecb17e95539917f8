"""From ranked lines, traceback places and imports to scored lines for the patch templates. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Any

from agents.offline.clues import imported_modules, name_of, path_of
from agents.offline.paths import is_program, module_of
from agents.offline.sites import Hints
from agents.offline.source import Source
from agents.scope import refusal_to_write

Scores = dict[str, dict[int, float]]
"""Path -> line -> suspicion from 0 to 1."""

_CRASH = 1.35
"""Lines in the traceback of an exception that is no failed assertion weigh more than Ochiai alone says."""
_FILES = 8


def scores_of(rows: Sequence[Any], hints: Hints, scope: Sequence[str]) -> Scores:
    """Suspicion of lines that this task may change, scaled so that the highest is 1."""
    found: Scores = {}
    for rank, row in enumerate(rows):
        path, line = str(row.get("path")), int(row.get("line", 0))
        if line < 1 or not _may_patch(path, scope):
            continue
        # Equal scores keep the order of the ranking, which knows how deep in the traceback a line stood.
        score = float(row.get("score", 0)) * (1 - 0.001 * min(rank, 200))
        if (path, line) in hints.lines and hints.exceptions - {"AssertionError"}:
            score *= _CRASH
        found.setdefault(path, {})[line] = max(score, found.get(path, {}).get(line, 0.0))
    return _scaled(_best_files(found))


def scores_from_frames(hints: Hints, scope: Sequence[str]) -> Scores:
    """Suspicion from tracebacks alone, for tests that fail before a line can be ranked."""
    found: Scores = {}
    for path, line in sorted(hints.lines):
        if _may_patch(path, scope):
            found.setdefault(path, {})[line] = 1.0
    return found


def tested_files(
    tests: Sequence[str], sources: dict[str, str], files: Iterable[str], scope: Sequence[str]
) -> list[str]:
    """Sources that the failing tests' files import."""
    asked = {path: sources.get(path, "") for path in dict.fromkeys(path_of(test) for test in tests)}
    return [path for path in imported_sources(asked, files) if _may_patch(path, scope)][:_FILES]


def imported_sources(importers: dict[str, str], files: Iterable[str]) -> list[str]:
    """Sources of the repository that some files import, in the order of the imports; the module, not its stub."""
    by_module = {module_of(path): path for path in files if is_program(path)}
    found: dict[str, None] = {}
    for importer, text in importers.items():
        for module, name in imported_modules(importer, text):
            for dotted in (f"{module}.{name}", module):
                if dotted in by_module:
                    found[by_module[dotted]] = None
    return list(found)


def scores_from_names(tests: Sequence[str], texts: dict[str, str], hints: Hints) -> Scores:
    """Suspicion of functions that the tests use by name, the last resort without coverage."""
    words = hints.names | {name_of(test).removeprefix("test_") for test in tests}
    found: Scores = {}
    for path, text in texts.items():
        tree = Source(path, text).tree
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name in words:
                lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                found.setdefault(path, {}).update(dict.fromkeys(lines, 0.7))
    return found


def _may_patch(path: str, scope: Sequence[str]) -> bool:
    return is_program(path) and refusal_to_write(scope, path) is None


def _best_files(scores: Scores) -> Scores:
    ranked = sorted(scores, key=lambda path: (-max(scores[path].values()), path))
    return {path: scores[path] for path in ranked[:_FILES]}


def _scaled(scores: Scores) -> Scores:
    top = max((score for lines in scores.values() for score in lines.values()), default=0.0)
    return {p: {n: round(s / top, 4) for n, s in lines.items()} for p, lines in scores.items()} if top else {}
