"""`Project`: discovery -> architecture -> [approval] -> sprints -> [milestone approval] -> closing."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import NoReturn

from temporalio import workflow
from temporalio.common import RawValue, VersioningBehavior
from temporalio.exceptions import ActivityError, ChildWorkflowError, WorkflowAlreadyStartedError

from activities.contracts import (
    CloseProject,
    Deliver,
    Integrate,
    KeepDocument,
    ProjectClosed,
    RecordActivities,
    TargetReport,
    WorkspaceActivities,
)
from agents.assignments import Feedback, Plan, PlannedTask
from ledger.vocabulary import (
    Answer,
    ApprovalKind,
    ArtifactRef,
    Autonomy,
    Json,
    Mode,
    Phase,
    Standing,
    project_branch,
    sprint_workflow_id,
)
from workflows import briefs, messages, opening, options
from workflows.calls import perform
from workflows.contracts import (
    Carried,
    Decision,
    FeedbackNote,
    ProjectReport,
    ProjectSpec,
    SprintReport,
    SprintSpec,
    TaskView,
)
from workflows.crew import Crew, cause_of
from workflows.lifecycle import Lifecycle, Stopped
from workflows.planning import Ended, Ground, Planning
from workflows.progress import Progress
from workflows.sprint import Sprint

NO_GATES = "no gate can judge a change here: accepted changes stay on their branches, nothing is merged"


class TurnOver(Exception):
    """The history has grown long: go on in a new run after this sprint."""


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
        self.progress = Progress()
        self.reviews: tuple[ArtifactRef, ...] = ()
        self.said: tuple[Feedback, ...] = ()
        self.warnings: list[str] = []
        self.approvals = 0
        self.repairs = 0
        self.head = ""
        self.held: list[int] = []
        """Sprints that are built on but not on the project's branch."""
        self.opened = False

    @workflow.run
    @messages.one_raw_argument
    async def run(self, *values: RawValue) -> ProjectReport:
        """`ProjectSpec -> ProjectReport`."""
        spec = self._begin(values)
        try:
            state, summary = await self.supervise(self._work(), self._started(spec) + _limit(spec))
        except TurnOver:
            await self._continue_as_new()
        except Ended as end:
            state, summary = end.state, end.reason
        except Stopped as stop:
            timeout = Phase.FAILED, f"the time limit of {spec.timeout_minutes} minutes is over"
            state, summary = (Phase.CANCELLED, "cancelled") if stop.reason == "cancelled" else timeout
        except (ActivityError, ChildWorkflowError, WorkflowAlreadyStartedError) as error:
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
        self.open(address.project, address.project, f".{spec.carried.sprint}" if spec.carried else "")
        return spec

    def _started(self, spec: ProjectSpec) -> datetime:
        started = spec.carried.started_at if spec.carried else None
        return started or workflow.info().start_time

    # What is shown.

    def tasks(self) -> tuple[TaskView, ...]:
        return self.progress.views(self.plan)

    async def take_feedback(self, note: FeedbackNote) -> str | None:
        if note.task is not None and not self.children:
            return f"task {note.task!r} is not at work"
        told = note.task is None and self.crew.tell(note)
        await self.tell_children("feedback", note)
        if not told and not self.children:
            # Nobody is at work, during an approval for instance: the next plan takes it into account.
            self.said = (*self.said, Feedback(source=f"person:{note.by}", text=note.text))
        return None

    # Discovery and architecture.

    async def _work(self) -> tuple[Phase, str]:
        if self.spec.carried is not None:
            self._resume_from(self.spec.carried)
        else:
            await self._open()
            await self._make_plan()
        number = self.sprint_number or 0
        while self.plan.sprints:
            await self.clearance()
            number += 1
            await self._run_sprint(number)
            if self.plan.sprints and workflow.info().is_continue_as_new_suggested():
                raise TurnOver
        return self.progress.verdict(merges=self._merges, plan=self.plan.summary)

    async def _open(self) -> None:
        self.enter(Phase.DISCOVERY, self.spec.goal)
        opened = await opening.open_project(self, self.spec, self.spec.budget_usd)
        self.opened = True
        self.head = opened.commit
        self.warnings += opened.warnings
        target = await opening.prepare_target(self, self.spec, opened.commit)
        if not target.gates:
            self.warnings.append(NO_GATES)
        if not target.sandbox.startswith("bubblewrap"):
            self.warnings.append(f"programs of the repository ran without a sandbox: {target.sandbox}")
        models = opening.chains(self.spec.models, opened.models)
        self._stand_on(Ground(commit=opened.commit, base=opened.base, target=target, models=models))

    def _stand_on(self, ground: Ground) -> None:
        self.ground = ground
        self.planning = Planning(self, self.crew, self.spec, ground)

    @property
    def _merges(self) -> bool:
        """Whether accepted changes are merged at all."""
        return self.mode is Mode.AUTO and bool(self.ground.target.gates)

    async def _make_plan(self) -> None:
        await self.planning.discover()
        self.enter(Phase.ARCHITECTURE)
        if self.fixed is not None:
            self.plan = await self.planning.adopt(self.fixed)
        else:
            self.plan = await self.planning.plan(self._take_said())
        while self.plan.sprints and self.autonomy is Autonomy.MILESTONE:
            wish = await self._approve_plan()
            if wish is None:
                return
            self.enter(Phase.ARCHITECTURE, "revising the plan")
            self.plan = await self.planning.plan((wish, *self._take_said()))

    def _take_said(self) -> tuple[Feedback, ...]:
        said, self.said = self.said, ()
        return said

    async def _approve_plan(self) -> Feedback | None:
        """Ask for the plan; what to plan again for, or None when it is approved."""
        plan = self.plan
        self.enter(Phase.APPROVAL, plan.summary)
        subject: dict[str, Json] = {
            "goal": self.spec.goal,
            "plan": plan.model_dump(mode="json"),
            "commit": self.ground.commit,
            "mode": self.mode.value,
            "warnings": list(self.warnings),
        }
        tasks = sum(len(sprint.tasks) for sprint in plan.sprints)
        warning = f" ({NO_GATES})" if NO_GATES in self.warnings else ""
        decision = await self.ask(
            ApprovalKind.PLAN,
            subject,
            text=f"{len(plan.sprints)} sprints, {tasks} tasks: {plan.summary}{warning}",
            on_approve="the first sprint starts",
            on_reject="the project ends, nothing is changed",
        )
        return _wish(decision, "the plan")

    # Sprints.

    async def _run_sprint(self, number: int) -> None:
        self.sprint_number = number
        sprint, *rest = self.plan.sprints
        report = await self._sprint(self._sprint_spec(number, sprint.goal, sprint.tasks))
        self.plan = self.plan.model_copy(update={"sprints": tuple(rest)})
        self.refresh()
        wishes = await self._milestone(report)
        await self._plan_on(report, sprint.tasks, wishes)

    async def _sprint(self, spec: SprintSpec) -> SprintReport:
        self.enter(Phase.SPRINTS, f"sprint {spec.sprint}: {spec.sprint_goal}")
        await self.recorder.flush()
        self.check()
        child = await workflow.start_child_workflow(
            Sprint.run,
            args=[spec],
            id=sprint_workflow_id(self.project, spec.sprint),
            static_summary=f"sprint {spec.sprint}: {spec.sprint_goal}"[:120],
            **options.CHILD,
        )
        self.children["sprint"] = child
        try:
            report = await child
        finally:
            self.children.clear()
            self.check()
        self.tally.add(report.model_calls, report.cost_usd)
        self.approvals += report.approvals
        self.progress.add(report)
        self.reviews = report.documents
        return report

    def _sprint_spec(self, number: int, goal: str, tasks: tuple[PlannedTask, ...]) -> SprintSpec:
        spec = self.spec
        return SprintSpec(
            project=self.project,
            sprint=number,
            goal=spec.goal,
            sprint_goal=goal,
            tasks=tasks,
            base_commit=self.head,
            baseline=self.ground.target.baseline,
            baseline_commit=self.ground.commit,
            documents=self.planning.documents,
            earlier=self.progress.documents,
            feedback=self._take_said(),
            models=self.ground.models,
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
        """Bring the sprint onto the project's branch, with consent where a person wants to be asked.

        Returns what must change before that; the sprint's work is then built on by the next one.
        """
        if not self._merges or report.commit == self.head:
            return ()
        if self.autonomy is Autonomy.MILESTONE:
            wish = await self._ask_milestone(report)
        else:
            wish = None if report.passed else Feedback(source="review", text=report.summary)
        if wish is not None:
            self.head = report.commit
            self.held.append(report.sprint)
            return (wish,)
        await self._merge(report)
        return ()

    async def _ask_milestone(self, report: SprintReport) -> Feedback | None:
        self.enter(Phase.APPROVAL, f"sprint {report.sprint}: {report.summary}")
        document = KeepDocument(name=f"sprint-{report.sprint}", text=report.model_dump_json())
        kept = await self.call(RecordActivities.keep_document, document, options.RECORD, "keep the sprint's report")
        self.reviews = (*self.reviews, kept)
        decision = await self.ask(
            ApprovalKind.MILESTONE,
            {"sprint": report.sprint, "commit": report.commit, "report": report.model_dump(mode="json")},
            text=f"sprint {report.sprint} {'passed' if report.passed else 'DID NOT PASS'}: {report.summary}",
            on_approve=f"the sprint is merged into {project_branch(self.project)}",
            on_reject="the project ends; what was merged before stays",
        )
        return _wish(decision, f"sprint {report.sprint}")

    async def _merge(self, report: SprintReport) -> None:
        self.enter(Phase.INTEGRATION, f"sprint {report.sprint}")
        request = Integrate(
            project=self.project,
            sprint=report.sprint,
            task=None,
            source=report.commit,
            target=project_branch(self.project),
            base_commit=self.ground.commit,
            baseline=self.ground.target.baseline,
            title=f"Sprint {report.sprint}",
            key=self.recorder.key(f"integrate-sprint-{report.sprint}"),
        )
        merged = await self.call(WorkspaceActivities.integrate, request, options.TOOL, f"merge sprint {report.sprint}")
        if not merged.merged or merged.commit is None:
            reasons = "; ".join(item.text for item in merged.feedback)
            raise Ended(f"sprint {report.sprint} could not be merged: {reasons}")
        self.head = merged.commit
        self.progress.merge([*self.held, report.sprint])
        self.held = []
        self.remark(f"sprint {report.sprint} merged")

    async def _plan_on(
        self, report: SprintReport, planned: tuple[PlannedTask, ...], wishes: tuple[Feedback, ...]
    ) -> None:
        """Let the project manager plan what is left, where something is and there is a sprint left for it."""
        sprints_left = self.spec.max_sprints - report.sprint
        left = self.progress.left(report, planned, self.plan)
        if sprints_left < 1 or not (left or wishes or self.said):
            self.plan = self.plan.model_copy(update={"sprints": ()})
            return
        self.enter(Phase.ARCHITECTURE, "planning what is left")
        self.plan = await self.planning.replan(
            left, sprints_left, self.progress.succeeded, self.reviews, (*wishes, *self._take_said())
        )

    # Long lives.

    async def _continue_as_new(self) -> NoReturn:
        """Children have ended; handlers are drained and entries written, then the history starts afresh."""
        await workflow.wait_condition(workflow.all_handlers_finished)
        await self.recorder.flush()
        workflow.continue_as_new(args=[self.spec.model_copy(update={"carried": self._carried()})])

    def _carried(self) -> Carried:
        return Carried(
            commit=self.ground.commit,
            base=self.ground.base,
            baseline=self.ground.target.baseline,
            target=self.ground.target.model_dump(mode="json"),
            models=self.ground.models,
            head=self.head,
            documents=self.planning.documents,
            plan=self.plan.model_dump(mode="json"),
            sprint=self.sprint_number or 0,
            tasks=tuple(self.progress.reports),
            merged=tuple(self.progress.merged),
            held=tuple(self.held),
            approvals=self._approvals,
            repairs=self._repairs,
            refused=tuple(self.refused),
            paused=self.paused,
            autonomy=self.autonomy,
            started_at=self._started(self.spec),
            warnings=tuple(self.warnings),
            model_calls=self.tally.model_calls,
            cost_usd=self.tally.cost_usd,
            budget_usd=self.budget_usd,
            feedback=self.said,
        )

    def _resume_from(self, carried: Carried) -> None:
        target = TargetReport.model_validate(carried.target)
        self._stand_on(Ground(commit=carried.commit, base=carried.base, target=target, models=carried.models))
        self.opened = True
        self.planning.documents = carried.documents
        self.plan = Plan.model_validate(carried.plan)
        self.sprint_number = carried.sprint
        self.progress = Progress(carried.tasks, carried.merged)
        self.held, self.warnings, self.said = list(carried.held), list(carried.warnings), carried.feedback
        self.approvals, self.repairs = carried.approvals, carried.repairs
        self.refused = [*carried.refused, *self.refused]
        self.paused, self.autonomy = carried.paused, carried.autonomy
        self.head = carried.head or carried.commit
        self.budget_usd = carried.budget_usd
        self.tally.add(carried.model_calls, carried.cost_usd)

    @property
    def _approvals(self) -> int:
        return self.approvals + self.book.answered

    @property
    def _repairs(self) -> int:
        """Repairs of the plans; those of tasks stand in their reports."""
        return self.repairs + (self.planning.repairs if hasattr(self, "planning") else 0)

    # Closing.

    async def _close(self, state: Phase, summary: str) -> ProjectReport:
        """Deliver what is merged and close; runs after failures and cancellations too."""
        self.enter(Phase.CLOSING, summary)
        branch = await self._deliver() if self.progress.merged else None
        if self.opened and state is Phase.CANCELLED:
            await self.stand(Standing.CANCELLED, summary, "cancellation")
        await self.finish(state, summary)
        request = CloseProject(project=self.project, state=state.value, summary=summary)
        closed = await perform(WorkspaceActivities.close_project, request, options.CLOSING, f"close: {summary}")
        return self._report(state, summary, branch, closed)

    async def _deliver(self) -> str | None:
        request = Deliver(project=self.project, repository=self.spec.repository, branch=project_branch(self.project))
        try:
            delivered = await perform(WorkspaceActivities.deliver, request, options.TOOL, f"deliver {request.branch}")
        except ActivityError as error:
            self.warnings.append(f"the branch stayed in the project's store: {cause_of(error)}")
            return None
        return delivered.branch

    def _report(self, state: Phase, summary: str, branch: str | None, closed: ProjectClosed) -> ProjectReport:
        progress = self.progress
        return ProjectReport(
            project_id=self.project,
            state=state,
            summary=summary,
            tasks_merged=progress.merged_tasks,
            tasks_total=len(self.tasks()),
            tasks=progress.settled(),
            approvals=self._approvals,
            repairs=self._repairs + progress.repairs,
            model_calls=closed.model_calls,
            in_doubt=closed.in_doubt,
            cost_usd=closed.cost_usd,
            ledger_entries=closed.ledger_entries,
            ledger_verified=closed.ledger_verified,
            branch=branch,
            commit=self.head if branch else None,
            warnings=tuple(self.warnings),
        )


def _limit(spec: ProjectSpec) -> timedelta:
    return timedelta(minutes=spec.timeout_minutes)


def _wish(decision: Decision | None, what: str) -> Feedback | None:
    """What a person wants changed; None where they approve.

    Raises:
        Ended: they rejected it, or nobody decided in time.
    """
    if decision is None:
        raise Ended(f"nobody decided about {what} in time")
    if decision.decision is Answer.REJECT:
        reason = f": {decision.comment}" if decision.comment else ""
        raise Ended(f"{what} was rejected by {decision.by}{reason}")
    if decision.decision is Answer.APPROVE:
        return None
    return Feedback(source=f"person:{decision.by}", text=decision.comment)
