"""What a person can do with projects through a Temporal client; the CLI and the demo share it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from ledger.vocabulary import (
    Answer,
    Brief,
    Money,
    Record,
    TaskState,
    dollars,
    parse_workflow_id,
    project_workflow_id,
    sprint_workflow_id,
)
from workers.console import CommandError
from workflows.answering import Waiting, answer_payload
from workflows.descriptions import project_details
from workflows.options import WORKFLOW_QUEUE
from workflows.reports import ProjectReport
from workflows.specs import ProjectSpec
from workflows.views import BoardView, StatusView, TaskView
from workflows.visibility import PHASE, PROJECT, summary

if TYPE_CHECKING:
    from workers.stack import Addresses

PROJECT_TYPE = "Project"
ANSWER_WITHIN = timedelta(seconds=10)
"""How long a workflow may take to answer a query; without a worker the server would wait three times as long."""

V = TypeVar("V", bound=BaseModel)


class ProjectLine(Record):
    """One project of a listing."""

    project: str
    status: str
    phase: str | None
    started_at: datetime | None


def temporal_command(addresses: Addresses, *arguments: str) -> list[str]:
    """The `temporal` command line that does the same as ours.

    Where the person's own profile or environment names Temporal, the `temporal` CLI reads the same and needs no address.
    """
    if addresses.profile is not None:
        return ["temporal", *arguments]
    at = [index for index, word in enumerate(arguments) if word.startswith("-")]
    cut = at[0] if at else len(arguments)
    where = ("--address", addresses.temporal, "--namespace", addresses.namespace)
    return ["temporal", *arguments[:cut], *where, *arguments[cut:]]


def decide_command(addresses: Addresses, request: Waiting, by: str, answer: Answer = Answer.APPROVE) -> list[str]:
    """The exact command line that answers a request; one for more budget grants twice the present limit."""
    payload = answer_payload(request, answer, by)
    signal = ("--workflow-id", request.workflow_id, "--name", "decide", "--input", payload)
    return temporal_command(addresses, "workflow", "signal", *signal)


def project_of_workflow(workflow: str) -> str:
    """The project of a workflow's id; other ids as they are."""
    return parse_workflow_id(workflow).get("project", workflow)


def quoted(command: Sequence[str]) -> str:
    """A command line that can be pasted into a shell."""
    return shlex.join(command)


async def start_project(client: Client, spec: ProjectSpec, project: str) -> None:
    """Start the project's workflow.

    Raises:
        CommandError: A project of that id is running, or has ended with a report.
    """
    try:
        await client.start_workflow(
            PROJECT_TYPE,
            spec,
            id=project_workflow_id(project),
            task_queue=WORKFLOW_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
            search_attributes=TypedSearchAttributes([SearchAttributePair(PROJECT, project)]),
            static_summary=summary(spec.goal),
            static_details=project_details(spec, project),
        )
    except WorkflowAlreadyStartedError:
        running = (await client.get_workflow_handle(project_workflow_id(project)).describe()).status
        state = (
            "is running already" if running is WorkflowExecutionStatus.RUNNING else "has ended, and its record stays"
        )
        raise CommandError(
            f"project {project} {state}; see `syndic status {project}`, or choose another project_id (or none) for a new one"
        ) from None


async def projects(client: Client, limit: int = 200) -> list[ProjectLine]:
    """Projects that the server still knows, newest first."""
    found: list[ProjectLine] = []
    async for run in client.list_workflows(f'WorkflowType="{PROJECT_TYPE}"', limit=limit):
        found.append(
            ProjectLine(
                project=run.id.removeprefix("project/"),
                status=run.status.name.lower() if run.status else "unknown",
                phase=run.typed_search_attributes.get(PHASE),
                started_at=run.start_time,
            )
        )
    return list({line.project: line for line in reversed(found)}.values())[::-1]


async def status(client: Client, project: str, within: timedelta = ANSWER_WITHIN) -> StatusView:
    """How a project stands."""
    return await ask(client, project_workflow_id(project), "status", StatusView, within)


async def board(
    client: Client, project: str, sprint: int | None, within: timedelta = ANSWER_WITHIN
) -> tuple[TaskView, ...]:
    """The tasks of a project; those of the sprint at work as the sprint itself sees them."""
    whole = await ask(client, project_workflow_id(project), "board", BoardView, within)
    tasks = {task.id: task for task in whole.tasks}
    if sprint is not None:
        try:
            own = await ask(client, sprint_workflow_id(project, sprint), "board", BoardView, within)
        except CommandError:
            return tuple(tasks.values())  # the sprint's workflow is not there yet
        tasks |= {task.id: task for task in own.tasks}
    return tuple(tasks.values())


