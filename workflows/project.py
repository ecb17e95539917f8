"""`Project`: discovery -> architecture -> [approval] -> sprints -> [milestone approval] -> closing."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.common import RawValue, VersioningBehavior
from temporalio.exceptions import ActivityError, ChildWorkflowError, WorkflowAlreadyStartedError
from temporalio.workflow import ChildWorkflowHandle

from agents.assignments import Feedback, Plan, PlannedTask
from ledger.vocabulary import (
    ApprovalKind,
    Mode,
    Phase,
    Role,
    sprint_workflow_id,
)
from workflows import briefs, carrying, checkpoints, messages, opening, options, team
from workflows.checkpoints import OF_MERGES
from workflows.children import adopt, begin, ended
from workflows.closing import close
from workflows.confirming import NO_GATES, Confirming
from workflows.controls import FeedbackNote
from workflows.crew import Crew, cause_of
from workflows.descriptions import sprint_details
from workflows.edits import Edit
from workflows.intake import Intake
from workflows.milestones import Milestones
from workflows.plan_approval import PlanApproval
from workflows.planning import Ended, Ground, Planning
from workflows.progress import Progress
from workflows.project_steering import ProjectSteering
from workflows.reports import ProjectReport, SprintReport
from workflows.specs import ProjectSpec, SprintSpec
from workflows.sprint import Sprint
from workflows.sprint_specs import sprint_spec
from workflows.stopping import CANCELLED, TIMEOUT, Stopped, to_the_end, together
from workflows.views import TaskView
from workflows.visibility import summary


class TurnOver(Exception):
    """The history has grown long: go on in a new run after this sprint."""


@workflow.defn(name="Project", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Project(Intake):
    """One goal on one repository."""

    spec: ProjectSpec
    ground: Ground
    planning: Planning
    confirming: Confirming
    approval: PlanApproval
    milestones: Milestones

    def __init__(self) -> None:
        super().__init__()
        self.crew = Crew(self)
        self.fixed: Plan | None = None
        self.plan = Plan(summary="")
        self.progress = Progress()
        self.steering = ProjectSteering(self)
        self.said: tuple[Feedback, ...] = ()
        self.warnings: list[str] = []
        self.approvals = 0
        self.repairs = 0
        self.opened = False

    @workflow.run
    @messages.one_raw_argument
    async def run(self, *values: RawValue) -> ProjectReport:
        """`ProjectSpec -> ProjectReport`."""
        spec = self._begin(values)
        deadline = self.started(spec) + timedelta(minutes=spec.timeout_minutes)
        try:
            state, summary = await self.supervise(self._work(), deadline)
        except TurnOver:
            await self._continue_as_new()
        except Ended as end:
            state, summary = end.state, end.reason
        except Stopped as stop:
            state = Phase.CANCELLED if stop.reason == CANCELLED else Phase.FAILED
            over = stop.reason == TIMEOUT
            summary = f"the time limit of {spec.timeout_minutes} minutes is over" if over else stop.reason
        except (ActivityError, ChildWorkflowError, WorkflowAlreadyStartedError) as error:
            state, summary = Phase.FAILED, cause_of(error)
        self.enter(Phase.CLOSING, summary)
        report = await to_the_end(close(self, state, summary))
        if state is Phase.CANCELLED:
            raise asyncio.CancelledError("the project was cancelled")
        return report

    def _begin(self, values: tuple[RawValue, ...]) -> ProjectSpec:
        spec, project = briefs.check_project_spec(values, self.workflow_id)
        self.spec, self.fixed = spec, briefs.fixed_plan(spec)
        self.mode, self.autonomy = spec.mode, spec.autonomy
        self.budget_usd, self.budget_tokens = spec.budget_usd, spec.budget_tokens
        self.approval_ttl = timedelta(minutes=spec.approval_timeout_minutes)
        self.open(project, project, f".{spec.carried.sprint}" if spec.carried else "", spec)
        if spec.carried is None:
            self.desk.announce()
        return spec

    def started(self, spec: ProjectSpec) -> datetime:
        """When the project's first run began: its time limit counts from there."""
        started = spec.carried.started_at if spec.carried else None
        return started or workflow.info().start_time

    # What is shown.

    def tasks(self) -> tuple[TaskView, ...]:
        return self.progress.views(self.plan)

    async def take_feedback(self, note: FeedbackNote) -> str | None:
        return await self.steering.hear(note)

    async def take_edit(self, edit: Edit) -> str | None:
        return await self.steering.edit(edit)

    def child_of(self, task: str) -> ChildWorkflowHandle[Any, Any] | None:
        return self.children.get("sprint")

    def objection_to_mode(self, mode: Mode) -> str | None:
        if mode is Mode.DRY_RUN and (waiting := [view.id for view in self.book.open if view.kind in OF_MERGES]):
            return f"{waiting[0]} is open, which is about a merge: decide it first"
        return checkpoints.objection_to_mode(self.mode, mode, begun=self.sprint_number is not None)

    # Discovery and architecture.

    async def _work(self) -> tuple[Phase, str]:
        if self.spec.carried is not None:
            carrying.unpack(self, self.spec.carried)
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
        return self.progress.verdict(merges=self.merges, plan=self.plan.summary)

    async def _open(self) -> None:
        self.enter(Phase.DISCOVERY, self.spec.goal)
        opened = await opening.open_project(self, self.spec, self.spec.budget_usd)
        self.opened = True
        self.warnings += opened.warnings
        self.team = await opening.read_team(self, self.spec, opened.commit)
        target = await opening.prepare_target(self, self.spec, opened.commit)
        self.warnings += target.warnings
        if not target.gates:
            self.warnings.append(NO_GATES)
        if not target.sandbox.startswith("bubblewrap"):
            self.warnings.append(f"programs of the repository ran without a sandbox: {target.sandbox}")
        models = opening.chains(self.spec.models, opened.models)
        limits = self.spec.time_limits.over(opened.limits)
        self.stand_on(Ground(commit=opened.commit, base=opened.base, target=target, models=models, limits=limits))

    def stand_on(self, ground: Ground) -> None:
        """Work from here on: what the project opened with, or what an earlier run of it carried over."""
        self.ground = ground
        self.crew.models, self.crew.limits, self.crew.roster = ground.models, ground.limits, team.roster(self.project)
        self.planning = Planning(self, self.crew, self.spec, ground)
        self.confirming = Confirming(self, self.spec, ground, self.planning)
        self.approval = PlanApproval(self, self.spec, ground, self.planning)
        self.milestones = Milestones(self, ground, self.progress)

    @property
    def merges(self) -> bool:
        """Whether accepted changes are merged at all."""
        return self.mode is not Mode.DRY_RUN and bool(self.ground.target.gates)

    async def _make_plan(self) -> None:
        await self.planning.discover()
        while self.asks(ApprovalKind.ARCHITECTURE):
            wish = await self.confirming.architecture()
            if wish is None:
                break
            self.enter(Phase.DISCOVERY, "looking again")
            await self.planning.discover((wish, *self.take_said()))
        self.enter(Phase.ARCHITECTURE)
        if self.fixed is not None:
            self.plan, producer = await self.planning.adopt(self.fixed), None
        else:
            self.plan, producer = await self.planning.plan(self.take_said()), Role.ARCHITECT
        while self.plan.sprints:
            wish = await self.approval.confirm(self.plan, self.warnings, producer, asks=self.asks(ApprovalKind.PLAN))
            if wish is None:
                return
            self.enter(Phase.ARCHITECTURE, "revising the plan")
            self.plan, producer = await self.planning.plan((wish, *self.take_said())), Role.ARCHITECT

    def take_said(self) -> tuple[Feedback, ...]:
        """What persons said and nobody was told yet; it is told now."""
        said, self.said = self.said, ()
        return said

    # Sprints.

    async def _run_sprint(self, number: int) -> None:
        self.sprint_number = number
        sprint, *rest = self.plan.sprints
        self.steering.give_back()
        report = await self._sprint(sprint_spec(self, number, sprint))
        self.plan = self.plan.model_copy(update={"sprints": tuple(rest)})
        self.refresh()
        wishes = await self.milestones.pass_sprint(report) if self.merges else ()
        await self._plan_on(report, report.planned or sprint.tasks, wishes)

    async def _sprint(self, spec: SprintSpec) -> SprintReport:
        self.check()
        # First it begins and then it is told: whoever has approved the plan waits for this.
        child = await begin(self, self._begin_sprint(spec))
        self.enter(Phase.SPRINTS, f"sprint {spec.sprint}: {spec.sprint_goal}")
        self.desk.began(f"sprint {spec.sprint}")
        await adopt(self, "sprint", child, spec)
        try:
            report, _ = await together(ended(child), self.recorder.flush())
        finally:
            self.children.clear()
            self.check()
        self.tally.add(report.model_calls, report.cost_usd, report.tokens)
        self.approvals += report.approvals
        self.progress.add(report)
        return report

    async def _begin_sprint(self, spec: SprintSpec) -> ChildWorkflowHandle[Sprint, SprintReport]:
        return await workflow.start_child_workflow(
            Sprint.run,
            args=[spec],
            id=sprint_workflow_id(self.project, spec.sprint),
            static_summary=summary(f"sprint {spec.sprint}: {spec.sprint_goal}"),
            static_details=sprint_details(spec),
            **options.CHILD,
        )

    # After a sprint.

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
        while True:
            self.plan = await self.planning.replan(
                left, sprints_left, self.progress.succeeded, self.milestones.documents, (*wishes, *self.take_said())
            )
            if not self.plan.sprints:
                return
            wish = await self.approval.confirm(self.plan, self.warnings, Role.PROJECT_MANAGER, asks=self._asks_again)
            if wish is None:
                return
            self.enter(Phase.ARCHITECTURE, "revising the plan")
            wishes = (wish,)

    @property
    def _asks_again(self) -> bool:
        """Whether plans made between sprints are asked about too."""
        if self.policy.demands_keys(ApprovalKind.PLAN):
            return self.asks(ApprovalKind.PLAN)
        return checkpoints.replans_asked(self.autonomy, self.mode, self.policy.wish(ApprovalKind.PLAN))

    # Long lives.

    async def _continue_as_new(self) -> NoReturn:
        """Children have ended; handlers are drained and entries written, then the history starts afresh."""
        await self.come_to_rest()
        workflow.continue_as_new(args=[self.spec.model_copy(update={"carried": carrying.pack(self)})])

    @property
    def approvals_in_all(self) -> int:
        """Requests that persons answered, here and in all sprints and tasks."""
        return self.approvals + self.book.answered

    @property
    def plan_repairs(self) -> int:
        """Repairs of the plans; those of tasks stand in their reports."""
        return self.repairs + (self.planning.repairs if hasattr(self, "planning") else 0)
