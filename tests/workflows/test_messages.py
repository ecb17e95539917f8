"""What reaches workflows from outside: decisions, strays, and start inputs that are no good."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowFailureError, WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from agents.assignments import Work
from ledger.vocabulary import ApprovalKind, Phase, project_workflow_id
from tests.workflows.world import World, eventually
from workflows.answering import Waiting
from workflows.approval_models import DecisionEffect
from workflows.details import GAP
from workflows.options import WORKFLOW_QUEUE
from workflows.reports import ProjectReport
from workflows.visibility import INBOX_QUERY

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEMPORAL = str(Path(sys.executable).with_name("temporal"))


async def temporal(world: World, *arguments: str) -> str:
    """Run the `temporal` command against the test's server; its standard output."""
    process = await asyncio.create_subprocess_exec(
        TEMPORAL,
        *arguments,
        "--address",
        world.address,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def finished(world: World) -> ProjectReport:
    return ProjectReport.model_validate(await asyncio.wait_for(world.handle().result(), 30))


async def test_the_line_shown_in_the_current_details_answers_the_request(world: World) -> None:
    handle = await world.start(autonomy="milestone")
    view = await world.awaiting(ApprovalKind.PLAN)

    metadata: WorkflowMetadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    details = metadata.current_details
    assert view.digest in details
    assert view.id in details
    assert "| one | waiting |" in details.replace(GAP, "")
    _, block, _ = details.split("```", 2)
    line = block.removeprefix("sh").strip().replace("\\\n", " ")
    await temporal(world, *shlex.split(line)[1:])
    await world.decide(await world.awaiting(ApprovalKind.MILESTONE), "approve")
    report = await asyncio.wait_for(handle.result(), 30)
    assert (report.state, report.approvals) == (Phase.DONE, 2)


async def test_open_requests_stand_in_one_inbox_with_their_digest(world: World) -> None:
    await world.start(autonomy="milestone")
    view = await world.awaiting(ApprovalKind.PLAN)
    query = f'{INBOX_QUERY} AND SyndicProject="{world.project}"'

    async def listed() -> list[Any]:
        return [run async for run in world.client.list_workflows(query)]

    (run,) = await eventually(listed)
    memo = await run.memo()
    [waiting] = memo["approvals"]
    assert {name: waiting[name] for name in ("id", "kind", "digest", "summary")} == {
        "id": view.id,
        "kind": "plan",
        "digest": view.digest,
        "summary": view.summary,
    }
    assert Waiting.model_validate({**waiting, "workflow_id": run.id}) == Waiting.of(view)
    assert run.search_attributes["SyndicPhase"] == ["approval"]
    await world.decide(view, "reject", comment="not now")
    report = await finished(world)
    assert report.state is Phase.FAILED
    assert "rejected by pat (claimed): not now" in report.summary

    async def empty() -> bool:
        return not await listed()

    await eventually(empty)


async def test_a_revised_plan_is_made_again_with_the_persons_words(world: World) -> None:
    await world.start(autonomy="milestone")
    first = await world.awaiting(ApprovalKind.PLAN)
    await world.decide(first, "revise", comment="leave the tests alone")

    async def second() -> Any:
        return next((view for view in (await world.approvals()).open if view.id != first.id), None)

    view = await eventually(second)
    architect = world.script.runs(Work.PLAN)[1]
    assert (architect.feedback[0].source, architect.feedback[0].text) == ("person:pat", "leave the tests alone")
    await world.decide(view, "approve")
    await world.decide(await world.awaiting(ApprovalKind.MILESTONE), "approve")
    assert (await finished(world)).approvals == 3


async def test_a_decision_about_something_else_is_refused_on_the_record(world: World) -> None:
    await world.start(autonomy="milestone")
    view = await world.awaiting(ApprovalKind.PLAN)
    handle = world.handle()
    wrong = {"approval": view.id, "decision": "approve", "by": "mallory", "digest": "0" * 64}
    await handle.signal("decide", wrong)
    await handle.signal("decide", {**wrong, "approval": "plan-99", "digest": view.digest})

    async def refused() -> bool:
        return len((await world.approvals()).refused) == 2

    await eventually(refused)
    approvals = await world.approvals()
    assert approvals.open == (view,)
    assert [(refusal.message, refusal.sender) for refusal in approvals.refused] == [("decide", "mallory")] * 2
    assert "what was shown has changed" in approvals.refused[0].reason
    assert "there is no approval 'plan-99'" in approvals.refused[1].reason
    await world.decide(view, "reject")
    await finished(world)
    assert len(world.script.entries("message_refused")) == 2


async def test_a_decision_counts_once_and_its_repetition_is_the_first_one_again(world: World) -> None:
    await world.start(autonomy="milestone")
    view = await world.awaiting(ApprovalKind.PLAN)
    payload = {"approval": view.id, "decision": "approve", "by": "pat", "id": "d-1"}
    handle = world.handle()
    first = await handle.execute_update("decide_now", payload, result_type=DecisionEffect)
    again = await handle.execute_update("decide_now", payload, result_type=DecisionEffect)
    other = await handle.execute_update("decide_now", {**payload, "id": "d-2"}, result_type=DecisionEffect)
    assert first == again == DecisionEffect(effect=f"{view.id} approved")
    assert other.effect is None
    assert "approved already" in (other.refusal or "")
    await world.decide(await world.awaiting(ApprovalKind.MILESTONE), "approve")
    await finished(world)
    decisions = world.script.entries("decision_made")
    assert [body["channel"] for body in decisions] == ["update", "signal"]
    assert decisions[0]["digest"] == view.digest


async def test_stray_messages_are_refused_on_the_record_and_leave_the_workflow_answering(world: World) -> None:
    handle = await world.start(autonomy="milestone")
    view = await world.awaiting(ApprovalKind.PLAN)
    garbage = RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b"{not json"))
    strange = RawValue(Payload(metadata={"encoding": b"binary/zstd-of-my-own"}, data=b"\x00\xff"))
    bare = RawValue(Payload(data=b"x"))
    await handle.signal("decide")
    await handle.signal("decide", args=[{"approval": view.id}, 2])
    await handle.signal("no_such_signal", {"by": "pat"})
    await handle.signal("decide", garbage)
    await handle.signal("decide", strange)
    await handle.signal("decide", bare)
    await handle.signal("decide", {"approval": view.id, "decision": "approve", "by": "pat", "aproval": "x"})
    await handle.signal("decide", ["approve"])
    await handle.signal("edit", {"skip": "one"})
    await handle.signal("resume", {"by": "pat"})
    await handle.signal("feedback", {"text": "", "by": "pat"})
    await handle.signal("set_autonomy", {"autonomy": "anarchy"})
    update = await handle.execute_update("decide_later", {"by": "pat"}, result_type=DecisionEffect)
    assert "unknown update" in (update.refusal or "")
    update = await handle.execute_update("decide_now", strange, result_type=DecisionEffect)
    assert "unknown encoding" in (update.refusal or "")

    async def all_refused() -> bool:
        return (await world.status()).refused == 14

    await eventually(all_refused)
    approvals = await world.approvals()
    reasons = [refusal.reason for refusal in approvals.refused]
    assert "expected one argument, got 0" in reasons[0]
    assert "expected one argument, got 2" in reasons[1]
    assert "unknown signal" in reasons[2]
    assert "not valid JSON" in reasons[3]
    assert "unknown encoding" in reasons[4]
    assert "unknown encoding" in reasons[5]
    assert "aproval: Extra inputs are not permitted" in reasons[6]
    assert "Unable to extract tag using discriminator 'do'" in reasons[8]
    assert "not paused" in reasons[9]
    assert approvals.open == (view,)
    await world.decide(view, "reject")
    await finished(world)
    assert [body["message"] for body in world.script.entries("message_refused")][:3] == [
        "decide",
        "decide",
        "no_such_signal",
    ]


