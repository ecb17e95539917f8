"""`syndic edit`, `feedback` and `cancel --task` against a real server and real project workflows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment
from typer.testing import Result

from agents.assignments import Work
from ledger.vocabulary import ApprovalKind, TaskState
from tests.cli.conftest import Syndic
from tests.workflows.script import change, plan
from tests.workflows.steered import Held, sprint, states, task, until
from tests.workflows.world import NUMBERS, World, serving, working
from workflows.approval_models import ApprovalView

pytestmark = pytest.mark.asyncio(loop_scope="module")

Command = Callable[..., Awaitable[Result]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    async with serving() as environment:
        yield environment


@pytest_asyncio.fixture(loop_scope="module")
async def world(server: WorkflowEnvironment) -> AsyncIterator[World]:
    async with working(server.client, f"steer{next(NUMBERS)}") as world:
        yield world


@pytest.fixture
def command(syndic: Syndic, server: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> Command:
    """A command line beside the workers."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.client.service_client.config.target_host)
    monkeypatch.setenv("SYNDIC_DATABASE_URL", "postgresql://127.0.0.1:1/none")
    monkeypatch.setenv("SYNDIC_REDIS_URL", "redis://127.0.0.1:1/0")

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(syndic, *words)

    return run


async def test_each_edit_is_decided_by_the_workflow_that_knows_it_best(
    world: World, command: Command, tmp_path: Path
) -> None:
    world.script.plan = plan(change("one"), change("two"), change("three"), change("four", depends_on=("two",)))
    (tmp_path / "task.yaml").write_text("id: new\ninstructions: write the page\ndepends_on: [one]\n")
    held = Held(world, "one")
    handle = await world.start(max_parallel=1, autonomy="autonomous", approvals={"plan": {"ask": True}})
    view = await world.awaiting(ApprovalKind.PLAN)
    dropped = await command("edit", "drop", world.project, "three", "--json")
    assert (dropped.exit_code, json.loads(dropped.stdout)["workflow_id"]) == (0, world.id)
    await world.decide(await _next(world, view.id), "approve", by="kim")
    await held.at_work("one")
    said = [
        await command("edit", "add", world.project, str(tmp_path / "task.yaml"), "--json"),
        await command("edit", "reassign", world.project, "new", "--agent", "radia", "--json"),
        await command("edit", "skip", world.project, "two", "--dependents", "run", "--json"),
        await command("feedback", world.project, "mind the tests", "--task", "new", "--json"),
        await command("edit", "rewind", world.project, "one", "--step", "5", "--json"),
    ]
    assert [result.exit_code for result in said] == [0] * 5, [result.stderr for result in said]
    decided = [json.loads(result.stdout)["workflow_id"] for result in said]
    assert decided == [sprint(world)] * 4 + [task(world, "one")]
    await held.at_work("one", 2)
    held.let_go("one")
    await asyncio.wait_for(handle.result(), 30)
    assert [run.task for run in world.script.runs(Work.CHANGE)] == ["one", "one", "four", "new"]
    [new] = world.script.runs(Work.CHANGE, "new")
    assert (new.agent, new.feedback[-1].text) == (f"{world.project}.engineer.radia", "mind the tests")


async def _next(world: World, before: str) -> ApprovalView:
    while True:
        view = await world.awaiting(ApprovalKind.PLAN)
        if view.id != before:
            return view


async def test_a_task_is_cancelled_and_tried_again_and_refusals_end_with_their_reason(
    world: World, command: Command
) -> None:
    world.script.plan = plan(change("one"), change("slow"))
    held = Held(world, "one", "slow")
    handle = await world.start()
    await held.at_work("one")
    cancelled = await command("cancel", world.project, "--task", "one", "--reason", "not like this")
    assert (cancelled.exit_code, cancelled.stdout) == (0, "")
    await until(world, "one", TaskState.CANCELLED)
    late = await command("feedback", world.project, "too late", "--task", "one")
    assert late.exit_code == 1
    assert "feedback was refused: task 'one' has ended: cancelled" in late.stderr
    unknown = await command("edit", "drop", world.project, "nobody")
    assert (unknown.exit_code, "there is no task 'nobody'" in unknown.stderr) == (1, True)
    nobody = await command("edit", "reassign", world.project, "one")
    assert (nobody.exit_code, "say to whom" in nobody.stderr) == (2, True)
    empty = await command("feedback", world.project, "")
    assert empty.exit_code == 2
    assert (await command("edit", "retry", world.project, "one")).exit_code == 0
    held.let_go("one", "slow")
    await until(world, "one", TaskState.MERGED)
    assert (await asyncio.wait_for(handle.result(), 30)).tasks_merged == 2
    ended = await command("edit", "drop", world.project, "one")
    assert (ended.exit_code, "has ended" in ended.stderr) == (1, True), ended.stderr
    assert set(await states(world)) == {"one", "slow"}
