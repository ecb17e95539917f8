"""Everything that the Web UI lists says what it is."""

from __future__ import annotations

import asyncio
import json

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from agents.assignments import Work
from agents.runs import AgentOutcome, AgentRun
from ledger.vocabulary import ApprovalKind, OutcomeKind, Phase, sprint_workflow_id, task_workflow_id
from tests.workflows.script import change, ended, plan
from tests.workflows.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCHEDULED = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
}


async def scheduled(world: World, workflow_id: str) -> list[HistoryEvent]:
    history = await world.handle(workflow_id).fetch_history()
    return [event for event in history.events if event.event_type in SCHEDULED]


async def test_every_activity_timer_and_child_workflow_carries_a_summary(world: World) -> None:
    once: list[str] = []

    def question(run: AgentRun) -> AgentOutcome:
        """A timer in the task too: a question, and a pause that nobody here knows of."""
        if not once:
            once.append(run.task)
            return ended(run, OutcomeKind.PAUSED, "paused elsewhere")
        return world.script.usual(run) if run.answer else ended(run, OutcomeKind.NEEDS_HUMAN, "?", question="sure?")

    world.script.agents[(Work.CHANGE, "one")] = question
    handle = await world.start(autonomy="milestone")
    await world.decide(await world.awaiting(ApprovalKind.PLAN), "approve")
    one = task_workflow_id(world.project, 1, "one")
    await world.decide(await world.awaiting(ApprovalKind.QUESTION, one), "approve", comment="yes")
    await world.decide(await world.awaiting(ApprovalKind.MILESTONE), "approve")
    assert (await asyncio.wait_for(handle.result(), 30)).state is Phase.DONE

    events: list[HistoryEvent] = []
    for workflow_id in (world.id, sprint_workflow_id(world.project, 1), one):
        events += await scheduled(world, workflow_id)
    assert {event.event_type for event in events} == SCHEDULED
    bare = [EventType.Name(event.event_type) for event in events if not event.user_metadata.summary.data]
    assert bare == []
    assert all(len(event.user_metadata.summary.data) <= 400 for event in events)


async def test_agents_are_named_in_the_summaries_of_their_runs(world: World) -> None:
    await world.run()
    events = await scheduled(world, task_workflow_id(world.project, 1, "one"))
    texts = [event.user_metadata.summary.data.decode() for event in events]
    assert any("engineer one: Change one" in text for text in texts)
    assert sum("judge (" in text for text in texts) == 4


async def test_entries_are_written_down_in_the_words_of_what_happened(world: World) -> None:
    await world.run()
    events = await scheduled(world, world.id)
    texts = [event.user_metadata.summary.data.decode() for event in events]
    assert any('"discovery make it right' in text for text in texts), texts
    assert not any("phase_changed" in text for text in texts)


async def test_children_say_what_they_were_started_for(world: World) -> None:
    world.script.plan = plan(change("one", instructions="first\n\n**then** the rest", acceptance=("it is | green",)))
    await world.run()
    sprint, task = sprint_workflow_id(world.project, 1), task_workflow_id(world.project, 1, "one")
    said: dict[str, str] = {}
    for workflow_id in (sprint, task):
        (start, *_) = (await world.handle(workflow_id).fetch_history()).events
        said[workflow_id] = json.loads(start.user_metadata.details.data)
    assert "first sprint" in said[sprint]
    assert "- **one**: Change one" in said[sprint]
    assert said[task].startswith("first\n\n\\*\\*then\\*\\* the rest\n\n- change by engineer")
    assert "accepted when it is \\| green" in said[task]
