"""Approvals of running workflows: quorum by keys, batches, repeated ids, and answers that survive their workers."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from agents.assignments import Work
from ledger.chain import seal
from ledger.decisions import check_decisions
from ledger.rows import GENESIS, Entry, Head
from ledger.signatures import new_key
from ledger.vocabulary import ApprovalKind, Autonomy, Phase, sprint_workflow_id
from tests.support.signing import PEOPLE, approvers, signed
from tests.workflows.script import change, plan
from tests.workflows.world import World, eventually, working
from workflows.approval_models import ApprovalView, DecisionEffect
from workflows.reports import ProjectReport

pytestmark = pytest.mark.asyncio(loop_scope="session")


def now() -> datetime:
    return datetime.now(UTC)


async def refused(world: World, number: int, workflow_id: str | None = None) -> list[str]:
    """Reasons of the refusals, once there are so many."""

    async def there() -> list[str]:
        reasons = [refusal.reason for refusal in (await world.approvals(workflow_id)).refused]
        return reasons if len(reasons) >= number else []

    return await eventually(there)


async def finished(world: World) -> ProjectReport:
    return ProjectReport.model_validate(await asyncio.wait_for(world.handle().result(), 30))


async def idle(world: World) -> None:
    """Wait until no activity of the project is under way, whose time limit would have to pass first."""

    async def quiet() -> bool:
        return not (await world.handle().describe()).raw_description.pending_activities

    await eventually(quiet)


def chain(world: World) -> list[Entry]:
    """What was recorded, as one chain."""
    head, entries = Head(project=world.project, seq=0, hash=GENESIS), []
    for batch in world.script.asked("record"):
        for new in batch.entries:
            entries.append(seal(new, datetime(2030, 1, 1, tzinfo=UTC), head))
            head = Head(project=world.project, seq=entries[-1].seq, hash=entries[-1].hash)
    return entries


async def test_two_of_three_keys_let_a_sprint_in_and_no_name_does(world: World) -> None:
    rules = {"milestone": {"ask": True, "quorum": 2}}
    await world.start(approvers=approvers(), approvals=rules)
    view = await world.awaiting(ApprovalKind.MILESTONE)
    handle = world.handle()
    assert (view.quorum, view.signed, view.bound) == (2, True, True)

    for by in ("pat", "kim"):
        await world.decide(view, "approve", by=by)
    await handle.signal("decide", signed(view, "pat", "approve", now(), key=new_key()))
    await handle.signal("decide", signed(view, "pat", "approve", now(), key=PEOPLE["kim"]))
    first = signed(view, "pat", "approve", now(), id="one")
    for _ in range(2):
        await handle.signal("decide", first)
    await handle.signal("decide", signed(view, "pat", "approve", now(), id="two"))
    reasons = await refused(world, 5)
    assert [reason.split(" (")[0] for reason in reasons[:2]] == [f"{view.id} takes signed decisions only"] * 2
    assert "no approver of this project has the key" in reasons[2]
    assert "sent by pat, signed with the key of kim" in reasons[3]
    assert f"pat has answered {view.id} already" in reasons[4]
    (waiting,) = (await world.approvals()).open
    assert [(vote.by, vote.verified) for vote in waiting.votes] == [("pat", True)]

    last = await handle.execute_update(
        "decide_now", signed(view, "lee", "approve", now(), comment="go"), result_type=DecisionEffect
    )
    assert last.effect == f"{view.id} approved"
    assert (await finished(world)).state is Phase.DONE
    made = world.script.entries("decision_made")
    assert [(entry["claimed_by"], entry["key_id"], entry.get("state")) for entry in made] == [
        ("pat", PEOPLE["pat"].public.id, "open"),
        ("lee", PEOPLE["lee"].public.id, None),
    ]
    assert len(world.script.entries("decision_repeated")) == 1
    assert len(world.script.entries("message_refused")) == 5
    found = check_decisions(chain(world))
    assert (found.verified, found.claimed, found.faults) == (2, 0, ())


async def test_a_message_that_anybody_can_send_does_not_take_the_place_of_keys(world: World) -> None:
    rules = {"plan": {"signed": True}, "milestone": {"quorum": 2}}
    handle = await world.start(autonomy="milestone", approvers=approvers(), approvals=rules)
    plan_view = await world.awaiting(ApprovalKind.PLAN)
    await handle.signal("set_autonomy", {"autonomy": "autonomous", "by": "mallory"})
    await handle.signal("decide", signed(plan_view, "pat", "approve", now()))
    view = await world.awaiting(ApprovalKind.MILESTONE)
    assert (await world.status()).autonomy is Autonomy.AUTONOMOUS
    for by in ("pat", "kim"):
        await handle.signal("decide", signed(view, by, "approve", now()))
    assert (await finished(world)).state is Phase.DONE


async def test_who_produced_a_change_may_not_let_it_in(world: World) -> None:
    await world.start(approvers=approvers(), approvals={"milestone": {"ask": True, "separate": True}})
    view = await world.awaiting(ApprovalKind.MILESTONE)
    assert view.producers
    assert all(name.startswith(world.project) for name in view.producers)
    await world.decide(view, "approve", by=view.producers[0])
    assert "had a part in what" in (await refused(world, 1))[0]
    await world.handle().signal("decide", signed(view, "kim", "approve", now()))
    assert (await finished(world)).state is Phase.DONE


async def test_rules_that_nobody_can_keep_fail_the_project_readably_when_it_starts(world: World) -> None:
    handle = await world.start(approvals={"plan": {"quorum": 2}})
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(handle.result(), 30)
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "InvalidBrief"
    assert "ProjectSpec: approvals.plan: quorum 2 needs 2 of `approvers` with a key" in str(cause)
    task = {"id": "one", "title": "t", "kind": "change", "instructions": "i"}
    alone = await world.start_task({"task": task, "approvals": {"task": {"separate": True}}})
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(alone.result(), 30)
    assert "TaskSpec: approvals.task: `separate` needs 1" in str(failed.value.cause)
    assert world.script.calls == []


async def test_a_batch_answers_what_is_open_and_is_refused_where_a_digest_is_needed(world: World) -> None:
    batch = {"all_of": "plan", "decision": "approve", "by": "pat", "id": "b"}
    await world.start(autonomy="milestone", approvals={"milestone": {"bound": True}})
    await world.awaiting(ApprovalKind.PLAN)
    handle = world.handle()
    await handle.signal("decide", {**batch, "all_of": "merge", "id": "a"})
    await handle.signal("decide", {**batch, "approval": "x"})
    reasons = await refused(world, 2)
    assert "no request of kind merge is open" in reasons[0]
    assert "approval: Extra inputs" in reasons[1]
    for _ in range(2):
        await handle.signal("decide", batch)
    view = await world.awaiting(ApprovalKind.MILESTONE)
    answer = await handle.execute_update(
        "decide_now", {**batch, "all_of": "milestone", "id": "c"}, result_type=DecisionEffect
    )
    assert "a batch names neither" in (answer.refusal or "")
    await world.decide(view, "approve")
    assert (await finished(world)).state is Phase.DONE
    made = world.script.entries("decision_made")
    assert [(entry["approval_kind"], entry["claimed_by"]) for entry in made] == [("plan", "pat"), ("milestone", "pat")]
    assert [entry["decision_id"] for entry in world.script.entries("decision_repeated")] == ["b"]


async def test_strict_mode_needs_the_digest_and_takes_no_batch(world: World) -> None:
    await world.start(autonomy="milestone", mode="strict")
    view = await world.awaiting(ApprovalKind.PLAN)
    handle = world.handle()
    await handle.signal("decide", {"approval": view.id, "decision": "approve", "by": "pat"})
    await handle.signal("decide", {"all_of": "plan", "decision": "approve", "by": "pat"})
    reasons = await refused(world, 2)
    assert "needs a decision with the digest" in reasons[0]
    assert "in strict mode" in reasons[1]
    await world.decide(view, "reject")
    await finished(world)
    kinds = [entry.kind for entry in chain(world)]
    assert kinds.index("decision_made") < kinds.index("decision_consumed")


async def test_a_refused_update_stands_in_the_ledger_although_nothing_else_happens(world: World) -> None:
    await world.start(autonomy="milestone")
    view = await world.awaiting(ApprovalKind.PLAN)
    payload = {"approval": view.id, "decision": "approve", "by": "mallory", "digest": "0" * 64}
    answer = await world.handle().execute_update("decide_now", payload, result_type=DecisionEffect)
    (entry,) = world.script.entries("message_refused")
    assert (entry["reason"], entry["sender"]) == (answer.refusal, "mallory")
    feed = [event for batch in world.script.asked("record") for event in batch.feed if event["type"] == "refused"]
    assert (feed[0]["data"]["approval"], feed[0]["data"]["sender"]) == (view.id, "mallory")
    await world.decide(view, "reject")
    await finished(world)


async def test_a_decision_is_consumed_by_the_work_that_it_led_to(world: World) -> None:
    await world.start(autonomy="milestone")
    first = await world.awaiting(ApprovalKind.PLAN)
    await world.decide(first, "revise", comment="smaller steps")

    async def second() -> ApprovalView | None:
        return next((view for view in (await world.approvals()).open if view.id != first.id), None)

    await world.decide(await eventually(second), "approve")
    await world.decide(await world.awaiting(ApprovalKind.MILESTONE), "reject")
    await finished(world)
    consumed = [
        (entry["approval"].split(".")[-1], entry["work"]) for entry in world.script.entries("decision_consumed")
    ]
    assert consumed == [("plan-1", "architect: plan"), ("plan-2", "sprint 1"), ("milestone-1", "the end: failed")]
    assert [view.consumed for view in (await world.approvals()).decided] == [work for _, work in consumed]


async def test_a_request_that_nobody_needs_any_more_is_withdrawn_on_the_record(world: World) -> None:
    handle = await world.start(autonomy="milestone")
    view = await world.awaiting(ApprovalKind.PLAN)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    (entry,) = world.script.entries("approval_expired")
    assert (entry["approval"], entry["outcome"]) == (view.id, "withdrawn")


async def test_a_cancellation_while_a_request_is_written_down_is_not_lost(world: World) -> None:
    held = world.script.holds["approval_requested"] = asyncio.Event()
    handle = await world.start(autonomy="milestone")
    await world.awaiting(ApprovalKind.PLAN)
    await eventually(lambda: world.script.entries("approval_requested"))
    await handle.cancel()

    async def cancelling() -> bool:
        events = (await handle.fetch_history()).events
        return any(event.HasField("activity_task_cancel_requested_event_attributes") for event in events)

    await eventually(cancelling)
    held.set()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)


@pytest.fixture
def project() -> str:
    return f"restarts-{next(NUMBERS)}"


NUMBERS = itertools.count(1)


@pytest.mark.parametrize(("channel", "seen"), [("signal", False), ("update", False), ("signal", True)])
async def test_a_worker_that_dies_between_answer_and_effect_neither_loses_nor_repeats_the_answer(
    server: WorkflowEnvironment, project: str, channel: str, seen: bool
) -> None:
    payload: dict[str, Any] = {}
    async with working(server.client, project) as world:
        world.script.plan = plan(change("one"))
        await world.start(autonomy="milestone")
        view = await world.awaiting(ApprovalKind.PLAN)
        payload = {"approval": view.id, "decision": "approve", "by": "pat", "digest": view.digest, "id": "once"}
        if seen:
            # The decision is taken, and the workers go before its work, the sprint, has got anywhere.
            await world.handle().signal("decide", payload)
            await eventually(lambda: world.script.entries("decision_made"))
        await idle(world)
    before = [*world.script.calls]
    handle = server.client.get_workflow_handle(world.id)
    if channel == "signal":
        await handle.signal("decide", payload)
        asked = None
    else:
        asked = asyncio.create_task(handle.execute_update("decide_now", payload, result_type=DecisionEffect))
    async with working(server.client, project) as world:
        world.script.calls += before
        if asked is not None:
            assert (await asyncio.wait_for(asked, 30)).effect == f"{view.id} approved"
        await world.decide(await world.awaiting(ApprovalKind.MILESTONE), "approve")
        assert (await finished(world)).state is Phase.DONE
    recorded = {entry.key: entry for batch in world.script.asked("record") for entry in batch.entries}
    kinds = [entry.kind for entry in recorded.values() if entry.body.get("approval") == view.id]
    assert kinds.count("decision_made") == kinds.count("decision_consumed") == 1
    assert [entry.kind for entry in recorded.values()].count("decision_repeated") == int(seen)
    assert len({run.lineage for run in world.script.runs(Work.CHANGE, "one")}) == 1


async def test_a_decision_that_comes_with_an_edit_of_what_it_is_about_is_refused(
    server: WorkflowEnvironment, project: str
) -> None:
    async with working(server.client, project) as world:
        await world.start(autonomy="milestone", approvers=approvers(), approvals={"plan": {"separate": True}})
        view = await world.awaiting(ApprovalKind.PLAN)
        await idle(world)
    handle = server.client.get_workflow_handle(world.id)
    # Nobody works: both messages come in one task of the workflow.
    await handle.signal("edit", {"do": "drop", "task": "two", "by": "pat"})
    await handle.signal("decide", signed(view, "kim", "approve", now()))
    async with working(server.client, project) as world:

        async def asked_again() -> ApprovalView | None:
            return next((one for one in (await world.approvals()).open if one.id != view.id), None)

        again = await eventually(asked_again)
        assert again.digest != view.digest
        assert f"{view.id} is expired already" in (await refused(world, 1))[0]
        assert "person:pat" in again.producers
        await handle.signal("decide", signed(again, "pat", "approve", now()))
        assert "had a part in what" in (await refused(world, 2))[1]
        await handle.signal("decide", signed(again, "kim", "reject", now()))
        assert (await finished(world)).state is Phase.FAILED


async def test_a_workflow_that_is_reset_behind_its_decision_acts_on_it_again_without_another(world: World) -> None:
    world.script.plan = plan(change("one"))
    await world.start(autonomy="milestone")
    view = await world.awaiting(ApprovalKind.PLAN)
    await world.decide(view, "approve", id="once")
    await world.awaiting(ApprovalKind.MILESTONE)
    await world.client.get_workflow_handle(sprint_workflow_id(world.project, 1)).result()
    history = await world.handle().fetch_history()
    decided = next(
        event.event_id
        for event in history.events
        if event.workflow_execution_signaled_event_attributes.signal_name == "decide"
    )
    task = max(
        event.event_id for event in history.events if event.event_id < decided and event.HasField(COMPLETED)
    )  # fmt: skip
    await world.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=world.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=world.id, run_id=history.run_id),
            reason="a test",
            request_id=f"reset-{world.project}",
            workflow_task_finish_event_id=task,
        )
    )

    milestone = await eventually(lambda: _another(world, history.run_id))
    approvals = await world.approvals()
    assert approvals.refused == ()
    assert [(one.id, one.consumed) for one in approvals.decided] == [(view.id, "sprint 1")]
    await world.decide(milestone, "approve")
    assert (await finished(world)).state is Phase.DONE
    made = [entry for batch in world.script.asked("record") for entry in batch.entries if entry.kind == "decision_made"]
    assert len({entry.key for entry in made if entry.body["approval"] == view.id}) == 1


async def _another(world: World, run_id: str) -> ApprovalView | None:
    """The milestone of the run after the reset."""
    run = (await world.handle().describe()).run_id
    return None if run == run_id else await world.awaiting(ApprovalKind.MILESTONE)


COMPLETED = "workflow_task_completed_event_attributes"
