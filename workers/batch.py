"""One answer to every open request of a kind: a batch of signals, as `temporal workflow signal --query` sends it.

The server walks through the workflows at its own rate (`worker.batcherRPS`), and each workflow resolves for itself which
requests are meant and whether its rules let them be answered without their digest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from uuid import uuid4

from temporalio.api.batch.v1 import BatchOperationSignal
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import BatchOperationState
from temporalio.api.workflowservice.v1 import (
    DescribeBatchOperationRequest,
    DescribeBatchOperationResponse,
    StartBatchOperationRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from agents.finishing import pause
from ledger.vocabulary import Record
from workers import operations
from workers.console import CommandError
from workers.inbox import inbox, query
from workflows.answering import Waiting
from workflows.approval_models import BatchDecision
from workflows.views import ApprovalsView

POLL_SECONDS = 0.3
QUIET_SECONDS = 5.0
"""How long nothing may move before the requests that are still open count as not released."""
SAMPLE = 20
"""Workflows of requests still open that are asked why."""
SIGNAL = "decide"


class Progress(Record):
    """How far a batch is: workflows signalled of all that were found, and requests that are no longer open."""

    signalled: int = 0
    failed: int = 0
    workflows: int = 0
    requests: int = 0
    released: int = 0


class Released(Progress):
    """What a batch did."""

    job: str
    kept: tuple[Waiting, ...] = ()
    """Requests that are still open."""
    reasons: tuple[str, ...] = ()
    """Why, as far as some of their workflows say; each reason once."""


Report = Callable[[Progress], Awaitable[None]]


async def answer_all(
    client: Client, decision: BatchDecision, project: str | None, report: Report, *, wait: bool = False
) -> Released:
    """Send one answer to every open request of a kind, and see how many are released.

    Args:
        project: Only requests of this project.
        report: Is told of every step forward.
        wait: Wait until every request that was meant is released or refused, instead of until nothing has moved for some
            seconds.

    Raises:
        CommandError: Nothing of the kind waits, or the server refuses the batch.
    """
    kind = decision.all_of
    waiting = await inbox(client, project, kind)
    if not waiting:
        raise CommandError(f"no request of kind {kind.value} waits{f' in project {project}' if project else ''}")
    if all(request.bound for request in waiting):
        raise CommandError(
            f"each of the {len(waiting)} open requests of kind {kind.value} takes a decision that names it and its "
            "digest, in strict mode or by the rules of its project; answer them one by one"
        )
    meant = {request.id for request in waiting}
    job = await _start(client, decision, query(project, kind))
    progress, quiet = Progress(requests=len(meant)), 0.0
    while True:
        state = await _describe(client, job)
        still = [request for request in await inbox(client, project, kind) if request.id in meant]
        now = _progress(state, len(meant), len(still))
        running = state.state == BatchOperationState.BATCH_OPERATION_STATE_RUNNING
        if running or now != progress:
            quiet = 0.0
        if now != progress:
            await report(now)
        progress = now
        if not running and (not still or quiet >= QUIET_SECONDS):
            asked, reasons = await _refusals(client, still, state.start_time.ToDatetime(UTC))
            if not wait or asked == len(reasons):
                break
            quiet = 0.0
        await pause(POLL_SECONDS)
        quiet += POLL_SECONDS
    return Released(**progress.model_dump(), job=job, kept=tuple(still), reasons=tuple(dict.fromkeys(reasons)))


def _progress(state: DescribeBatchOperationResponse, requests: int, still: int) -> Progress:
    return Progress(
        signalled=state.complete_operation_count,
        failed=state.failure_operation_count,
        workflows=state.total_operation_count,
        requests=requests,
        released=requests - still,
    )


async def _start(client: Client, decision: BatchDecision, visibility_query: str) -> str:
    job = str(uuid4())
    signal = BatchOperationSignal(
        signal=SIGNAL,
        input=Payloads(payloads=await client.data_converter.encode([decision])),
        identity=client.identity,
    )
    try:
        await client.workflow_service.start_batch_operation(
            StartBatchOperationRequest(
                namespace=client.namespace,
                visibility_query=visibility_query,
                job_id=job,
                reason=f"{decision.decision.value} all {decision.all_of.value} by {decision.by}",
                signal_operation=signal,
            )
        )
    except RPCError as error:
        if error.status is RPCStatusCode.RESOURCE_EXHAUSTED:
            raise CommandError(
                f"the server runs another batch already ({error.message}); try again in a moment"
            ) from None
        raise
    return job


async def _describe(client: Client, job: str) -> DescribeBatchOperationResponse:
    request = DescribeBatchOperationRequest(namespace=client.namespace, job_id=job)
    while True:
        try:
            return await client.workflow_service.describe_batch_operation(request)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        await pause(POLL_SECONDS)  # the job is started, and not yet listed


async def _refusals(client: Client, still: Sequence[Waiting], since: datetime) -> tuple[int, list[str]]:
    """How many workflows of requests that are still open were asked, and why those that refused did."""
    workflows = list(dict.fromkeys(request.workflow_id for request in still))[:SAMPLE]
    found = await asyncio.gather(*(_refusal(client, workflow, since) for workflow in workflows))
    return len(workflows), [reason for reason in found if reason is not None]


async def _refusal(client: Client, workflow: str, since: datetime) -> str | None:
    try:
        view = await operations.ask(client, workflow, "approvals", ApprovalsView)
    except CommandError:
        return None  # no worker answers, so nothing was refused yet
    mine = [item for item in view.refused if item.message == SIGNAL and item.at >= since]
    return mine[-1].reason if mine else None
