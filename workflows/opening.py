"""The first two activities of whatever starts with a repository: fetch it, and see how it stands before any change."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from activities.contracts import OpenProject, PrepareTarget, ProjectOpened, TargetReport, WorkspaceActivities
from activities.team_contracts import ReadProfiles, TeamActivities
from agents.profiles import Profile, TeamPlan, clashes
from ledger.chain import digest
from workflows import briefs, options
from workflows.crew import cause_of
from workflows.lifecycle import Lifecycle
from workflows.specs import ProjectSpec, TaskSpec

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


async def read_team(life: Lifecycle, spec: ProjectSpec, commit: str) -> TeamPlan:
    """The team as the brief has it, with the profiles that it names out of the repository.

    Raises:
        ApplicationError: one of them is missing or wrong; the workflow fails readably, at once.
    """
    written = tuple(profile for profile in spec.profiles if isinstance(profile, Profile))
    names = tuple(profile for profile in spec.profiles if isinstance(profile, str))
    if names:
        request = ReadProfiles(project=life.project, commit=commit, names=names)
        try:
            read = await life.call(
                TeamActivities.read_profiles, request, options.BRANCH, f"profiles {', '.join(names)}"
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            raise ApplicationError(cause_of(error), type="InvalidBrief", non_retryable=True) from None
        written += read.profiles
    if faults := clashes(written):
        raise ApplicationError("; ".join(faults), type="InvalidBrief", non_retryable=True)
    return TeamPlan(topology=spec.topology, consensus=spec.consensus, prompts=dict(spec.prompts), profiles=written)


def chains(brief: Chains, workers: Chains) -> dict[str, tuple[str, ...]]:
    """The brief's model chains, with those the workers are set to for roles that the brief says nothing about."""
    return dict(brief) if "default" in brief else {**workers, **brief}
