"""Answering one request: find it, say what was decided, see what becomes of it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError

from agents.finishing import pause
from ledger.vocabulary import Record, project_workflow_id, sprint_workflow_id, task_workflow_id
from workers import operations
from workers.console import CommandError
from workers.inbox import find, nothing_called, project_of, quoted
from workflows.answering import Waiting
from workflows.approval_models import ApprovalView, Decision, DecisionEffect
from workflows.views import ApprovalsView
from workflows.visibility import PROJECT

if TYPE_CHECKING:
    from ledger.signatures import SigningKey

ANSWER_WITHIN = timedelta(seconds=10)
"""How long a workflow may take to say what became of a decision, before the decision is left to it as a signal."""
POLL_SECONDS = 0.4
RUNS_SEARCHED = 50
"""Runs of one workflow id in which a request is looked for: tasks that were sent back and long projects have several."""
REQUEST: Final = re.compile(
    r"(?P<project>[a-z0-9-]+)(\.\d+)?(\.s(?P<sprint>\d+)(\.(?P<task>[a-z0-9-]+)(\.\w+)*)?)?\.[a-z_]+-\d+"
)
"""`<project>[.s<sprint>[.<task>]]<.chapter>.<kind>-<n>`: a request's id says which workflow asked."""


class Decided(Record):
    """What became of a decision."""

    effect: str
    request: ApprovalView | None = None
    """As it stands now; None where nobody answers at the moment."""


async def open_request(client: Client, name: str, *, wait: bool = False) -> Waiting:
    """The open request with that id, or the only open one of a project.

    Args:
        wait: Wait until there is one, as long as the project runs.

    Raises:
        CommandError: None or several match, or the request is decided already.
    """
    while (request := await find(client, name) or await _unlisted(client, name)) is None:
        if not wait:
            raise await nothing_called(client, name)
        if not await _at_work(client, project_of(name)):
            raise await operations.unknown(client, project_of(name), "it is not running and asks nothing")
        await pause(POLL_SECONDS)
    return request


async def _unlisted(client: Client, name: str) -> Waiting | None:
    """The request as its workflow knows it: listings are a moment late."""
    workflow = workflow_of(name)
    try:
        view = await view_of(client, workflow, name) if workflow is not None else None
    except CommandError:
        return None
    if view is not None and view.state != "open":
        raise CommandError(f"{name} is {view.state} already; see `syndic show {name}`")
    return Waiting.of(view) if view is not None else None


async def _at_work(client: Client, project: str) -> bool:
    """Whether something of the project runs; a task may run alone."""
    try:
        status = (await client.get_workflow_handle(project_workflow_id(project)).describe()).status
    except RPCError:
        status = None
    if status is WorkflowExecutionStatus.RUNNING:
        return True
    running = f'{PROJECT.name}="{quoted(project)}" AND ExecutionStatus="Running"'
    return (await client.count_workflows(running)).count > 0


async def look_up(client: Client, name: str) -> ApprovalView:
    """A request in full, open or decided; also of a run of its workflow that has ended.

    Raises:
        CommandError: There is none, or its workflow is no longer kept.
    """
    request = await find(client, name)
    if request is not None and (view := await view_of(client, request.workflow_id, request.id)) is not None:
        return view
    workflow = workflow_of(name)
    if workflow is not None:
        async for run in client.list_workflows(f'WorkflowId="{workflow}"', limit=RUNS_SEARCHED):
            if (view := await view_of(client, run.id, name, run.run_id)) is not None:
                return view
    raise CommandError(
        f"no workflow knows a request {name!r} (syndic inbox lists what is open); what became of older ones: "
        f"syndic ledger show {project_of(name) if workflow else 'PROJECT'} --kind decision_made"
    )


async def view_of(client: Client, workflow: str, name: str, run: str | None = None) -> ApprovalView | None:
    """A request as its workflow shows it; None where it knows none of that id.

    Raises:
        CommandError: No worker answers.
    """
    view = await operations.ask(client, workflow, "approvals", ApprovalsView, run=run)
    return next((request for request in (*view.open, *view.decided) if request.id == name), None)


def workflow_of(name: str) -> str | None:
    """The workflow that asked a request of that id; None where it is the id of none.

    >>> workflow_of("shop.s2.repair.g3.escalation-1")
    'project/shop/sprint/2/task/repair'
    """
    found = REQUEST.fullmatch(name)
    if found is None:
        return None
    project, sprint, task = found["project"], found["sprint"], found["task"]
    if sprint is None:
        return project_workflow_id(project)
    return task_workflow_id(project, int(sprint), task) if task else sprint_workflow_id(project, int(sprint))


def signed(decision: Decision, key: SigningKey, now: datetime) -> Decision:
    """The decision with a signature over everything of it that acts."""
    from ledger.signatures import Claims

    claims = Claims(
        project=project_of(decision.approval),
        time=now,
        **decision.model_dump(exclude={"signature"}),
    )
    return decision.model_copy(update={"signature": key.sign(claims)})


async def decide(client: Client, request: Waiting, decision: Decision, *, wait: bool = False) -> Decided:
    """Hand a decision in and say what became of it.

    It goes as the update `decide_now`, which answers with the effect. Where no worker answers it is left as the signal
    `decide`, which the workflow keeps until one does; both carry the same id, so that it counts once.

    Args:
        wait: Wait until the request is settled and what it held up was scheduled, however long that takes.

    Raises:
        CommandError: It was refused, with the recorded reason, or nobody answers for now.
    """
    effect = await _hand_in(client, request, decision)
    if effect is None:
        await client.get_workflow_handle(request.workflow_id).signal("decide", decision)
        if not wait:
            raise CommandError(
                f"the decision was sent, and {request.workflow_id} has not acted on it yet; is a worker running? "
                f"See `syndic show {request.id}`"
            )
    while effect is None:
        effect = await _hand_in(client, request, decision)
    return Decided(effect=effect, request=await (_settled if wait else _glance)(client, request))


async def _hand_in(client: Client, request: Waiting, decision: Decision) -> str | None:
    """The effect; None where nobody has answered in time."""
    assert decision.id is not None
    handle = client.get_workflow_handle(request.workflow_id)
    try:
        answer = await handle.execute_update(
            "decide_now", decision, id=decision.id, result_type=DecisionEffect, rpc_timeout=ANSWER_WITHIN
        )
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        await pause(0)  # where a person's Ctrl-C ends it
        return None
    except WorkflowUpdateFailedError as error:
        raise CommandError(f"the decision was not taken: {operations.root_cause(error)}") from None
    except RPCError as error:
        raise await operations.explain(client, project_of(request.id), error) from None
    if answer.refusal is not None:
        raise CommandError(f"the decision was refused: {answer.refusal}")
    return answer.effect or ""


async def _glance(client: Client, request: Waiting) -> ApprovalView | None:
    """The request after the decision; a workflow that has ended meanwhile need not answer."""
    try:
        return await view_of(client, request.workflow_id, request.id)
    except CommandError:
        return None


async def _settled(client: Client, request: Waiting) -> ApprovalView | None:
    """The request once it is decided and its consequence was scheduled, or its workflow has ended."""
    handle = client.get_workflow_handle(request.workflow_id)
    while True:
        view = await _glance(client, request)
        if view is not None and view.state != "open" and (view.consumed or view.state != "approved"):
            return view
        if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
            return view
        await pause(POLL_SECONDS)