async def test_a_query_with_an_unknown_name_or_arguments_harms_nobody(world: World) -> None:
    await world.start(autonomy="milestone")
    view = await world.awaiting(ApprovalKind.PLAN)
    with pytest.raises(WorkflowQueryFailedError, match="nonsense"):
        await world.handle().query("nonsense")
    await world.handle().query("status", args=["stray", 2])
    assert (await world.status()).phase is Phase.APPROVAL
    await world.decide(view, "reject")
    await finished(world)


async def test_autonomy_can_be_changed_while_the_project_runs(world: World) -> None:
    handle = await world.start(autonomy="milestone")
    view = await world.awaiting(ApprovalKind.PLAN)
    await handle.signal("set_autonomy", {"autonomy": "autonomous", "by": "pat"})
    await world.decide(view, "approve")
    report = await finished(world)
    assert (report.state, report.approvals) == (Phase.DONE, 1)


async def test_a_milestone_sent_back_is_planned_again_and_merged_with_the_next_sprint(world: World) -> None:
    from tests.workflows.script import change, plan

    world.script.plan = plan(change("one"))
    world.script.replan = plan(change("two"))
    await world.start(autonomy="milestone")
    await world.decide(await world.awaiting(ApprovalKind.PLAN), "approve")
    first = await world.awaiting(ApprovalKind.MILESTONE)
    assert first.subject["commit"].startswith("merge-")
    await world.decide(first, "revise", comment="also do two")

    async def second() -> Any:
        return next((view for view in (await world.approvals()).open if view.id != first.id), None)

    await world.decide(await eventually(second), "approve")
    report = await finished(world)
    assert (report.tasks_merged, report.approvals) == (2, 3)
    assert [request.sprint for request in world.script.asked("integrate") if request.task is None] == [2]
    assert world.script.runs(Work.CHANGE, "two")[0].base_commit == first.subject["commit"]


