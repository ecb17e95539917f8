"""Hooks around a plan's confirmation, as real programs on a copy of the base commit."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities.hook_contracts import HookSaid, RunHook
from activities.hooks import Hooks
from agents.git import GitStore
from agents.layout import Layout
from agents.runner import AgentDeps
from agents.sandbox import Unconfined
from agents.target import Baseline
from agents.workplace import NO_ENVIRONMENT
from ledger.memory import MemoryStore
from ledger.vocabulary import ArtifactRef

CHECK = """\
import json, pathlib, sys
plan = json.loads(pathlib.Path(sys.argv[-1]).read_text())
pathlib.Path("stray.txt").write_text("left behind")
print("plan:", plan["summary"])
sys.exit(plan["summary"] != sys.argv[1])
"""


class Deps:
    """What the activity needs of a worker."""

    def __init__(self, state: Path) -> None:
        self.store = MemoryStore()
        self.layout = Layout(state)
        self.sandbox = Unconfined()


@pytest.fixture
async def target(tmp_path: Path) -> tuple[Deps, str]:
    """A project whose repository has a program that looks at plans."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "check.py").write_text(CHECK)
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        await asyncio.to_thread(subprocess.run, ["git", *arguments], cwd=folder, check=True)
    deps = Deps(tmp_path / "state")
    git = GitStore(deps.layout.repository("p"))
    await git.create()
    return deps, (await git.fetch(str(folder))).commit


async def run(deps: Deps, commit: str, *argv: str, timeout_s: int = 30) -> HookSaid:
    baseline = Baseline(commit=commit, environment=NO_ENVIRONMENT, gates=())
    kept = [
        ArtifactRef(name=name, digest=await deps.store.put_artifact(text.encode(), "application/json"))
        for name, text in (("baseline", baseline.model_dump_json()), ("plan", json.dumps({"summary": "tidy"})))
    ]
    request = RunHook(
        project="p", commit=commit, baseline=kept[0], name="policy", argv=argv, timeout_s=timeout_s, plan=kept[1]
    )
    return await ActivityEnvironment().run(Hooks(cast("AgentDeps", deps)).run_hook, request)


async def test_a_hook_reads_the_plan_and_its_exit_code_counts(target: tuple[Deps, str]) -> None:
    deps, commit = target
    passed = await run(deps, commit, "python3", "check.py", "tidy")
    failed = await run(deps, commit, "python3", "check.py", "another")
    assert (passed.passed, failed.passed) == (True, False)
    assert passed.words == failed.words == "plan: tidy"
    scratch = deps.layout.repository("p").parent / "scratch"
    assert list(scratch.iterdir()) == []


async def test_a_hook_that_does_not_end_or_is_not_there_has_failed(target: tuple[Deps, str]) -> None:
    deps, commit = target
    slow = await run(deps, commit, "sleep", "30", timeout_s=1)
    assert (slow.passed, slow.words != "") == (False, True)
    missing = await run(deps, commit, "no-such-program")
    assert (missing.passed, missing.words != "") == (False, True)
