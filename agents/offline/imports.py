"""Candidates for names that are not imported: `NameError`, and `ImportError` for a name that moved or was misspelt."""

from __future__ import annotations

import ast
import re
import sys
from difflib import get_close_matches

from agents.offline.paths import is_source, module_of
from agents.offline.reexports import insertion, missing_in_output, names_of
from agents.offline.source import Edit, Source
from agents.offline.templates import Candidate

_UNDEFINED = re.compile(r"NameError: name '(\w+)' is not defined")


def import_candidates(output: str, texts: dict[str, str], files: list[str]) -> list[Candidate]:
    """Patches for missing imports in the suspect files; they come first, since nothing else can mend such a failure."""
    found: list[Candidate] = []
    for name in dict.fromkeys(_UNDEFINED.findall(output)):
        for path, text in texts.items():
            source = Source(path, text)
            if source.tree is not None and _uses(source.tree, name):
                found += [_candidate(source, [insertion(source, [s])], s) for s in _sources(name, path, texts)]
    for missing in sorted(missing_in_output(output, files)):
        if missing.path in texts:
            source = Source(missing.path, texts[missing.path])
            found += [
                _candidate(source, [insertion(source, [s])], s) for s in _sources(missing.name, missing.path, texts)
            ]
            for other in get_close_matches(missing.name, sorted(names_of(source) or ()), n=3):
                edit = Edit(missing.path, len(source.lines) + 1, len(source.lines), f"{missing.name} = {other}\n")
                found.append(_candidate(source, [edit], f"{missing.name} = {other}"))
    return found


def _uses(tree: ast.Module, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))


def _sources(name: str, path: str, texts: dict[str, str]) -> list[str]:
    """Statements that would import a name."""
    found = [f"import {name}"] if name in sys.stdlib_module_names else []
    for other, text in texts.items():
        if other != path and is_source(other) and name in (names_of(Source(other, text)) or ()):
            found.append(f"from {module_of(other)} import {name}")
    return found


def _candidate(source: Source, edits: list[Edit], after: str) -> Candidate:
    return Candidate(source.path, edits[0].start, "import", tuple(edits), "", after, 2.0, 0.9)
