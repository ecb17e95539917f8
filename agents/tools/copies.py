"""Copies of the worktree in which programs may write what they like: nothing of it gets back.

Copied byte for byte and never hard-linked, because a program that writes through a link would change the worktree. Caches stay
behind: a stale `.pyc` with the size and second of an edited file would be run in its place.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from agents.tools.base import ToolContext
from agents.tools.edits import walk_files
from agents.worktree import remove_tree


@dataclass(frozen=True)
class TreeCopy:
    """A copy at `path` of the tree at `source`, which knows how to become equal to it again."""

    source: Path
    path: Path

    def fill(self) -> None:
        """Copy every file; links are copied as links."""
        for name in walk_files(self.source):
            self._copy(name)

    def restore(self) -> None:
        """Undo whatever was edited, created or removed since `fill`."""
        for folder, folders, files in os.walk(self.path, topdown=False):
            for name in (*files, *folders):
                self._remove_if_new(Path(folder) / name)
        for name in walk_files(self.source):
            if _stamp(self.path / name) != _stamp(self.source / name):
                self._copy(name)

    def _remove_if_new(self, path: Path) -> None:
        original = self.source / path.relative_to(self.path)
        same_kind = path.is_dir() == original.is_dir() and path.is_symlink() == original.is_symlink()
        if not os.path.lexists(original) or not same_kind:
            remove_tree(path)

    def _copy(self, name: str) -> None:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink():
            target.unlink()
        shutil.copy2(self.source / name, target, follow_symlinks=False)


@asynccontextmanager
async def copied_tree(context: ToolContext) -> AsyncIterator[TreeCopy]:
    """A fresh copy of the worktree in the scratch folder, gone after the block."""
    async with scratch_folder(context, "copy") as folder:
        copy = TreeCopy(context.worktree.path, folder)
        await asyncio.to_thread(copy.fill)
        yield copy


@asynccontextmanager
async def scratch_folder(context: ToolContext, purpose: str) -> AsyncIterator[Path]:
    """A fresh folder in the scratch folder, gone after the block."""
    context.scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix=f"{purpose}-", dir=context.scratch))
    try:
        yield folder
    finally:
        await asyncio.to_thread(remove_tree, folder)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells an untouched copy from its original: kind and mode, size in bytes, time of the last change."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_mode, found.st_size, 0 if path.is_symlink() else found.st_mtime_ns
