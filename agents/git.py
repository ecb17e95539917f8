"""The project's bare store: branches of agents, merges without a checkout, and the way in and out.

Everything a target repository could make git execute is off (see `agents.git_command`); its attributes are overridden in
the store, so blobs and files are the same bytes and no filter, driver or `export-ignore` has an effect.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agents import git_source as sources
from agents.errors import BranchMovedError, GitError, RepositoryError
from agents.git_command import git
from agents.git_remote import fetch_remote, list_remote, push_remote
from agents.paths import resolve_inside
from agents.worktree import Worktree

__all__ = ["Changes", "Fetched", "GitStore", "Merged", "Worktree", "resolve_inside"]

IDENTITY = "Syndic"
EMAIL = "syndic@localhost"
CACHES = (
    "__pycache__/", "*.py[co]", ".pytest_cache/", ".ruff_cache/", ".mypy_cache/", ".hypothesis/", ".tox/", ".nox/",
    ".coverage", ".coverage.*", "htmlcov/", "*.egg-info/",
)  # fmt: skip
_ATTRIBUTES = "* -text !eol -filter -ident !working-tree-encoding !diff -export-ignore -export-subst\n"
_BASES = "refs/syndic/base"
_SHOWN = 3
_OLDEST_GIT = (2, 38)
MAX_DIFF_BYTES = 400_000


@dataclass(frozen=True)
class Fetched:
    """`base` is the branch's name, or the commit where the source was no branch."""

    commit: str
    base: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Changes:
    """Paths that differ between two commits, and changed lines (binary files count none)."""

    paths: tuple[str, ...]
    insertions: int
    deletions: int


@dataclass(frozen=True)
class Merged:
    """`commit` is None where `conflicts` names paths."""

    commit: str | None
    conflicts: tuple[str, ...] = ()


