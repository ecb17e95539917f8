"""Worktrees are caches that any worker can rebuild, and nothing inside them reaches git."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agents.errors import BranchMovedError, PathEscapeError
from agents.git import GitStore, Worktree
from agents.worktree import remove_tree

ENV = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null"}


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=P", "-c", "user.email=p@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, env=ENV, check=True)


@pytest.fixture
async def tree(tmp_path: Path) -> Worktree:
    source = tmp_path / "source"
    source.mkdir()
    git(source, "init", "-q", "-b", "main")
    (source / "a.py").write_text("A = 1\n")
    (source / "pkg").mkdir()
    (source / "pkg" / "b.py").write_text("B = 1\n")
    (source / "tool.sh").write_text("#!/bin/sh\n")
    (source / "tool.sh").chmod(0o755)
    git(source, "add", ".")
    git(source, "commit", "-q", "-m", "first")
    store = GitStore(tmp_path / "repo.git")
    await store.create()
    fetched = await store.fetch(str(source))
    await store.create_branch("syndic/p", fetched.commit)
    made = store.worktree("syndic/p", tmp_path / "tree")
    await made.open()
    return made


def files(tree: Worktree) -> set[str]:
    return {str(path.relative_to(tree.path)) for path in tree.path.rglob("*") if not path.is_dir()}


async def test_a_worktree_holds_the_files_and_no_git_data(tree: Worktree) -> None:
    assert files(tree) == {"a.py", "pkg/b.py", "tool.sh"}
    assert os.access(tree.path / "tool.sh", os.X_OK)


async def test_commit_keeps_changes_and_leaves_caches_out(tree: Worktree) -> None:
    before = await tree.head()
    assert await tree.commit("nothing", author="Ada") is None
    for cache in (
        "__pycache__/a.cpython-311.pyc",
        ".pytest_cache/x",
        ".ruff_cache/x",
        "pkg/__pycache__/b.pyc",
        ".coverage",
    ):
        (tree.path / cache).parent.mkdir(parents=True, exist_ok=True)
        (tree.path / cache).write_text("cache")
    assert await tree.commit("caches", author="Ada") is None
    (tree.path / "a.py").write_text("A = 2\n")
    (tree.path / "new.py").write_text("N = 1\n")
    (tree.path / "tool.sh").unlink()
    commit = await tree.commit("real", author="Ada", trailers={"Syndic-Step": "p/s1/t#4"})
    assert commit == await tree.head() != before
    store = GitStore(tree.path.parent / "repo.git")
    assert (await store.changes(before, commit)).paths == ("a.py", "new.py", "tool.sh")


async def test_open_throws_away_what_a_killed_run_left(tree: Worktree) -> None:
    (tree.path / "a.py").write_text("half")
    (tree.path / "junk").mkdir()
    (tree.path / "junk" / "x").write_text("x")
    git(tree.path, "init", "-q", "nested")
    (tree.path / "pkg" / "b.py").unlink()
    for index in (tree.path.parent / "repo.git" / "indexes").iterdir():
        index.with_suffix(".lock").write_text("")
    await tree.open()
    assert files(tree) == {"a.py", "pkg/b.py", "tool.sh"}
    assert (tree.path / "a.py").read_text() == "A = 1\n"


async def test_a_change_of_the_same_size_in_the_same_instant_is_undone(tree: Worktree) -> None:
    stamp = (tree.path / "a.py").stat()
    (tree.path / "a.py").write_text("A = 7\n")
    os.utime(tree.path / "a.py", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    await tree.open()
    assert (tree.path / "a.py").read_text() == "A = 1\n"


async def test_a_folder_replaced_by_a_link_is_restored_without_writing_through_it(
    tree: Worktree, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.py").write_text("precious\n")
    shutil.rmtree(tree.path / "pkg")
    (tree.path / "pkg").symlink_to(outside)
    await tree.open()
    assert (outside / "b.py").read_text() == "precious\n"
    assert not (tree.path / "pkg").is_symlink()
    assert (tree.path / "pkg" / "b.py").read_text() == "B = 1\n"


async def test_a_damaged_index_or_a_lost_folder_is_rebuilt(tree: Worktree) -> None:
    for index in (tree.path.parent / "repo.git" / "indexes").iterdir():
        index.write_bytes(b"garbage")
    shutil.rmtree(tree.path)
    tree.path.write_text("a file where the folder was")
    await tree.open()
    assert files(tree) == {"a.py", "pkg/b.py", "tool.sh"}


async def test_a_lost_folder_with_a_good_index_is_filled_again(tree: Worktree) -> None:
    (tree.path / "locked" / "in").mkdir(parents=True)
    (tree.path / "locked").chmod(0o000)
    remove_tree(tree.path)
    remove_tree(tree.path)
    await tree.open()
    assert files(tree) == {"a.py", "pkg/b.py", "tool.sh"}


async def test_reset_moves_the_branch_back_to_the_last_receipt(tree: Worktree) -> None:
    first = await tree.head()
    (tree.path / "a.py").write_text("A = 2\n")
    await tree.commit("unreceipted", author="Ada")
    await tree.reset(first)
    assert await tree.head() == first
    assert (tree.path / "a.py").read_text() == "A = 1\n"


async def test_a_writer_that_lost_its_branch_cannot_commit(tree: Worktree, tmp_path: Path) -> None:
    other = GitStore(tmp_path / "repo.git").worktree("syndic/p", tmp_path / "other")
    await other.open()
    (other.path / "a.py").write_text("A = 'other'\n")
    await other.commit("other", author="Bob")
    (tree.path / "a.py").write_text("A = 'stale'\n")
    with pytest.raises(BranchMovedError):
        await tree.commit("stale", author="Ada")


async def test_git_data_in_the_worktree_is_refused_and_not_executed(tree: Worktree, tmp_path: Path) -> None:
    proof = tmp_path / "executed"
    nested = tree.path / "nested"
    git(tree.path, "init", "-q", "nested")
    git(nested, "config", "core.fsmonitor", f"touch {proof}")
    with pytest.raises(PathEscapeError, match=r"nested/\.git"):
        await tree.commit("evil", author="Eve")
    shutil.rmtree(nested)
    (tree.path / ".Git").symlink_to("/etc")
    with pytest.raises(PathEscapeError):
        await tree.commit("evil", author="Eve")
    await tree.open()
    assert not proof.exists()


async def test_attributes_that_an_agent_writes_change_no_bytes(tree: Worktree) -> None:
    (tree.path / ".gitattributes").write_text("* text eol=crlf ident filter=evil working-tree-encoding=UTF-16\n")
    (tree.path / "dos.txt").write_bytes(b"$Id$\r\n")
    commit = await tree.commit("attributes", author="Ada")
    assert commit is not None
    shutil.rmtree(tree.path)
    await tree.open()
    assert (tree.path / "dos.txt").read_bytes() == b"$Id$\r\n"
