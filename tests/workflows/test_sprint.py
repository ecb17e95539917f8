"""What happens between the tasks of a sprint: order, limits, documents, integration."""

from __future__ import annotations

import asyncio

import pytest

from activities.contracts import Integration
from agents.assignments import Feedback, Work
from agents.runs import AgentOutcome, AgentRun
from ledger.vocabulary import Phase, TaskState, task_workflow_id
from tests.workflows.script import change, plan
from tests.workflows.world import World, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


def conflict() -> Integration:
    return Integration(merged=False, conflict=True, feedback=(Feedback(source="merge", text="conflicts in src/a.py"),))


async def test_dependents_begin_after_their_dependency_and_are_given_its_documents(world: World) -> None:
    await world.run()
    first, second = world.script.runs(Work.CHANGE)
    assert (first.task, second.task) == ("one", "two")
    names = [document.name for document in second.documents]
    assert {"requirements", "survey", "plan", "one/diff", "one/gates"} <= set(names)
    assert second.base_commit == f"merge-commit-one-{first.lineage}"


async def test_independent_tasks_run_side_by_side_up_to_the_limit_and_by_priority(world: World) -> None:
    world.script.plan = plan(*(change(f"t{number}", priority=number) for number in range(4)))
    together = asyncio.Barrier(2)

    async def meet(run: AgentRun) -> AgentOutcome:
        await asyncio.wait_for(together.wait(), 20)
        return world.script.usual(run)

    world.script.agents[(Work.CHANGE, "*")] = meet
    report = await world.run(max_parallel=2)
    assert report.tasks_merged == 4
    assert world.script.most_at_work == 2
    started = [run.task for run in world.script.runs(Work.CHANGE)]
    assert set(started[:2]) == {"t3", "t2"}
    agents = {run.agent for run in world.script.runs(Work.CHANGE)}
    assert len(agents) == 4


async def test_changes_are_merged_one_at_a_time(world: World) -> None:
    world.script.plan = plan(*(change(f"t{number}") for number in range(3)))
    report = await world.run()
    assert report.tasks_merged == 3
    targets = [request.target for request in world.script.asked("integrate") if request.task]
    assert targets == [f"syndic/{world.project}.s1"] * 3


async def test_a_conflict_goes_back_to_the_task_on_the_sprints_new_head(world: World) -> None:
    world.script.plan = plan(change("one"))
    world.script.merges["one"] = [conflict()]
    report = await world.run()
    first, second = world.script.runs(Work.CHANGE)
    assert report.tasks_merged == 1
    assert second.feedback[0].source == "merge"
    assert second.lineage != first.lineage
    assert [request.restart for request in world.script.asked("open_workspace")] == [False, False, True]
    (task,) = report.tasks
    assert (task.attempts, task.repairs) == (2, 1)


async def test_a_change_that_never_fits_fails_after_two_returns(world: World) -> None:
    world.script.plan = plan(change("one"))
    world.script.merges["one"] = [conflict(), conflict(), conflict()]
    report = await world.run(max_sprints=1)
    assert report.state is Phase.FAILED
    (task,) = report.tasks
    assert task.state is TaskState.FAILED
    assert "src/a.py" in task.summary
    assert len(world.script.runs(Work.CHANGE)) == 3


async def test_the_board_shows_who_works_on_what(world: World) -> None:
    at_work = asyncio.Event()
    release = asyncio.Event()

    async def wait(run: AgentRun) -> AgentOutcome:
        at_work.set()
        await asyncio.wait_for(release.wait(), 30)
        return world.script.usual(run)

    world.script.agents[(Work.CHANGE, "one")] = wait
    handle = await world.start()
    await asyncio.wait_for(at_work.wait(), 30)
    board = await world.board(f"project/{world.project}/sprint/1")
    one, two = board.tasks
    assert (one.state, two.state) == (TaskState.RUNNING, TaskState.WAITING)
    assert one.agent == world.script.runs(Work.CHANGE, "one")[0].agent
    assert one.workflow_id == task_workflow_id(world.project, 1, "one")
    assert [task.id for task in (await world.board()).tasks] == ["one", "two"]
    release.set()
    await asyncio.wait_for(handle.result(), 30)


async def test_one_task_can_be_paused_alone(world: World) -> None:
    world.script.plan = plan(change("one"), change("two"))
    release = asyncio.Event()

    async def wait(run: AgentRun) -> AgentOutcome:
        await asyncio.wait_for(release.wait(), 30)
        return world.script.usual(run)

    world.script.agents[(Work.CHANGE, "one")] = wait
    handle = await world.start()
    await eventually(lambda: world.script.runs(Work.CHANGE, "one"))
    task = world.handle(task_workflow_id(world.project, 1, "one"))
    await task.signal("pause", {"by": "pat"})
    release.set()

    async def two_is_merged() -> bool:
        board = await world.board(f"project/{world.project}/sprint/1")
        return board.tasks[1].state is TaskState.MERGED

    await eventually(two_is_merged)
    assert world.script.runs(Work.JUDGE, "one") == []
    await task.signal("resume")
    assert (await asyncio.wait_for(handle.result(), 30)).tasks_merged == 2
    assert {request.subject for request in world.script.asked("change_standing")} == {f"{world.project}/s1/one"}
