"""Thirty days of waiting in a moment: reminders, expiry and escalation on a server that skips time. It keeps no lists."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.testing import WorkflowEnvironment

from agents.assignments import Work
from ledger.vocabulary import ApprovalKind, Phase
from tests.support.signing import approvers, signed
from tests.workflows.script import change, plan
from tests.workflows.world import START, World, eventually, working
from workers.payloads import data_converter
from workflows.approval_models import DecisionEffect
from workflows.visibility import SEARCH_ATTRIBUTES

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAYS = 24
LONG = {"autonomy": "milestone", "timeout_minutes": 365 * DAYS * 60}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(
        data_converter=data_converter,
        test_server_existing_path=str(Path(sys.executable).with_name("temporal-test-server")),
        test_server_startup_timeout=START,
    ) as environment:
        kinds = {attribute.name: attribute.indexed_value_type for attribute in SEARCH_ATTRIBUTES}
        request = AddSearchAttributesRequest(namespace=environment.client.namespace, search_attributes=kinds)
        await environment.client.operator_service.add_search_attributes(request)
        yield environment


@pytest_asyncio.fixture(loop_scope="module")
async def slow(skipping: WorkflowEnvironment) -> AsyncIterator[World]:
    async with working(skipping.client, versioned=False) as world:
        world.script.plan = plan(change("one"))
        yield world


async def test_a_request_waits_thirty_days_is_called_to_mind_and_then_ends(
    slow: World, skipping: WorkflowEnvironment
) -> None:
    rules = {"plan": {"expires_h": 30 * DAYS, "reminders_h": [1 * DAYS, 7 * DAYS, 29 * DAYS]}}
    handle = await slow.start(**LONG, approvals=rules)
    view = await slow.awaiting(ApprovalKind.PLAN)
    for day, reminders in ((2, 1), (8, 2), (29.5, 3)):
        await until(skipping, slow, view.requested_at + timedelta(days=day))
        (waiting,) = (await slow.approvals()).open
        assert waiting.reminded == reminders
        assert len(slow.script.entries("approval_reminded")) == reminders
    metadata: WorkflowMetadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    assert view.id in metadata.current_details
    report = await handle.result()
    assert (report.state, report.approvals) == (Phase.FAILED, 0)
    assert "nobody decided about the plan in time" in report.summary
    (expired,) = (await slow.approvals()).decided
    assert expired.state == "expired"
    feed = [event for batch in slow.script.asked("record") for event in batch.feed if event["type"] == "approval"]
    assert sum("still waits" in event["text"] for event in feed) == 3
    summaries = [
        (await data_converter.decode([event.user_metadata.summary], [str]))[0]
        for event in (await handle.fetch_history()).events
        if event.HasField("timer_started_event_attributes") and event.user_metadata.HasField("summary")
    ]
    assert [text for text in summaries if view.id in text] == [f"reminder of {view.id}"] * 3 + [f"{view.id} expires"]


async def test_others_are_asked_after_thirty_days_and_those_before_are_too_late(
    slow: World, skipping: WorkflowEnvironment
) -> None:
    rules = {
        "plan": {
            "who": ["pat"], "signed": True, "expires_h": 30 * DAYS, "reminders_h": [20 * DAYS],
            "on_expiry": "escalate", "then": ["lee"],
        }
    }  # fmt: skip
    handle = await slow.start(**LONG, approvers=approvers(), approvals=rules)
    view = await slow.awaiting(ApprovalKind.PLAN)
    await until(skipping, slow, view.expires_at + timedelta(days=1))
    (waiting,) = (await slow.approvals()).open
    assert (waiting.id, waiting.digest, waiting.who, waiting.reminded) == (view.id, view.digest, ("lee",), 1)
    late = signed(view, "pat", "approve", await skipping.get_current_time())
    answer = await handle.execute_update("decide_now", late, result_type=DecisionEffect)
    assert "pat may not answer" in (answer.refusal or "")
    old = signed(view, "lee", "approve", view.requested_at)
    answer = await handle.execute_update("decide_now", old, result_type=DecisionEffect)
    assert "too far from now" in (answer.refusal or "")
    await until(skipping, slow, waiting.expires_at - timedelta(days=1))
    timely = signed(view, "lee", "approve", await skipping.get_current_time())
    await handle.signal("decide", timely)
    milestone = await slow.awaiting(ApprovalKind.MILESTONE)
    await slow.decide(milestone, "approve")
    assert (await handle.result()).state is Phase.DONE
    (escalated,) = slow.script.entries("approval_escalated")
    assert escalated["who"] == ["lee"]
    assert len(slow.script.entries("approval_reminded")) == 2


async def test_a_start_of_low_risk_goes_on_by_itself_where_the_rules_say_so(slow: World) -> None:
    rules = {"task": {"ask": True, "expires_h": 30 * DAYS, "on_expiry": "continue"}}
    handle = await slow.start(**{**LONG, "autonomy": "autonomous"}, approvals=rules)
    report = await handle.result()
    assert (report.state, report.approvals) == (Phase.DONE, 0)
    assert len(slow.script.runs(Work.CHANGE, "one")) == 1
    (expired,) = slow.script.entries("approval_expired")
    assert expired["outcome"] == "continue"
    assert slow.script.entries("decision_made") == []


async def until(skipping: WorkflowEnvironment, world: World, then: datetime) -> None:
    """Let time pass, and the workflow do what is due by then."""
    await skipping.sleep(then - await skipping.get_current_time())

    async def caught_up() -> bool:
        views = (await world.approvals()).open
        return all(view.expires_at > then and not any(time <= then for time in view.reminders) for view in views)

    await eventually(caught_up)
