"""A task that nobody goes on with puts down what it holds: leases, reservations, worktrees, its branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activities.lineage_contracts import GivenUp, GiveUpTask, LineageActivities
from ledger.vocabulary import task_branch
from workflows import options
from workflows.calls import perform

if TYPE_CHECKING:
    from workflows.agent_task import AgentTask


async def give_up(task: AgentTask, reason: str) -> None:
    """Runs after a cancellation, when `task.call` begins nothing any more."""
    spec = task.spec
    if spec.base_commit is None:
        return  # it was stopped before there was anything to hold
    request = GiveUpTask(
        project=spec.project,
        sprint=spec.sprint,
        task=spec.task.id,
        branch=task_branch(spec.project, spec.sprint, spec.task.id),
        base_commit=spec.base_commit,
        by="cancellation",
        reason=reason,
    )
    given: GivenUp = await perform(
        LineageActivities.give_up_task, request, options.BRANCH, f"put down what {spec.task.id} held"
    )
    kept = f", its branch lies under {given.kept}" if given.kept else ""
    task.remark(f"{spec.task.id} is given up{kept}")
