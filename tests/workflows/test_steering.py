"""One task on another way: rewound to an earlier step, at work or waiting for a person, as a lineage of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents.assignments import Work
from agents.runs import AgentOutcome, AgentRun
from ledger.vocabulary import ApprovalKind, OutcomeKind, TaskState, thread_id
from tests.workflows.script import change, ended, plan
from tests.workflows.steered import Held, applied, edit, sprint, task
from tests.workflows.world import World, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


def thread(run: AgentRun) -> str:
    return thread_id(run.project, run.sprint, run.task, run.lineage)


async def end(handle: Any) -> Any:
    return await asyncio.wait_for(handle.result(), 30)


def failed(run: AgentRun) -> AgentOutcome:
    return ended(run, OutcomeKind.FAILED, "the model talks nonsense")


async def test_a_run_is_stopped_and_goes_on_from_an_earlier_step_as_a_new_lineage(world: World) -> None:
    world.script.plan = plan(change("one"))
    held = Held(world, "one")
    handle = await world.start()
    first = await held.at_work("one")
    answer = await edit(world, task(world, "one"), do="rewind", task="one", step=5, note="use the other function")
    assert applied(answer)
    second = await held.at_work("one", 2)
    [request] = world.script.asked("rewind_run")
    assert (request.source, request.target, request.step) == (thread(first), thread(second), 5)
    assert request.by == "pat"
    assert (second.agent, second.instructions, second.base_commit) == (
        first.agent,
        first.instructions,
        first.base_commit,
    )
    assert second.lineage == "engineer-1.2"
    held.let_go("one")
    report = await end(handle)
    assert (report.tasks[0].state, report.tasks[0].attempts) == (TaskState.MERGED, 2)
    # What the stopped run had taken is counted beside the new one's.
    assert report.tasks[0].model_calls >= 3
    posted = [message for batch in world.script.asked("record") for message in batch.messages]
    assert [(message.target, message.payload["text"]) for message in posted] == [
        (first.agent, "use the other function")
    ]
    assert world.script.asked("open_workspace")[-1].restart is False


async def test_a_task_that_waits_for_a_person_goes_on_from_a_step_of_an_earlier_attempt(world: World) -> None:
    world.script.plan = plan(change("one"))
    world.script.agents[(Work.CHANGE, "one")] = failed
    handle = await world.start()
    view = await world.awaiting(ApprovalKind.ESCALATION, task(world, "one"))
    world.script.agents.clear()
    runs = world.script.runs(Work.CHANGE, "one")
    answer = await edit(world, sprint(world), do="rewind", task="one", step=3, attempt=1)
    assert applied(answer)
    report = await end(handle)
    [request] = world.script.asked("rewind_run")
    assert request.source == thread(runs[0])
    last = world.script.runs(Work.CHANGE, "one")[-1]
    assert (last.agent, last.chain_offset, last.attempt) == (runs[0].agent, runs[0].chain_offset, len(runs) + 1)
    assert report.tasks_merged == 1
    [expired] = world.script.entries("approval_expired")
    assert (expired["approval"], expired["outcome"]) == (view.id, "withdrawn")


async def test_a_decision_about_a_request_that_was_taken_back_is_refused(world: World) -> None:
    world.script.plan = plan(change("one"))
    world.script.agents[(Work.CHANGE, "one")] = failed
    handle = await world.start()
    view = await world.awaiting(ApprovalKind.ESCALATION, task(world, "one"))
    world.script.agents.clear()
    held = Held(world, "one")
    await edit(world, task(world, "one"), do="rewind", task="one", step=3)
    await held.at_work("one", 4)
    await world.decide(view, "reject")

    async def refused() -> bool:
        return bool((await world.approvals(task(world, "one"))).refused)

    await eventually(refused)
    held.let_go("one")
    assert (await end(handle)).tasks_merged == 1


CANNOT = [
    ({"step": 10}, "has 9 steps so far"),
    ({"step": 2, "attempt": 7}, "there were 1 attempts so far"),
    ({"step": 2, "task": "two"}, "this is task 'one', not 'two'"),
]


async def test_a_step_that_is_not_there_leaves_the_run_at_work(world: World) -> None:
    world.script.plan = plan(change("one"))
    held = Held(world, "one")
    handle = await world.start()
    await held.at_work("one")
    for wrong, reason in CANNOT:
        answer = await edit(world, task(world, "one"), **{"do": "rewind", "task": "one", **wrong})
        assert reason in str(answer.refusal), wrong
    assert len(world.script.runs(Work.CHANGE, "one")) == 1
    held.let_go("one")
    assert (await end(handle)).tasks_merged == 1
    assert world.script.asked("rewind_run") == []


async def test_a_lineage_that_cannot_be_begun_leaves_the_task_with_its_run(world: World) -> None:
    world.script.plan = plan(change("one"))
    world.script.rewind_refusal = "the run has no step 5 to go on from"
    held = Held(world, "one")
    handle = await world.start()
    first = await held.at_work("one")
    await edit(world, task(world, "one"), do="rewind", task="one", step=5)
    second = await held.at_work("one", 2)
    assert thread(second) == thread(first)
    held.let_go("one")
    assert (await end(handle)).tasks_merged == 1
    assert "no step 5" in world.script.entries("message_refused")[0]["reason"]


async def test_a_task_that_has_ended_is_not_rewound(world: World) -> None:
    world.script.plan = plan(change("one"), change("slow"))
    held = Held(world, "slow")
    handle = await world.start()
    await held.at_work("slow")
    await eventually(lambda: [request for request in world.script.asked("integrate") if request.task == "one"])

    async def refused() -> bool:
        answer = await edit(world, sprint(world), do="rewind", task="one", step=2)
        return "has ended: merged; retry it instead" in str(answer.refusal)

    await eventually(refused)
    held.let_go("slow")
    await end(handle)
