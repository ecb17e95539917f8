"""What a path is: source, a document, a module; and names made from it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from agents.scope import is_gate_configuration, is_test_file

_DOCUMENT = re.compile(
    r"(^|/)(readme|changelog|changes|history|contributing|security|authors|todo)[^/]*$", re.IGNORECASE
)
_TOP_TEXT = (".md", ".rst", ".txt", ".adoc")
_SKIPPED = re.compile(
    r"(^|/)(\.git|\.tox|\.nox|\.venv|venv|node_modules|build|dist|__pycache__|_vendor|vendor)/|^(docs?/|setup\.py$)"
)


def is_python(path: str) -> bool:
    return path.endswith((".py", ".pyi"))


def is_source(path: str) -> bool:
    """Python that a task may change: neither a test, nor what decides about gates, nor somebody else's.

    Build scripts and the settings of documentation are left alone too: no test would notice what a change breaks there.
    """
    special = is_test_file(path) or is_gate_configuration(path)
    return is_python(path) and not special and not _SKIPPED.search(path)


def is_program(path: str) -> bool:
    """Source that runs: a stub cannot turn a test red or green."""
    return is_source(path) and not path.endswith(".pyi")


def is_document(path: str) -> bool:
    """READMEs, other top-level texts and the texts of a docs folder."""
    depth = path.count("/")
    suffix = PurePosixPath(path).suffix.lower()
    if depth == 0:
        return bool(_DOCUMENT.search(path)) or suffix in _TOP_TEXT
    return depth <= 2 and path.split("/")[0].lower() in {"doc", "docs"} and (suffix in _TOP_TEXT or not suffix)


def folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def module_of(path: str) -> str:
    """Dotted name of a file, as seen from its source root (`src/a/b.py` and `a/b.py` are both `a.b`)."""
    parts = path.removesuffix(".pyi").removesuffix(".py").split("/")
    if parts[0] in {"src", "lib"} and len(parts) > 1:
        parts = parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def slug(text: str, limit: int = 44) -> str:
    """A task id made from a text."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:limit].strip("-") or "task"
