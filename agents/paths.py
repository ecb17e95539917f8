"""Which paths of a worktree may be touched: nothing outside it, and nothing that git keeps for itself."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path, PurePosixPath

from agents.errors import PathEscapeError

_HFS_IGNORED = frozenset(
    "\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u206a\u206b\u206c\u206d\u206e\u206f\ufeff"
)
"""Code points that HFS+ drops from names, so that a name with them can be `.git` there (git's `core.protectHFS`)."""


def is_git_component(name: str) -> bool:
    """Whether one path component is `.git` on any file system git knows: other case, NTFS short names and streams, HFS+."""
    plain = "".join(character for character in unicodedata.normalize("NFC", name) if character not in _HFS_IGNORED)
    return any(
        part.split(":", 1)[0].rstrip(" .").casefold() in {".git", "git~1"}
        for part in plain.replace("\\", "/").split("/")
    )


def resolve_inside(root: Path, relative: str, *, writing: bool = False) -> Path:
    """The absolute path that `relative` means inside `root`, all symbolic links followed.

    Args:
        root: The worktree, a folder that exists.
        relative: What a model or a person named; `.` is the root itself.
        writing: The path will be written; then its last component must be no symbolic link either.

    Raises:
        PathEscapeError: It is absolute, holds `..`, NUL or a `.git` component, leads outside through a symbolic link, or
            names a device, pipe or socket.
    """
    _refuse_name(relative)
    base = root.resolve()
    path = base / relative
    if writing and path.is_symlink():
        raise PathEscapeError(relative, "it is a symbolic link, which is not written through")
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError) as error:
        raise PathEscapeError(relative, f"it cannot be resolved ({type(error).__name__})") from error
    if not resolved.is_relative_to(base):
        raise PathEscapeError(relative, "it leads outside the worktree through a symbolic link")
    if any(is_git_component(part) for part in resolved.relative_to(base).parts):
        raise PathEscapeError(relative, "it leads to git's own files")
    _refuse_special(resolved, relative)
    return resolved


def git_component_below(root: Path) -> str | None:
    """The first path below `root` that has a `.git` component, relative to it; links are not followed."""
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            if is_git_component(name):
                return str((Path(folder) / name).relative_to(root))
    return None


def _refuse_name(relative: str) -> None:
    if not relative:
        raise PathEscapeError(relative, "it is empty")
    if "\0" in relative:
        raise PathEscapeError(relative, "it holds a NUL byte")
    try:
        os.fsencode(relative)
    except UnicodeEncodeError as error:
        raise PathEscapeError(relative, "it cannot be a file name") from error
    pure = PurePosixPath(relative)
    if pure.is_absolute():
        raise PathEscapeError(relative, "it is absolute; paths are relative to the worktree")
    if ".." in pure.parts:
        raise PathEscapeError(relative, "`..` could leave the worktree")
    if any(is_git_component(part) for part in pure.parts):
        raise PathEscapeError(relative, "`.git` belongs to git")


def _refuse_special(path: Path, relative: str) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise PathEscapeError(relative, f"it cannot be looked at ({error.strerror})") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise PathEscapeError(relative, "it is neither a file nor a folder")
