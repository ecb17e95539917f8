"""`Project`: discovery -> architecture -> [approval] -> sprints -> [milestone approval] -> closing."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import NoReturn

from temporalio import workflow
from temporalio.common import RawValue, VersioningBehavior
from temporalio.exceptions import ActivityError, ChildWorkflowError, is_cancelled_exception

from activities.contracts import (
    CloseProject,
    Deliver,
    Integrate,
    KeepDocument,
    OpenProject,
    PrepareTarget,
    ProjectClosed,
    RecordActivities,
    TargetReport,
    WorkspaceActivities,
)
from agents.assignments import Feedback, Plan
from ledger.chain import digest
from ledger.vocabulary import (
    TASK_SUCCEEDED,
    Answer,
    ApprovalKind,
    ArtifactRef,
    Autonomy,
    Json,
    Mode,
    Phase,
    Standing,
    TaskState,
    project_branch,
    sprint_workflow_id,
)
from workflows import briefs, messages, options
from workflows.calls import perform
from workflows.contracts import (
    Carried,
    FeedbackNote,
    ProjectReport,
    ProjectSpec,
    SprintReport,
    SprintSpec,
    TaskReport,
    TaskView,
)
from workflows.crew import Crew, cause_of
from workflows.lifecycle import Lifecycle, Stopped
from workflows.planning import Ended, Ground, Planning
from workflows.solo import open_or_fail
from workflows.sprint import Sprint

NO_GATES = (
    "the repository has no gate that could judge a change: accepted changes stay on their branches, nothing is merged"
)


@workflow.defn(name="Project", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Project(Lifecycle):
    """One goal on one repository."""

    spec: ProjectSpec
    ground: Ground
    planning: Planning

    def __init__(self) -> None:
        super().__init__()
        self.crew = Crew(self)
        self.fixed: Plan | None = None
        self.plan = Plan(summary="")
        self.sprint_reports: list[TaskReport] = []
        self.merged: list[int] = []
        self.reviews: tuple[ArtifactRef, ...] = ()
        self.said: tuple[Feedback, ...] = ()
        self.warnings: list[str] = []
        self.approvals_before = 0
        self.repairs_before = 0
        self.head = ""
        self.opened = False

    @workflow.run
    @messages.one_raw_argument
    async def run(self, *values: RawValue) -> ProjectReport:
        """`ProjectSpec -> ProjectReport`."""
        spec = self._begin(values)
        try:
            state, summary = await self.supervise(self._work(), self._deadline(spec))
        except Ended as end:
            state, summary = end.state, end.reason
        except ContinueAsNew as turn:
            await self._continue_as_new(turn.sprint)
        except Stopped as stop:
            cancelled = stop.reason == "cancelled"
            state = Phase.CANCELLED if cancelled else Phase.FAILED
            summary = "cancelled" if cancelled else f"the time limit of {spec.timeout_minutes} minutes is over"
        except (ActivityError, ChildWorkflowError) as error:
            state, summary = Phase.FAILED, cause_of(error)
        report = await self._close(state, summary)
        if state is Phase.CANCELLED:
            raise asyncio.CancelledError("the project was cancelled")
        return report

    def _begin(self, values: tuple[RawValue, ...]) -> ProjectSpec:
        spec = self.spec = messages.parse_start(values, ProjectSpec)
        address = briefs.address_of(self.workflow_id)
        if address is None or address.sprint is not None:
            raise messages.InvalidBriefError(f"the workflow id must be 'project/<project>', it is {self.workflow_id!r}")
        if spec.project_id not in (None, address.project):
            raise messages.InvalidBriefError(
                f"project_id {spec.project_id!r} disagrees with the workflow id {self.workflow_id!r}"
            )
        try:
            briefs.gate_specs(spec.gates)
            briefs.check_models(spec.models)
            self.fixed = briefs.fixed_plan(spec)
        except briefs.BriefError as error:
            raise messages.InvalidBriefError(f"ProjectSpec: {error}") from None
        self.mode, self.autonomy, self.budget_usd = spec.mode, spec.autonomy, spec.budget_usd
        self.approval_ttl = timedelta(minutes=spec.approval_timeout_minutes)
        chapter = f".{spec.carried.sprint}" if spec.carried else ""
        self.open(address.project, address.project, chapter)
        return spec

    def _deadline(self, spec: ProjectSpec) -> datetime:
        started = spec.carried.started_at if spec.carried else None
        return (started or workflow.info().start_time) + timedelta(minutes=spec.timeout_minutes)

    # What is shown.

    def tasks(self) -> tuple[TaskView, ...]:
        done = {report.task: _view(report) for report in self.sprint_reports}
        planned = {
            task.id: TaskView(
                id=task.id, title=task.title, kind=task.kind, state=TaskState.WAITING, depends_on=task.depends_on
            )
            for sprint in self.plan.sprints
            for task in sprint.tasks
        }
        return tuple({**done, **planned}.values())

    async def take_feedback(self, note: FeedbackNote) -> str | None:
        if note.task is not None and not self.children:
            return f"task {note.task!r} is not at work"
        told = self.crew.tell(note) if note.task is None else False
        await self.tell_children("feedback", note)
        if not told and not self.children:
            # Nobody is at work, during an approval for instance: the next plan takes it into account.
            self.said = (*self.said, Feedback(source=f"person:{note.by}", text=note.text))
        return None

    # The work.

    async def _work(self) -> tuple[Phase, str]:
        if self.spec.carried is not None:
            self._resume_from(self.spec.carried)
        else:
            await self._open()
            await self._make_plan()
        return await self._sprints()

    async def _open(self) -> None:
        spec = self.spec
        self.enter(Phase.DISCOVERY, spec.goal)
        request = OpenProject(
            project=self.project,
            goal=spec.goal,
            repository=spec.repository,
            base=spec.base,
            budget_usd=spec.budget_usd,
            spec_digest=digest(spec.model_dump(mode="json")),
            workflow_id=self.workflow_id,
            mode=spec.mode.value,
            autonomy=spec.autonomy.value,
        )
        opened = await open_or_fail(self, request)
        self.opened = True
        self.warnings += opened.warnings
        self.head = opened.commit
        gates = briefs.gate_specs(spec.gates)
        prepare = PrepareTarget(project=self.project, commit=opened.commit, setup=spec.setup, gates=gates)
        target = await self.call(
            WorkspaceActivities.prepare_target, prepare, options.TOOL, "environment, gates and baseline"
        )
        if not target.gates:
            self.warnings.append(NO_GATES)
        if not target.sandbox.startswith("bubblewrap"):
            self.warnings.append(f"programs of the repository ran without a sandbox: {target.sandbox}")
        self._stand_on(
            Ground(
                commit=opened.commit,
                base=opened.base,
                baseline=target.baseline,
                target=target.model_dump(mode="json"),
            )
        )

    def _stand_on(self, ground: Ground) -> None:
        self.ground = ground
        self.planning = Planning(self, self.crew, self.spec, ground)

    @property
    def _merges(self) -> bool:
        """Whether accepted changes are merged at all."""
        return self.mode is Mode.AUTO and bool(TargetReport.model_validate(self.ground.target).gates)

    async def _make_plan(self) -> None:
        await self.planning.discover()
        self.enter(Phase.ARCHITECTURE)
        if self.fixed is not None:
            self.plan = await self.planning.adopt(self.fixed)
        else:
            self.plan = await self.planning.plan(self._take_said())
        while self.plan.sprints and self.autonomy is Autonomy.MILESTONE:
            comment = await self._approve_plan()
            if comment is None:
                return
            self.enter(Phase.ARCHITECTURE, "revising the plan")
            self.plan = await self.planning.plan((comment, *self._take_said()))

    def _take_said(self) -> tuple[Feedback, ...]:
        said, self.said = self.said, ()
        return said

    async def _approve_plan(self) -> Feedback | None:
        """Ask for the plan; a comment to plan again with, or None when it is approved."""
        plan = self.plan
        tasks = [task for sprint in plan.sprints for task in sprint.tasks]
        warning = f" Note: {NO_GATES}." if NO_GATES in self.warnings else ""
        self.enter(Phase.APPROVAL, plan.summary)
        subject: dict[str, Json] = {
            "goal": self.spec.goal,
            "plan": plan.model_dump(mode="json"),
            "commit": self.ground.commit,
            "mode": self.mode.value,
            "warnings": list(self.warnings),
        }
        decision = await self.ask(
            ApprovalKind.PLAN,
            subject,
            text=f"{len(plan.sprints)} sprints, {len(tasks)} tasks: {plan.summary}{warning}",
            on_approve="the first sprint starts",
            on_reject="the project ends, nothing is changed",
        )
        if decision is None:
            raise Ended("nobody decided about the plan in time")
        if decision.decision is Answer.REJECT:
            raise Ended(_because(f"the plan was rejected by {decision.by}", decision.comment))
        if decision.decision is Answer.APPROVE:
            return None
        return Feedback(source=f"person:{decision.by}", text=decision.comment)

    async def _sprints(self) -> tuple[Phase, str]:
        number = self.spec.carried.sprint if self.spec.carried else 0
        while self.plan.sprints:
            await self.clearance()
            number += 1
            self.sprint_number = number
            report = await self._sprint(number)
            wanted = await self._milestone(report)
            await self._plan_on(report, number, wanted)
            self._continue_as_new_where_due(number)
        return self._verdict()

    async def _sprint(self, number: int) -> SprintReport:
        self.enter(Phase.SPRINTS, f"sprint {number}: {self.plan.sprints[0].goal}")
        await self.recorder.flush()
        self.check()
        child = await workflow.start_child_workflow(
            Sprint.run,
            args=[self._sprint_spec(number)],
            id=sprint_workflow_id(self.project, number),
            static_summary=f"sprint {number}: {self.plan.sprints[0].goal}"[:120],
            **options.CHILD,
        )
        self.children["sprint"] = child
        try:
            report = await child
        except ChildWorkflowError as error:
            self.check()
            if is_cancelled_exception(error):
                raise Ended(f"sprint {number} was cancelled") from None
            raise
        finally:
            self.children.clear()
        self.check()
        self.tally.add(report.model_calls, report.cost_usd)
        self.approvals_before += report.approvals
        self.sprint_reports += report.tasks
        self.reviews = report.documents
        self.plan = self.plan.model_copy(update={"sprints": self.plan.sprints[1:]})
        self.refresh()
        return report

    def _sprint_spec(self, number: int) -> SprintSpec:
        spec, sprint = self.spec, self.plan.sprints[0]
        earlier = {report.task: report.documents for report in self.sprint_reports if report.state in TASK_SUCCEEDED}
        return SprintSpec(
            project=self.project,
            sprint=number,
            goal=spec.goal,
            sprint_goal=sprint.goal,
            tasks=sprint.tasks,
            base_commit=self.head,
            baseline=self.ground.baseline,
            baseline_commit=self.ground.commit,
            documents=self.planning.documents,
            earlier=earlier,
            feedback=self._take_said(),
            models=spec.models,
            mode=self.mode,
            merge=self._merges,
            autonomy=self.autonomy,
            max_parallel=spec.max_parallel,
            max_steps=spec.max_steps,
            approval_timeout_minutes=spec.approval_timeout_minutes,
            budget_usd=self.budget_usd,
            paused=self.paused,
        )

    # After a sprint.

    async def _milestone(self, report: SprintReport) -> tuple[Feedback, ...]:
        """Bring the sprint onto the project's branch, asked for where a person wants to be; returns what they want changed."""
        if not self._merges or report.commit == self.head:
            return ()
        if self.autonomy is Autonomy.AUTONOMOUS:
            if report.passed:
                await self._merge_sprint(report)
            return () if report.passed else (Feedback(source="qa", text=report.summary),)
        decision = await self._ask_milestone(report)
        if decision is not None:
            # The sprint's work is built on, it only is not on the project's branch yet.
            self.head = report.commit
            return (decision,)
        await self._merge_sprint(report)
        return ()

    async def _ask_milestone(self, report: SprintReport) -> Feedback | None:
        self.enter(Phase.APPROVAL, f"sprint {report.sprint}: {report.summary}")
        await self._keep_report(report)
        decision = await self.ask(
            ApprovalKind.MILESTONE,
            {"sprint": report.sprint, "commit": report.commit, "report": report.model_dump(mode="json")},
            text=f"sprint {report.sprint} {'passed' if report.passed else 'DID NOT PASS'}: {report.summary}",
            on_approve=f"the sprint is merged into {project_branch(self.project)}",
            on_reject="the project ends; what was merged before stays",
        )
        if decision is None:
            raise Ended(f"nobody decided about sprint {report.sprint} in time")
        if decision.decision is Answer.REJECT:
            raise Ended(_because(f"sprint {report.sprint} was rejected by {decision.by}", decision.comment))
        if decision.decision is Answer.APPROVE:
            return None
        return Feedback(source=f"person:{decision.by}", text=decision.comment)

    async def _keep_report(self, report: SprintReport) -> None:
        document = KeepDocument(name=f"sprint-{report.sprint}", text=report.model_dump_json())
        kept = await self.call(RecordActivities.keep_document, document, options.RECORD, "keep the sprint's report")
        self.reviews = (*self.reviews, kept)

    async def _merge_sprint(self, report: SprintReport) -> None:
        self.enter(Phase.INTEGRATION, f"sprint {report.sprint}")
        request = Integrate(
            project=self.project,
            sprint=report.sprint,
            task=None,
            source=report.commit,
            target=project_branch(self.project),
            base_commit=self.ground.commit,
            baseline=self.ground.baseline,
            title=f"Sprint {report.sprint}",
            key=self.recorder.key(f"integrate-sprint-{report.sprint}"),
        )
        merged = await self.call(WorkspaceActivities.integrate, request, options.TOOL, f"merge sprint {report.sprint}")
        if not merged.merged or merged.commit is None:
            raise Ended(f"sprint {report.sprint} could not be merged: " + "; ".join(f.text for f in merged.feedback))
        self.head = merged.commit
        # A sprint that was revised before comes along with the one that was built on it.
        self.merged = (
            list(range(1, report.sprint + 1)) if self.autonomy is Autonomy.MILESTONE else [*self.merged, report.sprint]
        )
        self.remark(f"sprint {report.sprint} merged")

    async def _plan_on(self, report: SprintReport, number: int, wanted: tuple[Feedback, ...]) -> None:
        """Let the project manager plan what is left, where something is."""
        unfinished = [task for task in report.tasks if task.state not in TASK_SUCCEEDED]
        sprints_left = self.spec.max_sprints - number
        if not (unfinished or wanted or self.plan.sprints) or sprints_left < 1:
            self.plan = self.plan.model_copy(update={"sprints": ()})
            return
        if not (unfinished or wanted or self.said):
            return
        self.enter(Phase.ARCHITECTURE, "planning what is left")
        left: dict[str, Json] = {
            "unfinished": [task.model_dump(mode="json") for task in unfinished],
            "remaining": [sprint.model_dump(mode="json") for sprint in self.plan.sprints],
        }
        known = [task.task for task in self.sprint_reports if task.state in TASK_SUCCEEDED]
        self.plan = await self.planning.replan(left, sprints_left, known, self.reviews, (*wanted, *self._take_said()))

    def _verdict(self) -> tuple[Phase, str]:
        latest = self._latest()
        if not latest:
            return Phase.DONE, f"nothing to do: {self.plan.summary}"
        succeeded = [report for report in latest if report.state in TASK_SUCCEEDED]
        counts = f"{len(succeeded)} of {len(latest)} tasks succeeded, {self._merged_count(latest)} merged"
        failed = "; ".join(f"{report.task}: {report.summary}" for report in latest if report not in succeeded)
        text = messages.bounded(f"{counts}; {failed}" if failed else counts)
        stranded = self._merges and any(r.state is TaskState.MERGED for r in latest) and not self._merged_count(latest)
        return (Phase.FAILED if stranded or not succeeded else Phase.DONE), text

    # Long lives.

    def _resume_from(self, carried: Carried) -> None:
        self.opened = True
        self._stand_on(
            Ground(commit=carried.commit, base=carried.base, baseline=carried.baseline, target=carried.target)
        )
        self.planning.documents = carried.documents
        self.plan = Plan.model_validate(carried.plan)
        self.sprint_reports = list(carried.tasks)
        self.sprint_number = carried.sprint
        self.merged, self.warnings, self.said = list(carried.merged), list(carried.warnings), carried.feedback
        self.approvals_before, self.repairs_before = carried.approvals, carried.repairs
        self.paused, self.autonomy = carried.paused, carried.autonomy
        self.head = carried.head or carried.commit
        self.budget_usd = carried.budget_usd if carried.budget_usd is not None else self.spec.budget_usd
        self.tally.add(carried.model_calls, carried.cost_usd)

    def _continue_as_new_where_due(self, number: int) -> None:
        if self.plan.sprints and workflow.info().is_continue_as_new_suggested():
            raise ContinueAsNew(number)

    async def _continue_as_new(self, number: int) -> NoReturn:
        """Children have ended, handlers are drained and entries written; then the history starts afresh."""
        await workflow.wait_condition(workflow.all_handlers_finished)
        await self.recorder.flush()
        spec = self.spec.model_copy(update={"carried": self._carried(number)})
        workflow.continue_as_new(args=[spec])

    def _carried(self, number: int) -> Carried:
        return Carried(
            commit=self.ground.commit,
            base=self.ground.base,
            head=self.head,
            baseline=self.ground.baseline,
            target=self.ground.target,
            documents=self.planning.documents,
            plan=self.plan.model_dump(mode="json"),
            sprint=number,
            tasks=tuple(self.sprint_reports),
            approvals=self._approvals(),
            repairs=self.repairs_before + self.planning.repairs,
            paused=self.paused,
            autonomy=self.autonomy,
            started_at=self._deadline(self.spec) - timedelta(minutes=self.spec.timeout_minutes),
            warnings=tuple(self.warnings),
            merged=tuple(self.merged),
            model_calls=self.tally.model_calls,
            cost_usd=self.tally.cost_usd,
            budget_usd=self.budget_usd,
            feedback=self.said,
        )

    # Closing.

    async def _close(self, state: Phase, summary: str) -> ProjectReport:
        """Deliver what is merged and close; runs after failures and cancellations too."""
        self.enter(Phase.CLOSING, summary)
        branch = None
        if self.opened and self.merged:
            branch = await self._deliver()
        if self.opened and state is Phase.CANCELLED:
            await self.stand(Standing.CANCELLED, summary, "cancellation")
        await self.finish(state, summary)
        closed = await self._close_project(state, summary)
        return self._report(state, summary, branch, closed)

    async def _deliver(self) -> str | None:
        request = Deliver(project=self.project, repository=self.spec.repository, branch=project_branch(self.project))
        try:
            delivered = await perform(WorkspaceActivities.deliver, request, options.TOOL, f"deliver {request.branch}")
        except ActivityError as error:
            self.warnings.append(f"the branch stayed in the project's store: {cause_of(error)}")
            return None
        return delivered.branch

    async def _close_project(self, state: Phase, summary: str) -> ProjectClosed:
        request = CloseProject(project=self.project, state=state.value, summary=summary)
        return await perform(WorkspaceActivities.close_project, request, options.CLOSING, f"close: {summary}")

    def _report(self, state: Phase, summary: str, branch: str | None, closed: ProjectClosed) -> ProjectReport:
        latest = self._latest()
        return ProjectReport(
            project_id=self.project,
            state=state,
            summary=summary,
            tasks_merged=self._merged_count(latest),
            tasks_total=len(latest) + sum(len(sprint.tasks) for sprint in self.plan.sprints),
            tasks=tuple(self._settled(report) for report in self.sprint_reports),
            approvals=self._approvals(),
            repairs=self.repairs_before + self.planning_repairs + sum(report.repairs for report in self.sprint_reports),
            model_calls=closed.model_calls,
            in_doubt=closed.in_doubt,
            cost_usd=closed.cost_usd,
            ledger_entries=closed.ledger_entries,
            ledger_verified=closed.ledger_verified,
            branch=branch,
            commit=self.head if branch else None,
            warnings=tuple(self.warnings),
        )

    @property
    def planning_repairs(self) -> int:
        return self.planning.repairs if hasattr(self, "planning") else 0

    def _approvals(self) -> int:
        return self.approvals_before + self.book.answered

    def _latest(self) -> list[TaskReport]:
        """The last report of each task: one that failed may have been planned again."""
        return list({report.task: report for report in self.sprint_reports}.values())

    def _merged_count(self, reports: list[TaskReport]) -> int:
        return sum(self._settled(report).state is TaskState.MERGED for report in reports)

    def _settled(self, report: TaskReport) -> TaskReport:
        """A task on a sprint's branch that never reached the project's branch is accepted, not merged."""
        if report.state is TaskState.MERGED and report.sprint not in self.merged:
            return report.model_copy(update={"state": TaskState.ACCEPTED})
        return report


class ContinueAsNew(Exception):
    """The history has grown long: go on in a new run after this sprint."""

    def __init__(self, sprint: int) -> None:
        super().__init__()
        self.sprint = sprint


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


def _because(text: str, comment: str) -> str:
    return f"{text}: {comment}" if comment else text
