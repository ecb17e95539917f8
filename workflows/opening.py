"""The first two activities of whatever starts with a repository: fetch it, and see how it stands before any change."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from activities.contracts import OpenProject, PrepareTarget, ProjectOpened, TargetReport, WorkspaceActivities
from ledger.chain import digest
from workflows import briefs, options
from workflows.contracts import ProjectSpec, TaskSpec
from workflows.crew import cause_of
from workflows.lifecycle import Lifecycle

Chains = Mapping[str, tuple[str, ...]]


async def open_project(life: Lifecycle, spec: ProjectSpec | TaskSpec, budget: Decimal) -> ProjectOpened:
    """Open the project's store.

    Raises:
        ApplicationError: the repository cannot be worked on; the workflow fails readably, at once.
    """
    assert spec.repository is not None
    request = OpenProject(
        project=life.project,
        goal=spec.goal,
        repository=spec.repository,
        base=spec.base,
        budget_usd=budget,
        budget_tokens=spec.budget_tokens,
        spec_digest=digest(spec.model_dump(mode="json")),
        workflow_id=life.workflow_id,
        mode=spec.mode.value,
        autonomy=spec.autonomy.value,
    )
    try:
        return await life.call(WorkspaceActivities.open_project, request, options.TOOL, f"fetch {spec.repository}")
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        kind = error.cause.type if isinstance(error.cause, ApplicationError) else None
        raise ApplicationError(cause_of(error), type=kind or "InvalidRepository", non_retryable=True) from None


async def prepare_target(life: Lifecycle, spec: ProjectSpec | TaskSpec, commit: str) -> TargetReport:
    """Build the target's environment and run its gates on the base commit."""
    gates = briefs.gate_specs(spec.gates)
    request = PrepareTarget(project=life.project, commit=commit, setup=spec.setup, gates=gates)
    return await life.call(WorkspaceActivities.prepare_target, request, options.TOOL, "environment, gates and baseline")


def chains(brief: Chains, workers: Chains) -> dict[str, tuple[str, ...]]:
    """The brief's model chains, with those the workers are set to for roles that the brief says nothing about."""
    return dict(brief) if "default" in brief else {**workers, **brief}
