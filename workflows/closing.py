"""The end of a project, whatever ended it: deliver what is merged, complete the record, report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from temporalio.exceptions import ActivityError

from activities.contracts import CloseProject, Deliver, Delivered, ProjectClosed, TaskDiff, WorkspaceActivities
from ledger.vocabulary import Mode, Phase, Standing, project_branch
from workflows import options
from workflows.calls import perform
from workflows.crew import cause_of
from workflows.reports import ProjectReport, TaskReport

if TYPE_CHECKING:
    from workflows.project import Project


async def close(project: Project, state: Phase, summary: str) -> ProjectReport:
    """Runs after failures and cancellations too, when `project.call` begins nothing any more."""
    delivered = await _deliver(project) if project.progress.merged else None
    if project.opened and state is Phase.CANCELLED:
        await project.stand(Standing.CANCELLED, summary, "cancellation")
    await project.finish(state, summary)
    diffs = unmerged(project.progress.settled()) if project.mode is Mode.DRY_RUN else ()
    request = CloseProject(project=project.project, state=state.value, summary=summary, diffs=diffs)
    closed = await perform(WorkspaceActivities.close_project, request, options.CLOSING, f"close: {summary}")
    await project.come_to_rest()
    return _report(project, state, summary, delivered, closed)


async def _deliver(project: Project) -> Delivered | None:
    branch = project_branch(project.project)
    request = Deliver(project=project.project, repository=project.spec.repository, branch=branch)
    try:
        return await perform(WorkspaceActivities.deliver, request, options.TOOL, f"deliver {branch}")
    except ActivityError as error:
        project.warnings.append(f"{branch} stayed in the project's store: {cause_of(error)}")
        return None


def _report(
    project: Project, state: Phase, summary: str, delivered: Delivered | None, closed: ProjectClosed
) -> ProjectReport:
    progress = project.progress
    return ProjectReport(
        project_id=project.project,
        state=state,
        summary=summary,
        tasks_merged=progress.merged_tasks,
        tasks_total=len(project.tasks()),
        tasks=progress.settled(),
        approvals=project.approvals_in_all,
        repairs=project.plan_repairs + progress.repairs,
        model_calls=closed.model_calls,
        in_doubt=closed.in_doubt,
        cost_usd=closed.cost_usd,
        ledger_entries=closed.ledger_entries,
        ledger_verified=closed.ledger_verified,
        branch=delivered.branch if delivered else None,
        commit=delivered.commit if delivered else None,
        warnings=(*project.warnings, *_where(closed)),
        report=closed.report,
        report_file=closed.report_file,
    )


def _where(closed: ProjectClosed) -> tuple[str, ...]:
    return (f"nothing was merged; every diff is in {closed.report_file}",) if closed.report_file else ()


def unmerged(reports: Sequence[TaskReport]) -> tuple[TaskDiff, ...]:
    """What tasks would have changed, for the page that a dry run leaves."""
    return tuple(
        TaskDiff(
            task=report.task,
            sprint=report.sprint,
            title=report.title,
            state=report.state,
            summary=report.summary,
            agent=report.agent,
            branch=report.branch,
            commit=report.commit,
            diff=next((ref for ref in report.documents if ref.name == "diff"), None),
        )
        for report in reports
    )
