"""`escalate`: whatever the work is at, nothing new starts until a person has decided how it goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle

from agents.assignments import Work
from agents.runs import AgentOutcome, AgentRun
from ledger.vocabulary import ApprovalKind, OutcomeKind, Phase, TaskState, sprint_workflow_id, task_workflow_id
from tests.workflows.script import change, ended, plan
from tests.workflows.world import World, eventually
from workflows.reports import ProjectReport

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def at_work(world: World) -> tuple[WorkflowHandle[Any, ProjectReport], asyncio.Event]:
    """A project whose first task's agent is at work; the event lets it find out that it is halted."""
    started, halted = asyncio.Event(), asyncio.Event()

    async def work(run: AgentRun) -> AgentOutcome:
        if halted.is_set():
            return world.script.usual(run)
        started.set()
        await asyncio.wait_for(halted.wait(), 30)
        return ended(run, OutcomeKind.PAUSED, "standing is paused")

    world.script.agents[(Work.CHANGE, "one")] = work
    handle = await world.start()
    await asyncio.wait_for(started.wait(), 30)
    return handle, halted


def standings(world: World) -> list[tuple[str, str]]:
    requests = world.script.asked("change_standing")
    return [(request.subject.removeprefix(world.project), request.standing.value) for request in requests]


async def test_everything_stands_still_until_a_person_lets_it_go_on_with_their_words(world: World) -> None:
    handle, halted = await at_work(world)
    await handle.signal("escalate", {"reason": "the diff is too wide", "by": "pat"})
    view = await world.awaiting(ApprovalKind.ESCALATION)
    assert view.subject["reason"] == "the diff is too wide"
    assert view.subject["tasks"] == {"one": "waiting", "two": "waiting"}
    await eventually(lambda: len(standings(world)) == 3)
    assert standings(world) == [("", "paused"), ("/s1", "paused"), ("/s1/one", "paused")]
    halted.set()
    await handle.signal("resume", {"by": "pat"})

    async def refused() -> list[str]:
        return [refusal.reason for refusal in (await world.approvals()).refused]

    reasons: list[str] = await eventually(refused)
    assert "decide first" in reasons[0]
    assert (await world.status()).paused
    assert len(world.script.runs(Work.CHANGE)) == 1
    await world.decide(view, "approve", comment="but keep it small")
    report = await asyncio.wait_for(handle.result(), 30)
    assert (report.state, report.tasks_merged) == (Phase.DONE, 2)
    assert standings(world)[3:] == [("", "active"), ("/s1", "active"), ("/s1/one", "active")]
    posted = [message.payload["text"] for batch in world.script.asked("record") for message in batch.messages]
    told = [note.text for run in world.script.runs(Work.CHANGE) for note in run.feedback]
    assert "but keep it small" in [*posted, *told]


async def test_a_project_that_is_given_up_ends_in_order(world: World) -> None:
    handle, halted = await at_work(world)
    await handle.signal("escalate", {"reason": "wrong repository", "by": "pat"})
    view = await world.awaiting(ApprovalKind.ESCALATION)
    await world.decide(view, "reject", comment="start again")
    halted.set()
    report = await asyncio.wait_for(handle.result(), 30)
    assert report.state is Phase.FAILED
    assert "pat (claimed) gave it up: start again (wrong repository)" in report.summary
    for workflow_id in (sprint_workflow_id(world.project, 1), task_workflow_id(world.project, 1, "one")):
        described = await world.handle(workflow_id).describe()
        assert described.status is not None
        assert described.status.name == "CANCELED"
    assert len(world.script.asked("close_project")) == 1


async def test_one_task_is_brought_before_a_person_while_the_others_go_on(world: World) -> None:
    world.script.plan = plan(change("one"), change("two"))
    handle, halted = await at_work(world)
    await handle.signal("escalate", {"reason": "look", "by": "pat", "task": "one"})
    task = task_workflow_id(world.project, 1, "one")
    view = await world.awaiting(ApprovalKind.ESCALATION, task)
    assert standings(world) == [("/s1/one", "paused")]
    assert not (await world.status()).paused

    async def other_is_merged() -> bool:
        return "two" in [request.task for request in world.script.asked("integrate")]

    await eventually(other_is_merged)
    await world.decide(view, "reject", comment="leave it")
    halted.set()
    report = await asyncio.wait_for(handle.result(), 30)
    assert {task.task: task.state for task in report.tasks} == {"one": TaskState.FAILED, "two": TaskState.MERGED}
    assert "leave it" in next(task.summary for task in report.tasks if task.task == "one")
    assert standings(world)[-1] == ("/s1/one", "active")


async def test_a_pause_besides_holds_what_a_decision_lets_go_on(world: World) -> None:
    handle, halted = await at_work(world)
    await handle.signal("escalate", {"reason": "look", "by": "pat"})
    view = await world.awaiting(ApprovalKind.ESCALATION)
    await handle.signal("pause", {"by": "kim"})
    await world.decide(view, "approve")
    halted.set()

    async def decided() -> bool:
        return not (await world.approvals()).open

    await eventually(decided)
    assert (await world.status()).paused
    await handle.signal("resume", {"by": "kim"})
    assert (await asyncio.wait_for(handle.result(), 30)).tasks_merged == 2


async def test_it_reaches_a_project_that_waits_for_another_decision(world: World) -> None:
    handle = await world.start(autonomy="milestone")
    asked = await world.awaiting(ApprovalKind.PLAN)
    await handle.signal("escalate", {"reason": "wait", "by": "pat"})
    view = await world.awaiting(ApprovalKind.ESCALATION)
    await handle.signal("escalate", {"reason": "wait once more", "by": "kim"})
    await world.decide(asked, "approve")

    async def refused() -> list[str]:
        return [refusal.reason for refusal in (await world.approvals()).refused]

    reasons: list[str] = await eventually(refused)
    assert "before a person already" in reasons[0]
    assert world.script.asked("open_workspace") == []
    await world.decide(view, "approve")
    await world.decide(await world.awaiting(ApprovalKind.MILESTONE), "approve")
    assert (await asyncio.wait_for(handle.result(), 30)).tasks_merged == 2


async def test_a_task_that_is_not_at_work_is_refused_and_a_cancellation_takes_the_request_back(world: World) -> None:
    handle, halted = await at_work(world)
    sprint = sprint_workflow_id(world.project, 1)
    await handle.signal("escalate", {"reason": "look", "task": "nobody"})

    async def refused() -> list[str]:
        return [refusal.reason for refusal in (await world.approvals(sprint)).refused]

    reasons: list[str] = await eventually(refused)
    assert "not at work" in reasons[0]
    await handle.signal("escalate", {"reason": "look", "by": "pat"})
    await world.awaiting(ApprovalKind.ESCALATION)
    halted.set()
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    assert (await world.approvals()).open == ()
