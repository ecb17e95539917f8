"""What a task shows of itself while it is worked on, and reports at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.vocabulary import Phase, TaskState, task_branch
from workflows.reports import TaskReport
from workflows.views import TaskView

if TYPE_CHECKING:
    from workflows.agent_task import AgentTask

PHASES = {TaskState.FAILED: Phase.FAILED, TaskState.REFUSED: Phase.FAILED, TaskState.CANCELLED: Phase.CANCELLED}
"""In which phase a task ends; in the others it is done."""


def view_of(task: AgentTask) -> TaskView:
    """Its row of the board."""
    planned = task.spec.task
    return TaskView(
        id=planned.id,
        title=planned.title,
        kind=planned.kind,
        state=task.state,
        phase=task.phase,
        agent=task.agent,
        depends_on=planned.depends_on,
        detail=task.detail,
        attempts=task.attempts.number,
        repairs=task.ladder.climbed,
        workflow_id=task.workflow_id,
    )


def report_of(task: AgentTask, state: TaskState, summary: str) -> TaskReport:
    """What its sprint, or whoever started it alone, is told."""
    planned = task.spec.task
    commit = task.result.commit
    return TaskReport(
        task=planned.id,
        sprint=task.spec.sprint,
        kind=planned.kind,
        title=planned.title,
        state=state,
        summary=summary,
        agent=task.agent,
        branch=task_branch(task.project, task.spec.sprint, planned.id) if commit else None,
        commit=commit,
        attempts=task.attempts.number,
        repairs=task.ladder.climbed,
        documents=task.result.documents,
        approvals=task.book.answered,
        model_calls=task.tally.model_calls,
        cost_usd=task.tally.cost_usd,
        tokens=task.tally.tokens,
        changed_paths=task.result.changed_paths,
        questions=tuple(sorted(task.crew.questions)),
    )
