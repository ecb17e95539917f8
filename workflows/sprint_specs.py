"""A planned sprint as its workflow is given it: the plan's part, and how the project stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.assignments import PlannedSprint
from workflows.specs import SprintSpec

if TYPE_CHECKING:
    from workflows.project import Project


def sprint_spec(project: Project, number: int, sprint: PlannedSprint) -> SprintSpec:
    """The input of the sprint's workflow. What persons said to nobody in particular is told with it, once."""
    spec = project.spec
    return SprintSpec(
        project=project.project,
        sprint=number,
        goal=spec.goal,
        sprint_goal=sprint.goal,
        tasks=sprint.tasks,
        base_commit=project.milestones.head,
        baseline=project.ground.target.baseline,
        baseline_commit=project.ground.commit,
        documents=project.planning.documents,
        earlier=project.progress.documents,
        feedback=project.take_said(),
        models=project.ground.models,
        mode=project.mode,
        merge=project.merges,
        autonomy=project.autonomy,
        max_parallel=spec.max_parallel,
        max_steps=spec.max_steps,
        approval_timeout_minutes=spec.approval_timeout_minutes,
        approvers=spec.approvers,
        approvals=spec.approvals,
        budget_usd=project.budget_usd,
        budget_tokens=project.budget_tokens,
        team=project.team,
        limits=project.ground.limits,
        paused=project.paused,
        scope=spec.scope,
        agents={
            task.id: project.steering.agents[task.id] for task in sprint.tasks if task.id in project.steering.agents
        },
        kept=project.steering.take_kept(tuple(task.id for task in sprint.tasks)),
    )
