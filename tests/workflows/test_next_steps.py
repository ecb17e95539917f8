"""What a decision unblocks begins before the decision is shown and written down, except where the record comes first."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.api.history.v1 import HistoryEvent

from agents.assignments import Work
from agents.runs import AgentOutcome, AgentRun
from ledger.vocabulary import ApprovalKind, OutcomeKind, Phase, task_workflow_id
from tests.workflows.script import change, ended, plan
from tests.workflows.world import World, eventually
from workflows.approval_models import ApprovalView
from workflows.options import AGENTS_QUEUE

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHILD = "start_child_workflow_execution_initiated_event_attributes"
ACTIVITY = "activity_task_scheduled_event_attributes"
EXPIRY = "timer_canceled_event_attributes"
"""Of the request that was answered."""


MESSAGES = {
    "workflow_execution_signaled_event_attributes",
    "workflow_execution_update_accepted_event_attributes",
}


def name(event: HistoryEvent) -> str:
    return event.WhichOneof("attributes") or ""


async def commands(world: World, workflow_id: str, step: str) -> list[HistoryEvent]:
    """What the workflow commanded after the last message, up to and with the step."""

    async def found() -> list[HistoryEvent]:
        events = list((await world.handle(workflow_id).fetch_history()).events)
        last = max(place for place, event in enumerate(events) if name(event) in MESSAGES)
        after = [event for event in events[last + 1 :] if not name(event).startswith("workflow_task_")]
        places = [place for place, event in enumerate(after) if name(event) == step]
        return after[: places[0] + 1] if places else []

    return await eventually(found)


async def waiting(world: World, kind: ApprovalKind, workflow_id: str | None = None) -> ApprovalView:
    """A request that is written down, so that the workflow has nothing left to do but to wait."""
    view = await world.awaiting(kind, workflow_id)

    async def at_rest() -> bool:
        events = (await world.handle(workflow_id).fetch_history()).events
        return name(events[-1]) == "timer_started_event_attributes"

    await eventually(at_rest)
    return view


@pytest.mark.parametrize("channel", ["signal", "update"])
async def test_an_approved_plan_begins_its_sprint_with_the_first_command(world: World, channel: str) -> None:
    handle = await world.start(autonomy="milestone")
    view = await waiting(world, ApprovalKind.PLAN)
    if channel == "signal":
        await world.decide(view, "approve")
    else:
        await handle.execute_update("decide_now", {"approval": view.id, "decision": "approve", "by": "pat"})
    assert [name(event) for event in await commands(world, world.id, CHILD)] == [EXPIRY, CHILD]

    await world.decide(await world.awaiting(ApprovalKind.MILESTONE), "approve")
    assert (await asyncio.wait_for(handle.result(), 30)).state is Phase.DONE
    kinds = [body["approval_kind"] for body in world.script.entries("decision_made")]
    assert kinds == ["plan", "milestone"]
    assert next(body["work"] for body in world.script.entries("decision_consumed")) == "sprint 1"


async def test_an_answered_question_sends_its_agent_back_to_work_before_anything_else(world: World) -> None:
    world.script.plan = plan(change("one"))
    asked: list[str] = []

    def question(run: AgentRun) -> AgentOutcome:
        if asked:
            return world.script.usual(run)
        asked.append(run.task)
        return ended(run, OutcomeKind.NEEDS_HUMAN, "?", question="sure?")

    world.script.agents[(Work.CHANGE, "one")] = question
    handle = await world.start()
    one = task_workflow_id(world.project, 1, "one")
    await world.decide(await waiting(world, ApprovalKind.QUESTION, one), "approve", comment="yes")
    [*_, step] = events = await commands(world, one, ACTIVITY)
    assert [name(event) for event in events] == [EXPIRY, ACTIVITY]
    assert step.activity_task_scheduled_event_attributes.task_queue.name == AGENTS_QUEUE
    assert (await asyncio.wait_for(handle.result(), 30)).state is Phase.DONE


async def test_strict_mode_writes_the_decision_down_first(world: World) -> None:
    handle = await world.start(autonomy="milestone", mode="strict")
    await world.decide(await waiting(world, ApprovalKind.PLAN), "approve")
    [*before, _] = await commands(world, world.id, CHILD)
    written = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in before
        if event.HasField(ACTIVITY)
    ]
    assert written[0] == "record"
    await handle.terminate("seen")
