"""Edits by line number, and how text gets to and from files: UTF-8, line endings and modes kept, never half-written."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import Field

from agents.errors import AgentError
from agents.tools.answers import Arguments

MAX_FILE = 4_000_000
"""Bytes of a file that tools read or write."""
CACHES = frozenset(
    {"__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis", ".tox", ".nox", "htmlcov"}
)
"""Folders that programs leave behind; no change contains them, so no tool shows or copies them."""
_NEW_SUFFIX = ".syndic-new"


class Edit(Arguments):
    """Lines `start` to `end` of a file become `text`."""

    path: str = Field(description="File, relative to the worktree")
    start: int = Field(ge=1, description="First line to replace, counted from 1")
    end: int = Field(ge=0, description="Last line to replace, inclusive; `start - 1` inserts before `start`")
    text: str = Field(description="New lines; empty deletes the old ones")


class NotTextError(AgentError):
    """The file is no UTF-8 text."""


class EditError(AgentError):
    """The edit does not fit the file."""


def read_text(path: Path) -> str:
    """The text of a file with its line endings as they are.

    Raises:
        AgentError: It is no file, or larger than `MAX_FILE`.
        NotTextError: It is no UTF-8.
    """
    if not path.is_file():
        raise AgentError(f"there is no file {path.name!r}" if not path.exists() else f"{path.name!r} is a folder")
    if path.stat().st_size > MAX_FILE:
        raise AgentError(f"{path.name!r} has {path.stat().st_size} bytes, the limit is {MAX_FILE}")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotTextError(f"{path.name!r} is no UTF-8 text") from error


def write_text(path: Path, text: str) -> int:
    """Write a file so that it is the old or the new one at any moment; returns its size in bytes.

    The mode of an existing file is kept.
    """
    data = text.encode("utf-8")
    if len(data) > MAX_FILE:
        raise AgentError(f"the text has {len(data)} bytes, the limit is {MAX_FILE}")
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + _NEW_SUFFIX)
    try:
        new.write_bytes(data)
        if path.exists():
            os.chmod(new, stat.S_IMODE(path.stat().st_mode))
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    return len(data)


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text with edits applied; all line numbers are those of the text as it was.

    Raises:
        EditError: Lines that do not exist, or edits that overlap.
    """
    lines, newline = lines_of(text), newline_of(text)
    done = len(lines) + 1
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end), reverse=True):
        if edit.end < edit.start - 1 or edit.end > len(lines) or edit.start > len(lines) + 1:
            raise EditError(f"{edit.path}: lines {edit.start} to {edit.end} do not exist, the file has {len(lines)}")
        if edit.end >= done:
            raise EditError(f"{edit.path}: edits overlap at line {done}")
        done = edit.start
        lines[edit.start - 1 : edit.end] = _lines(edit, lines, newline)
    return "".join(lines)


def lines_of(text: str) -> list[str]:
    """Lines with their endings, split where Python and linters split: not at form feeds as `str.splitlines` does."""
    return list(io.StringIO(text, newline=""))


def newline_of(text: str) -> str:
    """The line ending that the text uses most."""
    crlf = text.count("\r\n")
    return "\r\n" if crlf > text.count("\n") - crlf else "\n"


def with_newline(text: str, newline: str) -> str:
    """The text with all line endings as named."""
    return text.replace("\r\n", "\n").replace("\n", newline)


def walk_files(root: Path) -> Iterator[str]:
    """Relative paths of all files below `root` in order; links are named, not followed, caches and `.git` left out."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in CACHES and name != ".git")
        base = Path(folder).relative_to(root)
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted([*files, *links]):
            if name != ".git":
                yield str(base / name)


def _lines(edit: Edit, lines: list[str], newline: str) -> list[str]:
    """The new lines, with the last one ended wherever another line follows or the old one was ended."""
    text = with_newline(edit.text, newline)
    if not text:
        return []
    at_end = edit.end >= len(lines)
    if edit.start == len(lines) + 1 and lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += newline
    ends_open = at_end and edit.end >= edit.start and not lines[edit.end - 1].endswith(("\n", "\r"))
    if not text.endswith("\n") and not ends_open:
        text += newline
    return [text]
