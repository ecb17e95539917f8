"""A worktree: plain files of one branch. It is a cache; the branch in the store is the truth.

There is no `.git` in it. Its index lies in the store, so that nothing that runs inside can reach or steer git.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agents.errors import BranchMovedError, GitError, PathEscapeError
from agents.git_command import git
from agents.paths import git_component_below

if TYPE_CHECKING:
    from agents.git import GitStore


class Worktree:
    """Files of `branch` in the folder `path`; made by `GitStore.worktree`. One writer at a time (the run's lease)."""

    def __init__(self, store: GitStore, branch: str, path: Path) -> None:
        self.path = path
        self.branch = branch
        self._store = store
        name = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:32]
        self._index = store.path / "indexes" / name
        self._head: str | None = None

    async def open(self, commit: str | None = None) -> str:
        """Make the folder hold exactly the branch, or `commit` after moving the branch there; returns the commit.

        Whatever lies about is thrown away: changes, untracked and ignored files, stale locks of a killed process.

        Raises:
            GitError: The branch or the commit does not exist.
        """
        wanted = await self._store.resolve(commit or f"refs/heads/{self.branch}")
        self._index.parent.mkdir(parents=True, exist_ok=True)
        self._index.with_suffix(".lock").unlink(missing_ok=True)
        try:
            await self._fill(wanted)
        except (GitError, OSError):
            await self._recreate(wanted)
        await self._point(wanted)
        return wanted

    async def reset(self, commit: str) -> None:
        """Throw away all changes and move the branch to `commit`, forwards or backwards."""
        await self.open(commit)

    async def head(self) -> str:
        """The commit the branch stands at."""
        return await self._store.resolve(f"refs/heads/{self.branch}")

    async def commit(self, message: str, *, author: str, trailers: Mapping[str, str] | None = None) -> str | None:
        """Commit every change to the branch; caches such as `__pycache__` are left out.

        Args:
            message: Subject and body.
            author: The agent's name.
            trailers: Lines `key: value` at the end of the message.

        Returns:
            The new commit, or None when nothing changed.

        Raises:
            PathEscapeError: There is a path named `.git` in the worktree.
            BranchMovedError: Another writer moved the branch since `open`.
        """
        parent = self._head or await self.head()
        if found := await asyncio.to_thread(git_component_below, self.path):
            raise PathEscapeError(found, "`.git` belongs to git and cannot be part of a change")
        await self._git("add", "--all", "--", ".")
        tree = (await self._git("write-tree")).strip()
        if tree == await self._store.resolve(f"{parent}^{{tree}}"):
            return None
        commit = await self._store.commit_tree(tree, (parent,), message, author=author, trailers=trailers)
        await self._store.advance(self.branch, commit, parent)
        self._head = commit
        return commit

    async def _point(self, commit: str) -> None:
        actual = await self._store.head(self.branch)
        if actual != commit:
            if actual is None:
                raise BranchMovedError(self.branch, commit, None)
            await self._store.advance(self.branch, commit, actual)
        self._head = commit

    async def _fill(self, commit: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        await self._git("read-tree", "--reset", "-u", "--no-recurse-submodules", commit)
        await self._git("clean", "-ffdxq")
        if (await self._git("ls-files", "-z", "--others", "--modified", "--deleted")).strip("\0"):
            await self._git("checkout-index", "--all", "--force", "--quiet")

    async def _recreate(self, commit: str) -> None:
        await asyncio.to_thread(remove_tree, self.path)
        self._index.unlink(missing_ok=True)
        self._index.with_suffix(".lock").unlink(missing_ok=True)
        await self._fill(commit)

    async def _git(self, *arguments: str) -> str:
        env = {"GIT_INDEX_FILE": str(self._index)}
        return (await git(self._store.path, *arguments, work_tree=self.path, env=env)).stdout.decode("utf-8", "replace")


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, also where a program took the rights to do so away. A link is removed, not followed."""
    if path.is_symlink() or path.is_file():
        path.unlink()
        return

    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except PermissionError:
        _unlock(path)
        for folder, _, _ in os.walk(path):
            _unlock(Path(folder))
        shutil.rmtree(path)


def _unlock(folder: Path) -> None:
    """Give the rights to look into and empty a folder, and its folders; links are not followed."""
    folder.chmod(stat.S_IRWXU)
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            Path(entry.path).chmod(stat.S_IRWXU)
