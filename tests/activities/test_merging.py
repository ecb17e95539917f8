"""Merges over a real store: prepared, shown, and brought in as they were shown or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from activities.contracts import CloseProject, Integrate, Integration, TaskDiff
from activities.merging import Merger
from activities.unmerged import write_report
from agents.git import GitStore
from agents.layout import Layout
from agents.runner import AgentDeps
from agents.sandbox import Unconfined
from agents.target import Baseline, Environment, EnvironmentKind
from ledger.journal import GroupCommit
from ledger.memory import MemoryStore
from ledger.vocabulary import ArtifactRef, TaskState

BRANCH = "syndic/p.s1"


class Bench:
    """A store with a base commit, a sprint's branch, and changes to merge."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.layout = Layout(folder / "state")
        self.git = GitStore(self.layout.repository("p"))
        self.deps = AgentDeps(
            store=self.store, journal=GroupCommit(self.store), gateway=cast("Any", None), feed=cast("Any", None),
            sandbox=Unconfined(), layout=self.layout, worker="w1",
        )  # fmt: skip
        self.folder = folder
        self.base = ""

    async def open(self) -> None:
        await self.git.create()
        self.base = await self.commit("base", {"a.txt": "one\n", "b.txt": "one\n"}, None)
        await self.git.create_branch(BRANCH, self.base)
        environment = Environment(kind=EnvironmentKind.NONE, digest="")
        baseline = Baseline(commit=self.base, environment=environment, gates=()).model_dump_json().encode()
        self.baseline = ArtifactRef(name="baseline", digest=await self.store.put_artifact(baseline, "application/json"))

    async def commit(self, branch: str, files: dict[str, str], parent: str | None) -> str:
        """A commit of its own on top of `parent`."""
        tree = self.git.worktree(f"work/{branch}", self.folder / "trees" / branch)
        if parent is None:
            parent = await self.git.commit_tree("4b825dc642cb6eb9a060e54bf8d69288fbee4904", (), "nothing")
        await self.git.create_branch(f"work/{branch}", parent)
        await tree.open(parent)
        for name, text in files.items():
            (tree.path / name).write_text(text)
        made = await tree.commit(branch, author="ada", trailers={})
        assert made is not None
        return made

    async def integrate(self, source: str, **more: Any) -> Integration:
        request = Integrate(
            project="p", sprint=1, task="t", source=source, target=BRANCH, base_commit=self.base,
            baseline=self.baseline, title="Change", key=f"k-{source[:8]}", **more,
        )  # fmt: skip
        return await Merger(self.deps, request).merge()

    async def kinds(self) -> list[str]:
        return [entry.kind for entry in await self.store.entries("p")]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.open()
    yield made
    await made.deps.journal.aclose()


async def test_a_prepared_merge_moves_nothing_and_says_what_it_is(bench: Bench) -> None:
    change = await bench.commit("change", {"a.txt": "two\n"}, bench.base)
    offered = await bench.integrate(change, prepare=True)
    assert (offered.merged, offered.moved) == (False, False)
    prepared = offered.prepared
    assert prepared is not None
    assert (prepared.parent, prepared.paths, prepared.insertions, prepared.deletions) == (bench.base, ("a.txt",), 1, 1)
    assert "+two" in (await bench.store.get_artifact(prepared.diff.digest)).decode()
    assert await bench.git.resolve(f"{prepared.commit}^{{tree}}") == prepared.tree
    assert await bench.git.head(BRANCH) == bench.base
    assert await bench.kinds() == ["merge_prepared"]


async def test_what_was_prepared_is_brought_in_to_the_last_byte_and_only_once(bench: Bench) -> None:
    change = await bench.commit("change", {"a.txt": "two\n"}, bench.base)
    offered = await bench.integrate(change, prepare=True)
    assert offered.prepared is not None
    for _ in range(2):  # an activity may run again
        made = await bench.integrate(change, prepared=offered.prepared.commit)
        assert (made.merged, made.commit) == (True, offered.prepared.commit)
        assert made.ledger is not None
    assert await bench.git.head(BRANCH) == offered.prepared.commit
    assert await bench.kinds() == ["merge_prepared", "merge_made"]
    late = await bench.integrate(change, prepare=True)
    assert (late.merged, late.prepared) == (True, None)


async def test_a_branch_that_moved_meanwhile_is_left_where_it_is(bench: Bench) -> None:
    change = await bench.commit("change", {"a.txt": "two\n"}, bench.base)
    other = await bench.commit("other", {"b.txt": "two\n"}, bench.base)
    offered = await bench.integrate(change, prepare=True)
    assert offered.prepared is not None
    between = await bench.integrate(other)
    made = await bench.integrate(change, prepared=offered.prepared.commit)
    assert (made.merged, made.moved) == (False, True)
    assert await bench.git.head(BRANCH) == between.commit
    anew = await bench.integrate(change, prepare=True)
    assert anew.prepared is not None
    assert anew.prepared.tree != offered.prepared.tree
    assert (await bench.integrate(change, prepared=anew.prepared.commit)).merged


async def test_a_conflict_is_found_before_anybody_is_asked_and_each_time_for_its_own_reason(bench: Bench) -> None:
    change = await bench.commit("change", {"a.txt": "two\n"}, bench.base)
    for number, files in enumerate(({"a.txt": "three\n"}, {"a.txt": "four\n", "b.txt": "four\n"})):
        head = await bench.git.head(BRANCH)
        other = await bench.commit(f"other-{number}", files, head)
        assert (await bench.integrate(other)).merged
        offered = await bench.integrate(change, prepare=True)
        assert (offered.conflict, offered.prepared) == (True, None)
        assert "a.txt" in offered.feedback[0].text
    assert (await bench.kinds()).count("merge_refused") == 2


async def test_a_dry_run_leaves_a_page_with_every_diff_and_each_as_a_patch(bench: Bench) -> None:
    diff = b"--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+```two\n"
    kept = ArtifactRef(name="diff", digest=await bench.store.put_artifact(diff, "text/x-diff"), size=len(diff))
    done = TaskDiff(
        task="repair", sprint=1, title="Repair it", state=TaskState.ACCEPTED, summary="repaired", agent="p.engineer.ada",
        branch="syndic/p.s1.repair", commit="c" * 40, diff=kept,
    )  # fmt: skip
    failed = done.model_copy(update={"task": "tidy", "state": TaskState.FAILED, "summary": "no way", "diff": None})
    closing = CloseProject(project="p", state="done", summary="1 of 2 tasks succeeded", diffs=(done, failed))
    for _ in range(2):
        written = await write_report(bench.deps, closing)
    assert written is not None
    reference, page = written
    text = page.read_text()
    assert (await bench.store.get_artifact(reference.digest)).decode() == text
    assert "1 of 2 tasks succeeded" in text
    assert "````diff\n--- a/a.txt" in text  # no fence of the diff ends the block
    assert "no way" in text
    assert (page.parent / "s1.repair.patch").read_bytes() == diff
    assert [path.name for path in sorted(page.parent.iterdir())] == ["report.md", "s1.repair.patch"]
    assert await write_report(bench.deps, closing.model_copy(update={"diffs": ()})) is None
