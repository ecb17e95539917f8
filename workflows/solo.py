"""What an `AgentTask` needs when a person starts it alone: its own project store, baseline, delivery and closing."""

from __future__ import annotations

from decimal import Decimal

from activities.contracts import CloseProject, Deliver, WorkspaceActivities
from agents.assignments import PlannedTask
from ledger.vocabulary import Mode, Phase, TaskState
from workflows import briefs, options
from workflows.calls import perform
from workflows.closing import unmerged
from workflows.lifecycle import Lifecycle
from workflows.messages import InvalidBriefError, parse_start, unknown_fields
from workflows.opening import chains, open_project, prepare_target
from workflows.reports import TaskReport
from workflows.specs import TaskSpec

SOLO_BUDGET = Decimal(5)
"""USD, where the spec names none."""


def check_task_spec(values: tuple[object, ...], workflow_id: str) -> TaskSpec:
    """The spec of an `AgentTask`.

    Raises:
        InvalidBriefError: it is malformed, disagrees with the workflow id, or lacks what its way of starting needs.
    """
    spec = parse_start(values, TaskSpec)
    # The task itself is an internal contract that ignores what it does not know; a person's typo must not pass so.
    if spec.repository is not None and (unknown := unknown_fields(values[0], "task", PlannedTask)):
        raise InvalidBriefError(f"TaskSpec: task: unknown fields {', '.join(unknown)}")
    address = briefs.address_of(workflow_id)
    if address != briefs.Address(project=spec.project, sprint=spec.sprint, task=spec.task.id):
        wanted = f"project/{spec.project}/sprint/{spec.sprint}/task/{spec.task.id}"
        raise InvalidBriefError(f"TaskSpec: the workflow id must be {wanted!r}, it is {workflow_id!r}")
    try:
        briefs.gate_specs(spec.gates)
        briefs.check_models(spec.models)
        briefs.check_asking(spec.approvals)
    except briefs.BriefError as error:
        raise InvalidBriefError(f"TaskSpec: {error}") from None
    if spec.repository is None and (spec.baseline is None or spec.base_commit is None):
        raise InvalidBriefError("TaskSpec: a task that starts alone needs `repository`")
    if spec.repository is not None and spec.task.depends_on:
        raise InvalidBriefError("TaskSpec: a task that starts alone cannot depend on others")
    return spec


class Solo:
    """Opens and closes the project around one task."""

    def __init__(self, life: Lifecycle, spec: TaskSpec) -> None:
        self._life = life
        self._spec = spec

    async def open(self) -> TaskSpec:
        """The spec with what a sprint would have filled in."""
        spec = self._spec
        budget = spec.budget_usd if spec.budget_usd is not None else SOLO_BUDGET
        opened = await open_project(self._life, spec, budget)
        self._life.budget_usd = budget
        target = await prepare_target(self._life, spec, opened.commit)
        return spec.model_copy(
            update={
                "base_commit": opened.commit,
                "baseline": target.baseline,
                "baseline_commit": opened.commit,
                "models": chains(spec.models, opened.models),
                "limits": opened.limits,
            }
        )

    async def close(self, report: TaskReport) -> None:
        """Deliver the task's branch unless the run is dry, then close; runs after a cancellation too."""
        if report.state is TaskState.ACCEPTED and self._life.mode is not Mode.DRY_RUN and report.branch is not None:
            await self._deliver(report.branch)
        state = {TaskState.CANCELLED: Phase.CANCELLED, TaskState.FAILED: Phase.FAILED, TaskState.REFUSED: Phase.FAILED}
        closing = CloseProject(
            project=self._spec.project,
            state=state.get(report.state, Phase.DONE).value,
            summary=report.summary,
            diffs=unmerged((report,)) if self._life.mode is Mode.DRY_RUN else (),
        )
        await perform(WorkspaceActivities.close_project, closing, options.CLOSING, "close the project")
        await self._life.come_to_rest()

    async def _deliver(self, branch: str) -> None:
        assert self._spec.repository is not None
        request = Deliver(project=self._spec.project, repository=self._spec.repository, branch=branch)
        await perform(WorkspaceActivities.deliver, request, options.TOOL, f"deliver {branch}")
