"""A person's repository, read and written without running anything of it.

Objects are copied by our own git with our own configuration, which borrows the other object folder for one command:
`upload-pack` and `receive-pack` never start there, so neither its configuration nor its hooks can act. The checkout is
only ever read.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from agents.errors import GitError, RepositoryError
from agents.git_command import git
from agents.paths import is_git_component

REMOTE_PROTOCOLS = "https:http:ssh:git"
_URL = re.compile(r"^([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_SCP = re.compile(r"^(?:[\w.-]+@)?[\w.-]+:(?!:)")
_LISTED = 5


@dataclass(frozen=True)
class Source:
    """Folders of a repository: `git_dir` holds HEAD and index, `common_dir` objects and refs, `work_tree` the checkout."""

    git_dir: Path
    common_dir: Path
    work_tree: Path | None

    @property
    def objects(self) -> Path:
        return self.common_dir / "objects"

    def borrowed(self) -> dict[str, str]:
        """Environment that lets one command on another store read this one's objects."""
        escaped = str(self.objects).replace("\\", "\\\\").replace('"', '\\"')
        return {"GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{escaped}"'}


def remote_url(source: str) -> str | None:
    """The URL that `source` is, or None for a path of this machine.

    Raises:
        RepositoryError: A transport that is not allowed.
    """
    if "::" in source:
        raise RepositoryError(f"{source}: remote helpers are not allowed; name a folder or an https or ssh URL")
    if scheme := _URL.match(source):
        if scheme[1].lower() == "file":
            return None
        if scheme[1].lower() not in REMOTE_PROTOCOLS.split(":"):
            raise RepositoryError(f"{source}: {scheme[1]} is not allowed; name a folder or an https or ssh URL")
        return source
    return source if _SCP.match(source) and not Path(source).exists() else None


def locate(source: str) -> Source:
    """Find the git folders of a path.

    Raises:
        RepositoryError: It does not exist, cannot be read, or is no git repository.
    """
    path = _absolute(source.removeprefix("file://"))
    try:
        if not path.exists():
            raise RepositoryError(f"{path} does not exist; name the folder of a git repository")
        found = _git_dir(path)
        if found is None:
            raise RepositoryError(_no_repository(path))
        (found / "HEAD").read_bytes()
        common = found / "commondir"
        shared = (found / common.read_text().strip()).resolve() if common.exists() else found
        return Source(found, shared, None if found == path else path)
    except OSError as error:
        raise RepositoryError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def _absolute(source: str) -> Path:
    """Where a relative path leads depends on who asks: a worker would look into its own working folder."""
    try:
        path = Path(source).expanduser()
    except RuntimeError as error:
        raise RepositoryError(f"{source}: {error}; name the folder by its absolute path") from None
    if not path.is_absolute():
        raise RepositoryError(f"{source!r} is a relative path; name the folder by its absolute path")
    return path


def _git_dir(path: Path) -> Path | None:
    dot = path / ".git"
    if dot.is_dir() and (dot / "HEAD").exists():
        return dot
    if dot.is_file():
        target = path / dot.read_text().strip().removeprefix("gitdir:").strip()
        return target.resolve() if (target / "HEAD").exists() else None
    bare = (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()
    return path if bare else None


def _no_repository(path: Path) -> str:
    if outer := next((parent for parent in path.parents if _git_dir(parent)), None):
        return f"{path} lies inside the git repository {outer}; name that folder instead"
    return f"{path} is no git repository; run `git init`, then add and commit its files first"


async def checked_out_branch(source: Source) -> str | None:
    """The branch HEAD points to, None when it is detached."""
    named = await git(source.git_dir, "symbolic-ref", "-q", "HEAD", accept=(0, 1))
    return named.text.removeprefix("refs/heads/") or None


async def find_commit(source: Source, ref: str | None) -> tuple[str, str]:
    """Commit of a ref of the source (None: HEAD), and the branch's name or again the commit where it is no branch.

    Raises:
        RepositoryError: No commit yet, or no such ref.
    """
    try:
        if ref not in (None, "HEAD"):
            return await _named_commit(source, ref)
        branch = await checked_out_branch(source)
        commit = await _commit(source, "HEAD")
    except GitError as error:
        raise RepositoryError(f"{source.common_dir} cannot be read by git: {error}") from error
    if commit is None:
        raise RepositoryError(f"{source.work_tree or source.git_dir} has no commit yet; add and commit its files first")
    return commit, branch or commit


async def _named_commit(source: Source, ref: str) -> tuple[str, str]:
    if commit := await _commit(source, f"refs/heads/{ref.removeprefix('refs/heads/')}"):
        return commit, ref.removeprefix("refs/heads/")
    if commit := await _commit(source, ref):
        return commit, commit
    branches = (await git(source.git_dir, "for-each-ref", "--format=%(refname:short)", "refs/heads")).text.split("\n")
    some = ", ".join(branches[:_LISTED]) or "none"
    raise RepositoryError(f"there is no branch, tag or commit {ref!r} in {source.common_dir}; its branches: {some}")


async def check_free(source: Source, branch: str) -> None:
    """See that the source could take a new branch; git keeps none beneath another one's name.

    Raises:
        RepositoryError: The branch exists, or another one is in its way; the message says what to do.
    """
    top = f"refs/heads/{branch.split('/')[0]}"
    names = (await git(source.git_dir, "for-each-ref", "--format=%(refname:lstrip=2)", top)).text.split("\n")
    for name in names:
        if name and (f"{branch}/".startswith(f"{name}/") or name.startswith(f"{branch}/")):
            raise taken(name, str(source.work_tree or source.git_dir), branch)


def taken(name: str, where: str, branch: str) -> RepositoryError:
    """The error for a branch that is there although `branch` shall be made."""
    first = "choose another project id, or put it" if name == branch else f"{branch} cannot be made beside it; put it"
    return RepositoryError(f"branch {name} exists in {where} already; {first} aside with `git branch -m {name} <name>`")


async def _commit(source: Source, name: str) -> str | None:
    query = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return (await git(source.git_dir, *query, accept=(0, 1, 128))).text or None


async def copy_in(store: Path, source: Source, commit: str, known: list[str]) -> None:
    """Copy a commit and its history into the store, without what is `known` there.

    Raises:
        RepositoryError: Objects are missing in the source or cannot be read.
    """
    if len(commit) != 40:
        raise RepositoryError("repositories in the SHA-256 object format are not supported; convert it to SHA-1")
    _copy_shallow(store, source)
    wanted = "".join(f"{line}\n" for line in (commit, *(f"^{have}" for have in known)))
    pack = ("pack-objects", "--revs", "--non-empty", "--delta-base-offset", "--quiet")
    try:
        await git(store, *pack, str(store / "objects" / "pack" / "pack"), stdin=wanted.encode(), env=source.borrowed())
    except GitError as error:
        if any((source.objects / "pack").glob("*.promisor")):
            message = (
                f"{source.common_dir} is a partial clone; complete it with `git fetch --refetch --filter=blob:limit=1t`"
            )
            raise RepositoryError(message) from error
        raise RepositoryError(f"{source.common_dir} cannot be copied; check it with `git fsck`: {error}") from error
    finally:
        for rest in (store / "objects" / "pack").glob("tmp_*"):  # of a copy that failed: git leaves it to its own gc
            rest.unlink()


def _copy_shallow(store: Path, source: Source) -> None:
    try:
        cut = set((source.common_dir / "shallow").read_text().split())
    except FileNotFoundError:
        return
    ours = store / "shallow"
    known = set(ours.read_text().split()) if ours.exists() else set[str]()
    ours.write_text("".join(f"{commit}\n" for commit in sorted(known | cut)))


async def uncommitted(store: Path, source: Source, commit: str) -> tuple[str, ...]:
    """Paths of the checkout that differ from its index or `commit`, or are untracked; empty where there is no checkout.

    Our git looks with our configuration and a copy of the index: `git status` there would run its filters and fsmonitor.
    """
    index = source.git_dir / "index"
    if source.work_tree is None or not index.exists():
        return ()
    with tempfile.TemporaryDirectory(prefix="syndic-index-") as folder:
        shutil.copy2(index, Path(folder) / "index")
        env = {"GIT_INDEX_FILE": str(Path(folder) / "index")} | source.borrowed()
        exclude = source.common_dir / "info" / "exclude"
        excluded = (f"--exclude-from={exclude}",) if exclude.is_file() else ()
        questions = (
            ("diff-index", "-z", "--cached", "--name-only", "--ignore-submodules=all", commit),
            ("diff-files", "-z", "--name-only", "--ignore-submodules=all"),
            ("ls-files", "-z", "--others", "--directory", "--exclude-standard", *excluded),
        )
        answers = [await git(store, *question, work_tree=source.work_tree, env=env) for question in questions]
    names = {name for answer in answers for name in answer.stdout.decode("utf-8", "replace").split("\0") if name}
    return tuple(sorted(names))


async def copy_out(store: Path, source: Source, branch: str, commit: str, bases: list[str]) -> None:
    """Bring `commit` into the source's objects and point its `branch` there. The checkout is not touched.

    Raises:
        RepositoryError: The branch is checked out there, holds commits of its own, or cannot be written.
    """
    if place := _checked_out_in(source, branch):
        raise RepositoryError(
            f"branch {branch} is checked out in {place}; switch to another branch there and deliver again"
        )
    try:
        known = [base for base in bases if await _commit(source, base)]
        wanted = "".join(f"{line}\n" for line in (commit, *(f"^{base}" for base in known)))
        pack = await git(store, "pack-objects", "--revs", "--stdout", "--quiet", stdin=wanted.encode())
        await git(source.common_dir, "index-pack", "--stdin", stdin=pack.stdout)
        old = await _commit(source, f"refs/heads/{branch}")
        if old is not None and not await _is_behind(store, source, old, commit):
            raise RepositoryError(
                f"branch {branch} exists in {source.common_dir} and has commits that the work does not contain; rename it "
                f"with `git branch -m {branch} <name>` and deliver again"
            )
        update = ("update-ref", "-m", "syndic: deliver", f"refs/heads/{branch}", commit, old or "0" * len(commit))
        await git(source.common_dir, *update)
    except GitError as error:
        raise RepositoryError(f"branch {branch} cannot be written to {source.common_dir}: {error}") from error


async def _is_behind(store: Path, source: Source, old: str, new: str) -> bool:
    answer = await git(store, "merge-base", "--is-ancestor", old, new, accept=(0, 1, 128), env=source.borrowed())
    return answer.code == 0


def _checked_out_in(source: Source, branch: str) -> Path | None:
    heads = [source.common_dir / "HEAD", *source.common_dir.glob("worktrees/*/HEAD")]
    bare = source.work_tree is None and source.git_dir == source.common_dir
    for head in heads[1:] if bare else heads:
        if head.is_file() and head.read_text().strip() == f"ref: refs/heads/{branch}":
            return head.parent
    return None


async def inspect(store: Path, commit: str) -> tuple[str, ...]:
    """Warnings about a commit of the store: submodules and files in Git LFS.

    Raises:
        RepositoryError: It holds a path that git itself would refuse to check out.
    """
    listing = await git(store, "ls-tree", "-r", "-z", "--full-tree", commit)
    rows = [row.split("\t", 1) for row in listing.stdout.decode("utf-8", "replace").split("\0") if row]
    if bad := next((path for _, path in rows if any(map(is_git_component, path.split("/")))), None):
        raise RepositoryError(f"commit {commit} holds the path {bad!r}, which git itself would refuse to check out")
    warnings = ["submodules are not part of the work"] if any(mode.startswith("160000") for mode, _ in rows) else []
    lfs = ("grep", "-q", "filter=lfs", commit, "--", ":(glob)**/.gitattributes")
    if (await git(store, *lfs, accept=(0, 1))).code == 0:
        warnings.append("files kept in Git LFS are only pointers in the work")
    return tuple(warnings)
