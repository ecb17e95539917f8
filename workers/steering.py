"""Changing what a project works on through a Temporal client: where an edit is decided, and what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError

from agents.finishing import pause
from ledger.vocabulary import ApprovalKind, Phase, Record, TaskState, project_workflow_id, sprint_workflow_id
from workers import operations
from workers.console import CommandError
from workers.operations import ANSWER_WITHIN
from workflows.approval_models import DecisionEffect
from workflows.edits import Edit, Rewind, words

if TYPE_CHECKING:
    from workflows.controls import FeedbackNote


class Steered(Record):
    """What became of an edit or of feedback."""

    project_id: str
    workflow_id: str
    """Which workflow decided it."""
    sent: str
    effect: str


async def edit(client: Client, project: str, change: Edit) -> Steered:
    """Make an edit where it is decided: in the project while its plan is asked about, in the running sprint, in a task.

    Raises:
        CommandError: It was refused, with the recorded reason, or nobody answers.
    """
    return await _hand_in(client, project, await _decider(client, project, change), "edit", change, words(change))


async def tell(client: Client, project: str, note: FeedbackNote) -> Steered:
    """Bring words to a project, a task or an agent.

    Raises:
        CommandError: They were refused, with the recorded reason, or nobody answers.
    """
    view = await operations.status(client, project)
    addressed = note.task is not None or note.agent is not None
    sprint = _running(view.phase, view.paused, view.sprint) if addressed else None
    workflow = project_workflow_id(project) if sprint is None else sprint_workflow_id(project, sprint)
    return await _hand_in(client, project, workflow, "feedback", note, "feedback")


async def _decider(client: Client, project: str, change: Edit) -> str:
    view = await operations.status(client, project)
    sprint = _running(view.phase, view.paused, view.sprint)
    if sprint is None or any(request.kind is ApprovalKind.PLAN for request in view.awaiting):
        return project_workflow_id(project)
    if isinstance(change, Rewind):
        tasks = {task.id: task for task in await operations.board(client, project, sprint)}
        task = tasks.get(change.task)
        if task is not None and task.state is TaskState.RUNNING and task.workflow_id:
            return task.workflow_id
    return sprint_workflow_id(project, sprint)


def _running(phase: Phase, paused: bool, sprint: int | None) -> int | None:
    """The sprint that runs; a paused project does not say its phase, and its sprint answers for itself."""
    return sprint if phase is Phase.SPRINTS or (paused and sprint is not None) else None


async def _hand_in(
    client: Client, project: str, workflow: str, name: str, message: Edit | FeedbackNote, text: str
) -> Steered:
    handle = client.get_workflow_handle(workflow)
    try:
        answer = await handle.execute_update(
            f"{name}_now", message, result_type=DecisionEffect, rpc_timeout=ANSWER_WITHIN
        )
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        await pause(0)  # where a person's Ctrl-C ends it
        raise CommandError(f"{workflow} does not answer; is a worker running?") from None
    except WorkflowUpdateFailedError as error:
        raise CommandError(f"{text}: {operations.root_cause(error)}") from None
    except RPCError as error:
        raise await operations.explain(client, project, error) from None
    if answer.refusal is not None:
        raise CommandError(f"{text} was refused: {answer.refusal}")
    return Steered(project_id=project, workflow_id=workflow, sent=text, effect=answer.effect or "")
