"""The workflow that opens the project of `syndic-task` and prepares its target."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.contracts import OpenProject as OpenProjectRequest
    from activities.contracts import PrepareTarget, ProjectOpened, TargetReport, WorkspaceActivities
    from workflows import options
    from workflows.calls import perform


@workflow.defn
class OpenTarget:
    """What a project does once before its tasks."""

    @workflow.run
    async def run(self, opening: OpenProjectRequest, target: PrepareTarget) -> tuple[ProjectOpened, TargetReport]:
        opened = await perform(WorkspaceActivities.open_project, opening, options.TOOL, "open")
        prepare = target.model_copy(update={"commit": opened.commit})
        return opened, await perform(WorkspaceActivities.prepare_target, prepare, options.TOOL, "prepare")
