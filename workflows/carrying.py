"""What a project takes along when it continues as new between two sprints, and how it goes on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activities.contracts import TargetReport
from agents.assignments import Plan
from workflows.planning import Ground
from workflows.progress import Progress
from workflows.specs import Carried

if TYPE_CHECKING:
    from workflows.project import Project


def pack(project: Project) -> Carried:
    """The state of a project whose sprints have all ended."""
    return Carried(
        commit=project.ground.commit,
        base=project.ground.base,
        baseline=project.ground.target.baseline,
        target=project.ground.target.model_dump(mode="json"),
        models=project.ground.models,
        head=project.milestones.head,
        documents=project.planning.documents,
        plan=project.plan.model_dump(mode="json"),
        sprint=project.sprint_number or 0,
        tasks=tuple(project.progress.reports),
        merged=tuple(project.progress.merged),
        held=tuple(project.milestones.held),
        approvals=project.approvals_in_all,
        repairs=project.plan_repairs,
        refused=tuple(project.refused),
        paused=project.paused,
        autonomy=project.autonomy,
        mode=project.mode,
        started_at=project.started(project.spec),
        warnings=tuple(project.warnings),
        model_calls=project.tally.model_calls,
        cost_usd=project.tally.cost_usd,
        tokens=project.tally.tokens,
        budget_usd=project.budget_usd,
        budget_tokens=project.budget_tokens,
        feedback=project.said,
        kept=project.steering.kept,
        agents=project.steering.agents,
        team=project.team,
        limits=project.ground.limits,
    )


def unpack(project: Project, carried: Carried) -> None:
    """Go on where the run before stopped; nothing is opened, surveyed or planned again."""
    target = TargetReport.model_validate(carried.target)
    project.progress = Progress(carried.tasks, carried.merged)
    project.stand_on(
        Ground(commit=carried.commit, base=carried.base, target=target, models=carried.models, limits=carried.limits)
    )
    project.opened = True
    project.planning.documents = carried.documents
    project.plan = Plan.model_validate(carried.plan)
    project.sprint_number = carried.sprint
    project.milestones.head, project.milestones.held = carried.head or carried.commit, list(carried.held)
    project.warnings, project.said = list(carried.warnings), carried.feedback
    project.approvals, project.repairs = carried.approvals, carried.repairs
    project.refused = [*carried.refused, *project.refused]
    project.paused, project.autonomy = carried.paused, carried.autonomy
    project.mode = carried.mode or project.mode
    project.budget_usd, project.budget_tokens = carried.budget_usd, carried.budget_tokens
    project.team = carried.team
    project.steering.kept, project.steering.agents = dict(carried.kept), dict(carried.agents)
    project.tally.add(carried.model_calls, carried.cost_usd, carried.tokens)
