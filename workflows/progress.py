"""What a project has got done: task reports over all sprints, what is merged, what is left. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agents.assignments import Plan, PlannedTask
from ledger.vocabulary import TASK_SUCCEEDED, ArtifactRef, Json, Phase, TaskState
from workflows.messages import bounded
from workflows.reports import SprintReport, TaskReport
from workflows.views import TaskView


class Progress:
    """Task reports in the order of their sprints; a task that was planned again counts with its last report."""

    def __init__(self, reports: Sequence[TaskReport] = (), merged: Sequence[int] = ()) -> None:
        self.reports = list(reports)
        self.merged = list(merged)

    def add(self, report: SprintReport) -> None:
        self.reports += report.tasks

    def merge(self, sprints: Sequence[int]) -> None:
        """These sprints are on the project's branch now."""
        self.merged = sorted({*self.merged, *sprints})

    @property
    def succeeded(self) -> list[str]:
        """Ids of the tasks that need no more work."""
        return [report.task for report in self._latest() if report.state in TASK_SUCCEEDED]

    @property
    def documents(self) -> dict[str, tuple[ArtifactRef, ...]]:
        """What the tasks that succeeded produced, by task."""
        return {report.task: report.documents for report in self._latest() if report.state in TASK_SUCCEEDED}

    @property
    def total(self) -> int:
        return len(self._latest())

    @property
    def merged_tasks(self) -> int:
        """Tasks whose change is on the project's branch."""
        return sum(report.state is TaskState.MERGED for report in self._settled_latest())

    @property
    def repairs(self) -> int:
        return sum(report.repairs for report in self.reports)

    def settled(self) -> tuple[TaskReport, ...]:
        """All reports, in which `merged` means: on the project's branch. A sprint may have stayed outside."""
        return tuple(self._settled(report) for report in self.reports)

    def views(self, plan: Plan) -> tuple[TaskView, ...]:
        """The board: what is done, then what is planned."""
        done = {report.task: _view(report) for report in self.settled()}
        planned = {task.id: _waiting(task) for sprint in plan.sprints for task in sprint.tasks}
        return tuple({**done, **planned}.values())

    def left(self, sprint: SprintReport, planned: Sequence[PlannedTask], rest: Plan) -> list[Json]:
        """What is still to be done, as the project manager reads it: each planned task with what became of it."""
        by_id = {task.id: task for task in planned}
        unfinished = [report for report in sprint.tasks if report.state not in TASK_SUCCEEDED and not report.taken_out]
        rows: list[Json] = [
            {
                "task": by_id[report.task].model_dump(mode="json"),
                "state": report.state.value,
                "summary": report.summary,
            }
            for report in unfinished
        ]
        waiting = [task for later in rest.sprints for task in later.tasks]
        rows += [{"task": task.model_dump(mode="json"), "state": "waiting", "summary": ""} for task in waiting]
        return rows

    def verdict(self, *, merges: bool, plan: str) -> tuple[Phase, str]:
        """How the project ends when its work is over, and in which words."""
        latest = self._settled_latest()
        if not latest:
            return Phase.DONE, bounded(f"nothing to do: {plan}")
        succeeded = [report for report in latest if report.state in TASK_SUCCEEDED]
        changes = [report for report in succeeded if report.state in (TaskState.ACCEPTED, TaskState.MERGED)]
        failed = [f"{report.task}: {report.summary}" for report in latest if report.state not in TASK_SUCCEEDED]
        text = f"{len(succeeded)} of {len(latest)} tasks succeeded, {self.merged_tasks} merged"
        stranded = merges and bool(changes) and not self.merged_tasks
        if stranded:
            failed.append("no sprint passed its review")
        # What people took out is no failure, and neither is a project of which they left nothing.
        nothing = not succeeded and not all(report.taken_out for report in latest)
        state = Phase.FAILED if stranded or nothing else Phase.DONE
        return state, bounded("; ".join([text, *failed]))

    def _latest(self) -> list[TaskReport]:
        return list({report.task: report for report in self.reports}.values())

    def _settled_latest(self) -> list[TaskReport]:
        return [self._settled(report) for report in self._latest()]

    def _settled(self, report: TaskReport) -> TaskReport:
        if report.state is TaskState.MERGED and report.sprint not in self.merged:
            return report.model_copy(update={"state": TaskState.ACCEPTED})
        return report


def _view(report: TaskReport) -> TaskView:
    return TaskView(
        id=report.task,
        title=report.title,
        kind=report.kind,
        state=report.state,
        agent=report.agent or None,
        detail=report.summary,
        attempts=report.attempts,
        repairs=report.repairs,
    )


def _waiting(task: PlannedTask) -> TaskView:
    return TaskView(id=task.id, title=task.title, kind=task.kind, state=TaskState.WAITING, depends_on=task.depends_on)
