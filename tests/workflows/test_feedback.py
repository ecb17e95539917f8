"""Words for a project, a sprint, a task or one agent: told at the next step, kept for what has not begun, or refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents.assignments import Work
from agents.runs import AgentOutcome, AgentRun
from ledger.vocabulary import ApprovalKind, TaskState
from tests.workflows.script import change, failing, plan
from tests.workflows.steered import Held, applied, say, sprint, task, until
from tests.workflows.world import World, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def end(handle: Any) -> Any:
    return await asyncio.wait_for(handle.result(), 30)


def told(world: World) -> list[tuple[str, str]]:
    """(agent, words) of what was posted to inboxes."""
    messages = [message for batch in world.script.asked("record") for message in batch.messages]
    return [(message.target, message.payload["text"]) for message in messages]


async def test_a_task_that_has_not_begun_is_told_when_it_begins(world: World) -> None:
    held = Held(world, "one")
    handle = await world.start()
    await held.at_work("one")
    assert applied(await say(world, world.id, task="two"))
    held.let_go("one")
    await end(handle)
    [two] = world.script.runs(Work.CHANGE, "two")
    assert [(note.source, note.text) for note in two.feedback] == [("person:pat", "mind the tests")]
    assert told(world) == []


async def test_a_task_of_a_plan_that_is_not_confirmed_is_told_when_it_begins(world: World) -> None:
    handle = await world.start(autonomy="milestone")
    view = await world.awaiting(ApprovalKind.PLAN)
    assert applied(await say(world, world.id, task="two"))
    unknown = await say(world, world.id, task="three")
    assert unknown.refusal == "there is no task 'three'; there are one, two"
    await world.decide(view, "approve")
    await world.decide(await world.awaiting(ApprovalKind.MILESTONE), "approve")
    await end(handle)
    one, two = world.script.runs(Work.CHANGE)
    assert (one.feedback, [note.text for note in two.feedback]) == ((), ["mind the tests"])


async def test_a_task_at_work_is_told_now_and_again_at_each_later_attempt(world: World) -> None:
    world.script.plan = plan(change("one"), change("other"))
    world.script.gates["one"] = [failing("red")]
    held = Held(world, "one", "other")
    handle = await world.start()
    first = await held.at_work("one")
    await held.at_work("other")
    assert applied(await say(world, world.id, task="one"))
    await eventually(lambda: told(world))
    assert told(world) == [(first.agent, "mind the tests")]
    held.let_go("one", "other")
    await end(handle)
    first, second = world.script.runs(Work.CHANGE, "one")
    assert "mind the tests" not in [note.text for note in first.feedback]
    assert "mind the tests" in [note.text for note in second.feedback]


async def test_a_task_that_has_ended_is_told_nothing(world: World) -> None:
    held = Held(world, "two")
    handle = await world.start()
    await held.at_work("two")
    answer = await say(world, sprint(world), task="one")
    assert answer.refusal == "task 'one' has ended: merged"
    held.let_go("two")
    await end(handle)
    [refused] = world.script.entries("message_refused")
    assert (refused["message"], refused["sender"]) == ("feedback_now", "pat")


async def test_one_agent_is_told_by_name_from_the_project(world: World) -> None:
    world.script.plan = plan(change("one"), change("two"))
    held = Held(world, "one", "two")
    handle = await world.start()
    first, second = await held.at_work("one"), await held.at_work("two")
    assert applied(await say(world, world.id, agent=second.agent.rpartition(".")[2]))
    await eventually(lambda: told(world))
    assert told(world) == [(second.agent, "mind the tests")]
    answer = await say(world, sprint(world), agent="nobody")
    assert answer.refusal == (
        f"nobody called 'nobody' is at work in this sprint; at work: {first.agent}, {second.agent}"
    )
    # With its role an agent is known wherever it works next.
    assert applied(await say(world, sprint(world), agent="qa.ada", text="look twice"))
    held.let_go("one", "two")
    await end(handle)
    assert told(world)[1:] == [(f"{world.project}.qa.ada", "look twice")]


async def test_judges_are_told_nothing_and_who_works_next_hears_it(world: World) -> None:
    world.script.plan = plan(change("one"))
    may_judge = asyncio.Event()

    async def judge(run: AgentRun) -> AgentOutcome:
        await asyncio.wait_for(may_judge.wait(), 30)
        return world.script.usual(run)

    world.script.agents[(Work.JUDGE, "one")] = judge
    handle = await world.start()
    await eventually(lambda: len(world.script.runs(Work.JUDGE, "one")) == 4)
    assert applied(await say(world, task(world, "one")))
    may_judge.set()
    await end(handle)
    assert told(world) == []


async def test_words_for_a_sprint_at_rest_are_kept_for_the_tasks_that_are_left(world: World) -> None:
    world.script.plan = plan(change("one"), change("two", depends_on=("one",)))
    handle = await world.start(approvals={"task": {"ask": True}})
    view = await world.awaiting(ApprovalKind.TASK, task(world, "one"))
    assert applied(await say(world, world.id))
    await world.decide(view, "approve")
    await world.decide(await world.awaiting(ApprovalKind.TASK, task(world, "two")), "approve")
    await end(handle)
    [one] = world.script.runs(Work.CHANGE, "one")
    assert [note.text for note in one.feedback] == ["mind the tests"]


async def test_words_that_nobody_read_before_their_task_ended_are_refused_on_the_record(world: World) -> None:
    world.script.plan = plan(change("one"), change("slow"))
    held = Held(world, "slow")
    at_merge, may_merge = asyncio.Event(), asyncio.Event()
    world.script.before_merge["one"] = (at_merge, may_merge)
    handle = await world.start()
    await asyncio.wait_for(at_merge.wait(), 30)
    assert applied(await say(world, sprint(world), task="one"))
    may_merge.set()
    await until(world, "one", TaskState.MERGED)
    held.let_go("slow")
    await end(handle)
    [refused] = world.script.entries("message_refused")
    assert refused["reason"] == "task 'one' ended before anybody read it"
