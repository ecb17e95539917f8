"""What Temporal would refuse for its size fails once, in words, whoever is about to send it."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.agent_run import without_long_text
from agents.runs import AgentOutcome
from ledger.vocabulary import ArtifactRef, OutcomeKind, Record
from tests.workflows.world import DEADLINE_S
from workers.payloads import PAYLOAD_LIMIT, SERVER_LIMIT, data_converter

pytestmark = pytest.mark.asyncio(loop_scope="session")

LARGE = PAYLOAD_LIMIT + 1


class Paper(Record):
    title: str = "a paper"
    text: str


class Press:
    def __init__(self) -> None:
        self.runs = 0

    @activity.defn(name="print_paper")
    async def print_paper(self, size: int) -> Paper:
        self.runs += 1
        return Paper(text="x" * size)

    @activity.defn(name="read_paper")
    async def read_paper(self, paper: Paper) -> int:
        return len(paper.text)


@workflow.defn(name="Publish", sandboxed=False)
class Publish:
    @workflow.run
    async def run(self, where: str, size: int) -> Paper:
        soon = timedelta(seconds=10)
        if where == "activity":
            return await workflow.execute_activity("print_paper", size, start_to_close_timeout=soon, result_type=Paper)
        paper = Paper(text="x" * size)
        if where == "workflow":
            await workflow.execute_activity("read_paper", paper, start_to_close_timeout=soon)
        if where == "memo":
            workflow.upsert_memo({"paper": paper})
        return paper


async def publish(client: Client, where: str, size: int = LARGE) -> tuple[Paper | BaseException, Press]:
    press, queue = Press(), f"press-{uuid.uuid4()}"
    async with Worker(
        client,
        task_queue=queue,
        workflows=[Publish],
        activities=[press.print_paper, press.read_paper],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        running = client.execute_workflow(Publish.run, args=[where, size], id=f"publish-{queue}", task_queue=queue)
        try:
            return await asyncio.wait_for(running, DEADLINE_S), press
        except WorkflowFailureError as failure:
            cause = failure.cause
            return (cause.cause if isinstance(cause, ActivityError) and cause.cause else cause), press


@pytest.mark.parametrize("where", ["activity", "workflow", "memo", "result"])
async def test_too_large_a_payload_fails_once_with_its_size_and_the_remedy(
    server: WorkflowEnvironment, where: str
) -> None:
    error, press = await publish(server.client, where)
    assert isinstance(error, ApplicationError), error
    assert (error.type, error.non_retryable) == ("PayloadTooLarge", True)
    for part in ("Paper is 1.94 MiB", "`text`", "1.94 MiB at most", "keep_document"):
        assert part in error.message or where == "memo", error.message
    assert press.runs == (where == "activity")


async def test_the_largest_that_the_guard_lets_through_is_taken_by_the_server(server: WorkflowEnvironment) -> None:
    room = PAYLOAD_LIMIT - 200
    paper, _ = await publish(server.client, "activity", room)
    assert isinstance(paper, Paper), paper
    assert len(paper.text) == room


async def test_a_client_is_told_before_anything_is_sent(server: WorkflowEnvironment) -> None:
    with pytest.raises(ApplicationError, match="most of it in `text`"):
        await server.client.start_workflow("Publish", Paper(text="x" * SERVER_LIMIT), id="never", task_queue="never")


async def test_the_sum_of_several_arguments_counts() -> None:
    half = Paper(text="x" * (LARGE // 2))
    with pytest.raises(ApplicationError):
        data_converter.payload_converter.to_payloads([half, half])


async def test_a_history_does_not_hold_the_text_of_a_report() -> None:
    artifact = ArtifactRef(name="report", digest="d" * 64, size=100_000)
    result = {"summary": "s", "markdown": "x" * 100_000}
    outcome = AgentOutcome(kind=OutcomeKind.FINISHED, thread="t", summary="s", result=result, artifact=artifact)
    kept = without_long_text(outcome)
    assert len(kept.model_dump_json()) < 3_000
    assert artifact.digest in kept.result["markdown"]
    assert without_long_text(kept.model_copy(update={"result": {"summary": "s"}})).result == {"summary": "s"}