async def test_a_rejected_milestone_ends_the_project_without_a_merge(world: World) -> None:
    await world.start(autonomy="milestone")
    await world.decide(await world.awaiting(ApprovalKind.PLAN), "approve")
    await world.decide(await world.awaiting(ApprovalKind.MILESTONE), "reject", comment="too risky")
    report = await finished(world)
    assert (report.state, report.tasks_merged, report.branch) == (Phase.FAILED, 0, None)
    assert "too risky" in report.summary
    assert [request.task for request in world.script.asked("integrate") if request.task is None] == []


BAD_STARTS: dict[str, tuple[list[Any], str]] = {
    "no argument": ([], "expected one argument, got 0"),
    "two arguments": ([{"goal": "fix it", "repository": "/r"}, {}], "expected one argument, got 2"),
    "misspelt key": ([{"goal": "fix it", "repository": "/r", "autonmy": "milestone"}], "autonmy: Extra inputs"),
    "not an object": (["fix it"], "should be an object"),
    "garbage": ([RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b"{oops"))], "not valid JSON"),
    "strange encoding": ([RawValue(Payload(metadata={"encoding": b"x/y"}, data=b"?"))], "unknown encoding"),
    "no encoding": ([RawValue(Payload(data=b"?"))], "unknown encoding"),
    "other project": ([{"goal": "fix it", "repository": "/r", "project_id": "other"}], "disagrees"),
    "cycle": (
        [
            {
                "goal": "fix it",
                "repository": "/r",
                "tasks": [
                    {"id": "a", "instructions": "x", "depends_on": ["b"]},
                    {"id": "b", "instructions": "x", "depends_on": ["a"]},
                ],
            }
        ],
        "in a circle",
    ),
    "unknown dependency": (
        [{"goal": "fix it", "repository": "/r", "tasks": [{"id": "a", "instructions": "x", "depends_on": ["zz"]}]}],
        "task 'a' depends on 'zz'",
    ),
    "unknown role in models": ([{"goal": "fix it", "repository": "/r", "models": {"enginer": ["m"]}}], "'enginer'"),
    "gate without command": (
        [{"goal": "fix it", "repository": "/r", "gates": [{"name": "t", "run": "'open"}]}],
        "No closing quotation",
    ),
}


@pytest.mark.parametrize("case", BAD_STARTS)
async def test_a_bad_start_input_fails_the_project_at_once_and_readably(world: World, case: str) -> None:
    arguments, complaint = BAD_STARTS[case]
    handle = await world.client.start_workflow("Project", args=arguments, id=world.id, task_queue=WORKFLOW_QUEUE)
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(handle.result(), 30)
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "InvalidBrief"
    assert complaint in str(cause)
    assert world.script.calls == []


async def test_a_project_under_a_foreign_workflow_id_fails_readably(world: World) -> None:
    handle = await world.client.start_workflow(
        "Project", world.brief(), id=f"my-{world.project}", task_queue=WORKFLOW_QUEUE
    )
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(handle.result(), 30)
    assert "must be 'project/<project>'" in str(failed.value.cause)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"repository": None}, "needs `repository`"),
        ({"project": "other"}, "the workflow id must be"),
        ({"task": {"id": "one", "title": "t", "kind": "change", "instructions": "i", "scop": ["x"]}}, "scop"),
        ({"goals": "x"}, "goals: Extra inputs"),
    ],
)
async def test_a_bad_task_spec_fails_at_once_and_readably(
    world: World, changes: dict[str, Any], complaint: str
) -> None:
    task = {"id": "one", "title": "t", "kind": "change", "instructions": "i"}
    handle = await world.start_task({"task": task, **changes})
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(handle.result(), 30)
    assert complaint in str(failed.value.cause)


async def test_signals_that_come_with_the_start_are_met_before_the_run_and_do_no_harm(world: World) -> None:
    handle = await world.client.start_workflow(
        "Project",
        world.brief(),
        id=project_workflow_id(world.project),
        task_queue=WORKFLOW_QUEUE,
        start_signal="decide",
        start_signal_args=[1, 2, 3],
        result_type=ProjectReport,
    )
    assert (await asyncio.wait_for(handle.result(), 30)).state is Phase.DONE
    assert [refusal.message for refusal in (await world.approvals()).refused] == ["decide"]


async def test_an_update_never_fails_so_that_its_refusal_is_on_the_record(world: World) -> None:
    await world.start(autonomy="milestone")
    view = await world.awaiting(ApprovalKind.PLAN)
    try:
        answer = await world.handle().execute_update("decide_now", args=[1, 2], result_type=DecisionEffect)
    except WorkflowUpdateFailedError as error:  # pragma: no cover - what the test is about
        pytest.fail(f"the update failed: {error}")
    assert "got 2" in (answer.refusal or "")
    await world.decide(view, "reject")
    await finished(world)
    assert world.script.entries("message_refused")[0]["message"] == "decide_now"