class GitStore:
    """The bare repository of one project at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    async def create(self) -> None:
        """Create the store, or mend the files that make it safe where it exists. May be called any number of times.

        Raises:
            RepositoryError: git is missing or older than 2.38 (which has no `merge-tree --write-tree`).
        """
        self.path.mkdir(parents=True, exist_ok=True)
        numbers = re.findall(r"\d+", (await git(self.path, "version")).text)
        if tuple(int(number) for number in numbers[:2]) < _OLDEST_GIT:
            raise RepositoryError(f"git {'.'.join(numbers[:3])} is too old; install version 2.38 or newer")
        if not (self.path / "HEAD").exists():
            await git(self.path, "init", "--quiet", "--bare", "--template=", "--initial-branch=none", str(self.path))
        info = self.path / "info"
        info.mkdir(exist_ok=True)
        (info / "attributes").write_text(_ATTRIBUTES)
        (info / "exclude").write_text("\n".join(CACHES) + "\n")

    async def fetch(self, source: str, ref: str | None = None) -> Fetched:
        """Bring a commit of a repository into the store; the repository is only read.

        Args:
            source: A folder or an https or ssh URL.
            ref: Branch, tag or commit; None means HEAD.

        Raises:
            RepositoryError: It cannot be used; the message says what to do.
        """
        if url := sources.remote_url(source):
            commit, base = await fetch_remote(self.path, url, ref)
            warnings: tuple[str, ...] = ()
        else:
            found = sources.locate(source)
            commit, base = await sources.find_commit(found, ref)
            await sources.copy_in(self.path, found, commit, await self._bases())
            warnings = await self.uncommitted(source)
        warnings += await sources.inspect(self.path, commit)
        await git(self.path, "update-ref", f"{_BASES}/{commit}", commit)
        return Fetched(commit, base, warnings)

    async def uncommitted(self, source: str) -> tuple[str, ...]:
        """A warning where a folder's checkout holds changes that are in no commit."""
        try:
            found = sources.locate(source)
            return _dirt(await sources.uncommitted(self.path, found, (await sources.find_commit(found, None))[0]))
        except (GitError, RepositoryError, OSError):
            return ()  # no HEAD, or an index this git cannot read: the warning is a courtesy

    async def resolve(self, rev: str) -> str:
        """Full object id of a revision of the store; raises GitError where there is none."""
        answer = await git(self.path, "rev-parse", "--verify", "--quiet", "--end-of-options", rev, accept=(0, 1, 128))
        if answer.code:
            raise GitError(f"the store has no revision {rev!r}")
        return answer.text

    async def head(self, branch: str) -> str | None:
        """Commit of a branch, None where it does not exist."""
        answer = await git(self.path, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}", accept=(0, 1, 128))
        return answer.text or None

    async def create_branch(self, branch: str, commit: str, *, reset: bool = False) -> str:
        """Create a branch at `commit`, or keep the one there is (`reset`: move it); returns where it stands."""
        await git(self.path, "check-ref-format", f"refs/heads/{branch}")
        actual = await self.head(branch)
        wanted = await self.resolve(f"{commit}^{{commit}}")
        if actual is None or (reset and actual != wanted):
            await self.advance(branch, wanted, actual)
            return wanted
        return actual

    async def advance(self, branch: str, new: str, expected: str | None) -> None:
        """Move a branch from `expected` (None: it must not exist) to `new`.

        Raises:
            BranchMovedError: It stands elsewhere.
        """
        old = expected or "0" * len(new)
        answer = await git(self.path, "update-ref", f"refs/heads/{branch}", new, old, accept=(0, 1, 128))
        if answer.code:
            if (actual := await self.head(branch)) != expected:
                raise BranchMovedError(branch, expected, actual)
            raise GitError(f"branch {branch} cannot be moved: {answer.stderr.strip()}")

    async def read(self, commit: str, path: str, *, max_bytes: int) -> bytes | None:
        """A file's first bytes at a commit; None where there is no such file."""
        found = await git(self.path, "ls-tree", "-z", commit, "--", path)
        if not found.text.startswith("100"):
            return None
        return (await git(self.path, "cat-file", "blob", f"{commit}:{path}", limit=max_bytes)).stdout

    async def is_ancestor(self, a: str, b: str) -> bool:
        """Whether `a` is `b` or lies in its history."""
        return (await git(self.path, "merge-base", "--is-ancestor", a, b, accept=(0, 1))).code == 0

    async def diff(self, base: str, head: str, *, max_bytes: int = MAX_DIFF_BYTES) -> str:
        """Unified diff of two commits; longer than `max_bytes` it is cut and ends with a line that says so."""
        options = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--submodule=short")
        answer = await git(self.path, "diff", *options, base, head, "--", limit=max_bytes)
        text = answer.stdout.decode("utf-8", "replace")
        return f"{text}\n[the diff is cut after {max_bytes} bytes]\n" if answer.truncated else text

    async def changes(self, base: str, head: str) -> Changes:
        """What differs between two commits; a renamed file counts as both of its paths."""
        options = ("--numstat", "-z", "--no-renames", "--no-ext-diff", "--no-textconv")
        answer = await git(self.path, "diff", *options, base, head, "--")
        lines = [line.split("\t", 2) for line in answer.stdout.decode("utf-8", "replace").split("\0") if line]
        added = sum(int(line[0]) for line in lines if line[0] != "-")
        removed = sum(int(line[1]) for line in lines if line[1] != "-")
        return Changes(tuple(sorted(line[2] for line in lines)), added, removed)

    async def merge(
        self, source_commit: str, target_branch: str, *, message: str, trailers: Mapping[str, str] | None = None,
        author: str = IDENTITY, date: datetime | None = None,
    ) -> Merged:  # fmt: skip
        """Make the merge commit of a commit into a branch. The branch is not moved: `advance` does that after the gates.

        Returns:
            The merge commit; the branch's head where there is nothing to merge; or the conflicting paths.
        """
        target = await self.resolve(f"refs/heads/{target_branch}")
        if await self.is_ancestor(source_commit, target):
            return Merged(target)
        options = ("--write-tree", "-z", "--name-only", "--no-messages")
        answer = await git(self.path, "merge-tree", *options, target, source_commit, accept=(0, 1))
        tree, *conflicts = answer.stdout.decode("utf-8", "replace").rstrip("\0").split("\0")
        if answer.code:
            return Merged(None, tuple(sorted(set(filter(None, conflicts)))))
        parents = (target, source_commit)
        return Merged(await self.commit_tree(tree, parents, message, author=author, trailers=trailers, date=date))

    async def merge_commit_of(self, source_commit: str, target_branch: str) -> str | None:
        """The merge commit on the branch's first-parent line that brought `source_commit` in, for idempotent retries."""
        if await self.head(target_branch) is None:
            return None
        line = ("rev-list", "--first-parent", "--merges", "--parents")
        answer = await git(self.path, *line, f"refs/heads/{target_branch}", f"^{source_commit}")
        merges = (row.split() for row in answer.text.split("\n") if row)
        return next((merge for merge, _, *others in merges if source_commit in others), None)

    async def commit_tree(
        self, tree: str, parents: tuple[str, ...], message: str, *, author: str = IDENTITY,
        trailers: Mapping[str, str] | None = None, date: datetime | None = None,
    ) -> str:  # fmt: skip
        """Write a commit object; the committer is always Syndic. No branch moves."""
        lines = [f"{key}: {' '.join(value.split())}" for key, value in (trailers or {}).items()]
        text = message.strip() + "\n" + ("\n" + "\n".join(lines) + "\n" if lines else "")
        options = [part for parent in parents for part in ("-p", parent)]
        answer = await git(self.path, "commit-tree", tree, *options, stdin=text.encode(), env=_identity(author, date))
        return answer.text

    async def export(self, commit: str, directory: Path) -> None:
        """Write all files of a commit into a fresh folder, without any git data; symbolic links stay links.

        Raises:
            FileExistsError: The folder is not empty.
        """
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise FileExistsError(f"{directory} is not empty")
        index = self.path / "indexes" / f"export-{uuid.uuid4().hex}"
        index.parent.mkdir(exist_ok=True)
        env = {"GIT_INDEX_FILE": str(index)}
        try:
            await git(self.path, "read-tree", f"{commit}^{{tree}}", env=env)
            await git(self.path, "checkout-index", "--all", "--force", "--quiet", work_tree=directory, env=env)
        finally:
            index.unlink(missing_ok=True)

    async def push(self, repository: str, branch: str) -> str:
        """Bring a branch into the person's repository under the same name; returns its commit.

        Only objects and that one branch are written there, never the checkout. A branch there that holds other commits
        is left alone.

        Raises:
            RepositoryError: It cannot be delivered; the message says what to do.
        """
        commit = await self.resolve(f"refs/heads/{branch}")
        if url := sources.remote_url(repository):
            await push_remote(self.path, url, branch)
        else:
            await sources.copy_out(self.path, sources.locate(repository), branch, commit, await self._bases())
        return commit

    async def check_deliverable(self, repository: str, branch: str) -> None:
        """Say before any work that `push` could not deliver later.

        Raises:
            RepositoryError: The branch exists there already; the message says what to do.
        """
        if url := sources.remote_url(repository):
            if await list_remote(self.path, url, f"refs/heads/{branch}"):
                raise sources.taken(branch, url, branch)
        else:
            await sources.check_free(sources.locate(repository), branch)

    async def trailer(self, commit: str, key: str) -> str | None:
        """Value of a commit message's trailer, None where it has none."""
        form = f"--format=%(trailers:key={key},valueonly=true,separator=%x00)"
        answer = await git(self.path, "log", "-1", "--no-show-signature", form, commit)
        return answer.text.split("\0", 1)[0].strip() or None

    def worktree(self, branch: str, path: Path) -> Worktree:
        """A folder with the files of a branch; nothing happens before `open`."""
        return Worktree(self, branch, path)

    async def _bases(self) -> list[str]:
        answer = await git(self.path, "for-each-ref", "--format=%(objectname)", _BASES)
        return answer.text.split()


def _dirt(paths: tuple[str, ...]) -> tuple[str, ...]:
    if not paths:
        return ()
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return (f"uncommitted changes are not part of the work: {', '.join(paths[:_SHOWN])}{more}",)


def _identity(author: str, date: datetime | None) -> dict[str, str]:
    name = " ".join(re.sub(r"[<>\x00-\x1f]", " ", author).split()).strip(".,:;'\"\\") or IDENTITY
    env = {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": EMAIL,
        "GIT_COMMITTER_NAME": IDENTITY,
        "GIT_COMMITTER_EMAIL": EMAIL,
    }
    if date:
        stamp = f"{int(date.timestamp())} +0000"
        env |= {"GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp}
    return env
