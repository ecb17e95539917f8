"""`Sprint`: a DAG of tasks side by side, integrated one by one on the sprint's branch, then looked at as a whole."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RawValue, VersioningBehavior
from temporalio.exceptions import ActivityError, ChildWorkflowError, WorkflowAlreadyStartedError, is_cancelled_exception

from activities.contracts import (
    Integrate,
    Integration,
    OpenBudget,
    OpenWorkspace,
    RecordActivities,
    WorkspaceActivities,
)
from agents.assignments import PlannedTask, Report, Work
from agents.runs import AgentRun
from ledger.events import SprintFinished
from ledger.vocabulary import (
    TASK_SUCCEEDED,
    ArtifactRef,
    OutcomeKind,
    Phase,
    Role,
    Seat,
    TaskState,
    sprint_branch,
    sprint_scope,
    task_workflow_id,
)
from workflows import briefs, council, messages, options, team
from workflows.agent_task import AgentTask
from workflows.contracts import FeedbackNote, SprintReport, SprintSpec, TaskReport, TaskSpec, TaskView
from workflows.crew import Crew, cause_of
from workflows.lifecycle import Lifecycle, Stopped, together
from workflows.review import Review
from workflows.schedule import Schedule

SEND_BACKS = 2
"""How often a change comes back because the branch that takes it has moved on."""


@workflow.defn(name="Sprint", versioning_behavior=VersioningBehavior.PINNED)
class Sprint(Lifecycle):
    """One sprint of a project."""

    spec: SprintSpec

    def __init__(self) -> None:
        super().__init__()
        self.phase = Phase.WORKING
        self.crew = Crew(self)
        self.merging = asyncio.Lock()
        self.head = ""
        self.states: dict[str, TaskState] = {}
        self.reports: dict[str, TaskReport] = {}
        self.documents: tuple[ArtifactRef, ...] = ()

    @workflow.run
    @messages.one_raw_argument
    async def run(self, *values: RawValue) -> SprintReport:
        """`SprintSpec -> SprintReport`."""
        spec = self._begin(values)
        try:
            passed, summary = await self.supervise(self._work())
            phase = Phase.DONE
        except Stopped:
            phase, passed, summary = Phase.CANCELLED, False, "cancelled"
        except ActivityError as error:
            phase, passed, summary = Phase.FAILED, False, cause_of(error)
        self._end_undone()
        event = SprintFinished(
            sprint=spec.sprint,
            passed=passed,
            summary=summary,
            commit=self.head,
            tasks={name: state.value for name, state in self.states.items()},
        )
        self.note(event, summary)
        await self.finish(phase, summary)
        if phase is Phase.CANCELLED:
            raise asyncio.CancelledError("the sprint was cancelled")
        return self._report(passed, summary)

    def _begin(self, values: tuple[RawValue, ...]) -> SprintSpec:
        spec = self.spec = messages.parse_start(values, SprintSpec)
        if briefs.address_of(self.workflow_id) != briefs.Address(project=spec.project, sprint=spec.sprint):
            raise messages.InvalidBriefError(
                f"SprintSpec: the workflow id must be 'project/{spec.project}/sprint/{spec.sprint}'"
            )
        self.sprint_number = spec.sprint
        self.mode, self.autonomy, self.paused = spec.mode, spec.autonomy, spec.paused
        self.budget_usd = spec.budget_usd
        self.approval_ttl = timedelta(minutes=spec.approval_timeout_minutes)
        self.head = spec.base_commit
        self.states = {task.id: TaskState.WAITING for task in spec.tasks}
        self.open(spec.project, sprint_scope(spec.project, spec.sprint))
        self.enter(Phase.WORKING, spec.sprint_goal)
        return spec

    # What is shown.

    def tasks(self) -> tuple[TaskView, ...]:
        return tuple(self._view(task) for task in self.spec.tasks) if self.project else ()

    def _view(self, task: PlannedTask) -> TaskView:
        report = self.reports.get(task.id)
        started = self.states[task.id] not in (TaskState.WAITING, TaskState.SKIPPED)
        working = self.states[task.id] is TaskState.RUNNING
        place = self.spec.tasks.index(task)
        return TaskView(
            id=task.id,
            title=task.title,
            kind=task.kind,
            state=self.states[task.id],
            # The task's own workflow knows better, once agents change.
            phase=Phase.WORKING if working else None,
            agent=report.agent if report else team.agent_id(self.project, task.role, place) if working else None,
            depends_on=task.depends_on,
            detail=report.summary if report else "",
            attempts=report.attempts if report else 0,
            repairs=report.repairs if report else 0,
            workflow_id=task_workflow_id(self.project, self.spec.sprint, task.id) if started else None,
        )

    async def take_feedback(self, note: FeedbackNote) -> str | None:
        if note.task is not None and note.task not in self.children:
            return f"task {note.task!r} is not at work in this sprint"
        if note.task is not None:
            await self.children[note.task].signal("feedback", note)
            return None
        told = self.crew.tell(note)
        await self.tell_children("feedback", note)
        return None if told or self.children else "nobody is at work"

    # The work.

    async def _work(self) -> tuple[bool, str]:
        branch = sprint_branch(self.project, self.spec.sprint)
        opening = OpenWorkspace(project=self.project, branch=branch, base=self.spec.base_commit)
        scope = OpenBudget(scope=self.subject, limit_usd=None)
        await together(
            self.call(WorkspaceActivities.open_workspace, opening, options.TOOL, f"open {branch}"),
            self.call(RecordActivities.open_budget, scope, options.RECORD, f"budget scope {self.subject}"),
        )
        await self._run_tasks()
        passed, summary = await self._review()
        self.enter(Phase.RETROSPECTIVE, summary)
        return passed, summary

    async def _run_tasks(self) -> None:
        schedule = Schedule(self.spec.tasks, self.spec.max_parallel, self.spec.earlier)
        running: dict[asyncio.Task[TaskReport], str] = {}
        try:
            while not schedule.done:
                if not self.paused:
                    for task in schedule.start():
                        self.states[task.id] = TaskState.RUNNING
                        running[asyncio.create_task(self._run_task(task))] = task.id
                self.refresh()
                if not running:
                    await self.clearance()
                    continue
                done, _ = await workflow.wait(list(running), return_when=asyncio.FIRST_COMPLETED)
                for finished in done:
                    self._settle_task(schedule, running.pop(finished), finished.result())
        finally:
            # Whatever ends this loop ends its tasks too, and waits until they have cleaned up.
            for task in running:
                task.cancel()
            if running:
                await workflow.wait(list(running))

    def _settle_task(self, schedule: Schedule, name: str, report: TaskReport) -> None:
        self.states[name] = report.state
        self.reports[name] = report
        for skipped in schedule.finish(name, succeeded=report.state in TASK_SUCCEEDED):
            self.states[skipped.id] = TaskState.SKIPPED
            self.reports[skipped.id] = _unworked(skipped, self.spec.sprint, TaskState.SKIPPED, "a dependency failed")
        self.remark(f"{name}: {report.state.value} {report.summary}")
        self.refresh()

    async def _run_task(self, task: PlannedTask) -> TaskReport:
        """One task through its own workflow and onto the sprint's branch, sent back where it no longer fits."""
        spec = self._task_spec(task)
        earlier: list[TaskReport] = []
        while True:
            report = await self._child(spec)
            self.tally.add(report.model_calls, report.cost_usd)
            earlier.append(report)
            if report.state is not TaskState.ACCEPTED or not self.spec.merge:
                return _summed(earlier)
            async with self.merging:
                merged = await self._integrate(task, report, spec.generation)
            if merged.merged:
                update = {"state": TaskState.MERGED, "merge_commit": merged.commit}
                return _summed([*earlier[:-1], report.model_copy(update=update)])
            if spec.generation > SEND_BACKS:
                reasons = "; ".join(item.text for item in merged.feedback)
                text = f"could not be integrated after {spec.generation} attempts: {reasons}"
                update = {"state": TaskState.FAILED, "summary": messages.bounded(text)}
                return _summed([*earlier[:-1], report.model_copy(update=update)])
            spec = spec.model_copy(
                update={
                    "generation": spec.generation + 1,
                    "feedback": merged.feedback,
                    "base_commit": self.head,
                    "paused": self.paused,
                    "autonomy": self.autonomy,
                }
            )

    async def _child(self, spec: TaskSpec) -> TaskReport:
        task = spec.task
        try:
            self.check()
            child = await workflow.start_child_workflow(
                AgentTask.run,
                args=[spec],
                id=task_workflow_id(self.project, self.spec.sprint, task.id),
                static_summary=f"{task.kind.value} {task.id}: {task.title}"[:120],
                **options.CHILD,
            )
            self.children[task.id] = child
            report = await child
        except (ChildWorkflowError, WorkflowAlreadyStartedError) as error:
            self.check()
            if is_cancelled_exception(error):
                return _unworked(task, self.spec.sprint, TaskState.CANCELLED, "cancelled")
            return _unworked(task, self.spec.sprint, TaskState.FAILED, cause_of(error))
        finally:
            self.children.pop(task.id, None)
        self.check()
        return report

    def _task_spec(self, task: PlannedTask) -> TaskSpec:
        spec = self.spec
        return TaskSpec(
            project=spec.project,
            task=task,
            goal=spec.goal,
            sprint=spec.sprint,
            base_commit=self._base_for(task),
            baseline=spec.baseline,
            baseline_commit=spec.baseline_commit,
            documents=(*spec.documents, *self._documents_for(task)),
            feedback=spec.feedback,
            models=spec.models,
            mode=spec.mode,
            autonomy=self.autonomy,
            budget_usd=self.budget_usd,
            place=spec.tasks.index(task),
            max_steps=spec.max_steps,
            approval_timeout_minutes=spec.approval_timeout_minutes,
            paused=self.paused,
        )

    def _base_for(self, task: PlannedTask) -> str:
        """Where a task begins: the sprint's head, or in a dry run what the last of its dependencies left."""
        if self.spec.merge:
            return self.head
        commits = [report.commit for name in task.depends_on if (report := self.reports.get(name)) and report.commit]
        return commits[-1] if commits else self.head

    def _documents_for(self, task: PlannedTask) -> tuple[ArtifactRef, ...]:
        """What the task's dependencies produced, each named after its task."""
        found: list[ArtifactRef] = []
        for name in task.depends_on:
            report = self.reports.get(name)
            documents = report.documents if report else self.spec.earlier.get(name, ())
            found += [ref.model_copy(update={"name": f"{name}/{ref.name}"}) for ref in documents]
        return tuple(found)

    async def _integrate(self, task: PlannedTask, report: TaskReport, generation: int) -> Integration:
        assert report.commit is not None
        request = Integrate(
            project=self.project,
            sprint=self.spec.sprint,
            task=task.id,
            source=report.commit,
            target=sprint_branch(self.project, self.spec.sprint),
            base_commit=self.spec.baseline_commit,
            baseline=self.spec.baseline,
            title=task.title or task.id,
            key=self.recorder.key(f"integrate-{task.id}-{generation}"),
        )
        result = await self.call(WorkspaceActivities.integrate, request, options.TOOL, f"merge {task.id}")
        if result.merged and result.commit is not None:
            self.head = result.commit
        self.remark(f"{task.id}: {'merged' if result.merged else 'not merged, sent back'}")
        return result

    # Looking at the whole.

    async def _review(self) -> tuple[bool, str]:
        merged = [name for name, state in self.states.items() if state is TaskState.MERGED]
        succeeded = sum(state in TASK_SUCCEEDED for state in self.states.values())
        counts = f"{succeeded} of {len(self.states)} tasks succeeded, {len(merged)} merged"
        if not merged:
            return succeeded > 0, counts
        self.enter(Phase.REVIEW, counts)
        fault = await self._qa() or await self._judge()
        return fault is None, counts if fault is None else f"{counts}; {fault}"

    async def _qa(self) -> str | None:
        """QA looks at the branch from the outside; returns what keeps the sprint from passing."""
        run = self._review_run(Work.QA, Role.QA, team.agent_id(self.project, Role.QA, self.spec.sprint))
        outcome = await self.crew.engage(run, f"QA of sprint {self.spec.sprint}")
        if outcome.kind is not OutcomeKind.FINISHED:
            return f"QA could not finish: {outcome.summary}"
        try:
            report = Report.model_validate(outcome.result)
        except ValidationError as error:
            return f"QA gave no valid report: {messages.faults(error)}"
        if outcome.artifact is not None:
            self.documents = (outcome.artifact.model_copy(update={"name": f"qa-s{self.spec.sprint}"}),)
        return None if report.passed else f"QA: {report.summary}"

    async def _judge(self) -> str | None:
        """The integration seat judges the sprint as a whole; each change has had its council."""
        run = self._review_run(Work.JUDGE, Role.JUDGE, "")
        opinions = await Review(self, self.crew).opinions(run, [Seat.INTEGRATION], "1")
        if council.accepted(opinions, quorum=1):
            return None
        return "; ".join(f"{item.source}: {item.text}" for item in council.objections(opinions))

    def _review_run(self, work: Work, role: Role, agent: str) -> AgentRun:
        spec = self.spec
        produced = [
            ref.model_copy(update={"name": f"{name}/{ref.name}"})
            for name, report in self.reports.items()
            if report.state in TASK_SUCCEEDED
            for ref in report.documents
        ]
        return AgentRun(
            project=spec.project,
            sprint=spec.sprint,
            task="sprint",
            lineage=f"{role.value}-1",
            role=role,
            agent=agent,
            work=work,
            goal=spec.goal,
            title=f"Sprint {spec.sprint}: {spec.sprint_goal}",
            instructions="Look at the sprint as a whole: every task has passed its own gates and judges already.",
            chain=team.chain_of(spec.models, role),
            branch=sprint_branch(spec.project, spec.sprint),
            base_commit=spec.base_commit,
            baseline=spec.baseline,
            documents=(*spec.documents, *produced, *self.documents),
            max_steps=spec.max_steps,
            budget_scope=self.subject,
        )

    # Ending it.

    def _end_undone(self) -> None:
        for task in self.spec.tasks:
            if task.id not in self.reports:
                self.states[task.id] = TaskState.CANCELLED
                self.reports[task.id] = _unworked(task, self.spec.sprint, TaskState.CANCELLED, "the sprint ended")

    def _report(self, passed: bool, summary: str) -> SprintReport:
        reports = tuple(self.reports[task.id] for task in self.spec.tasks)
        return SprintReport(
            sprint=self.spec.sprint,
            tasks=reports,
            commit=self.head,
            passed=passed,
            summary=summary,
            documents=self.documents,
            approvals=self.book.answered + sum(report.approvals for report in reports),
            cost_usd=self.tally.cost_usd,
            model_calls=self.tally.model_calls,
        )


def _unworked(task: PlannedTask, sprint: int, state: TaskState, summary: str) -> TaskReport:
    return TaskReport(
        task=task.id,
        sprint=sprint,
        kind=task.kind,
        title=task.title,
        state=state,
        summary=summary,
        agent="",
        attempts=0,
    )


def _summed(reports: list[TaskReport]) -> TaskReport:
    """The last report with what all generations of the task took."""
    last = reports[-1]
    return last.model_copy(
        update={
            "attempts": sum(report.attempts for report in reports),
            # Being sent back is a repair as well.
            "repairs": sum(report.repairs for report in reports) + len(reports) - 1,
            "approvals": sum(report.approvals for report in reports),
            "model_calls": sum(report.model_calls for report in reports),
            "cost_usd": sum((report.cost_usd for report in reports[1:]), start=reports[0].cost_usd),
        }
    )