async def troubles(client: Client, project: str, view: StatusView, tasks: Sequence[TaskView]) -> tuple[str, ...]:
    """What is tried again and again at the moment, such as on a full disk, one line each."""
    sprint = () if view.sprint is None else (sprint_workflow_id(project, view.sprint),)
    at_work = (task.workflow_id for task in tasks if task.state is TaskState.RUNNING and task.workflow_id)
    names = (project_workflow_id(project), *sprint, *at_work)
    found = await asyncio.gather(*(_troubles(client, name) for name in dict.fromkeys(names)))
    return tuple(line for lines in found for line in lines)


async def _troubles(client: Client, workflow: str) -> list[str]:
    try:
        pending = (await client.get_workflow_handle(workflow).describe()).raw_description.pending_activities
    except RPCError:
        return []  # not there yet, or gone
    return [
        f"{item.activity_type.name} is tried again (attempt {item.attempt}): {item.last_failure.message}"
        for item in pending
        if item.attempt > 1 and item.last_failure.message
    ]


async def tell(client: Client, project: str, name: str, message: Brief) -> None:
    """Send a signal such as `pause` to a project, which passes it on to what works for it."""
    handle = client.get_workflow_handle(project_workflow_id(project))
    try:
        await handle.signal(name, message)
    except RPCError as error:
        raise await explain(client, project, error) from None


async def cancel(client: Client, project: str) -> None:
    """Ask the project to stop; it cleans up, keeps what is merged and marks the record."""
    try:
        await client.get_workflow_handle(project_workflow_id(project)).cancel()
    except RPCError as error:
        raise await explain(client, project, error) from None


async def outcome(client: Client, project: str) -> ProjectReport | None:
    """The report of a project that has ended; None while it runs.

    Raises:
        CommandError: It failed, was cancelled or terminated without a report.
    """
    handle: WorkflowHandle[object, ProjectReport] = client.get_workflow_handle(
        project_workflow_id(project), result_type=ProjectReport
    )
    try:
        if (await handle.describe()).status in (None, WorkflowExecutionStatus.RUNNING):
            return None
        return await handle.result()
    except RPCError as error:
        raise await explain(client, project, error) from None
    except WorkflowFailureError as error:
        raise CommandError(f"project {project} ended: {root_cause(error)}") from None


async def ask(
    client: Client,
    workflow: str,
    query: str,
    answer: type[V],
    within: timedelta = ANSWER_WITHIN,
    run: str | None = None,
) -> V:
    """What a workflow answers to a query; `run` names one of its runs, otherwise the latest is asked.

    Raises:
        CommandError: There is no such workflow, or no worker answers.
    """
    handle = client.get_workflow_handle(workflow, run_id=run)
    try:
        return await handle.query(query, result_type=answer, rpc_timeout=within)
    except RPCError as error:
        raise await explain(client, project_of_workflow(workflow), error) from None
    except WorkflowQueryFailedError as error:
        # A worker that is out of breath fails a query (TMPRL1101); the next one may be answered.
        raise CommandError(
            f"project {project_of_workflow(workflow)} gave no answer: {error.message}; ask again"
        ) from None


async def explain(client: Client, project: str, error: RPCError) -> CommandError:
    """What a person can do about an error of Temporal's."""
    if error.status == RPCStatusCode.NOT_FOUND:
        return await unknown(client, project, error.message)
    if error.status in (RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
        return CommandError(
            f"no worker answers for project {project}; start one with `syndic worker` ({error.message})"
        )
    return CommandError(f"Temporal answered: {error.message}")


async def unknown(client: Client, project: str, reason: str) -> CommandError:
    """What to tell a person who named a project that is not at work."""
    known = [line.project for line in await projects(client)]
    if project in known:
        return CommandError(f"project {project} has ended ({reason}); see `syndic status {project}`")
    near = get_close_matches(project, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known projects: {', '.join(known[:10]) or 'none yet'}"
    return CommandError(f"there is no project {project!r}; {hint}")


def root_cause(error: BaseException) -> str:
    """The innermost message of a failed workflow or update."""
    while (cause := getattr(error, "cause", None)) is not None:
        error = cause
    return getattr(error, "message", None) or str(error)


def money(amount: Money) -> str:
    """US dollars with as many places as a model call needs."""
    return f"${dollars(amount)}"
