"""`Sprint`: a DAG of tasks side by side, integrated one by one on the sprint's branch, then looked at as a whole."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RawValue, VersioningBehavior
from temporalio.exceptions import ActivityError

from activities.contracts import (
    OpenWorkspace,
    WorkspaceActivities,
)
from agents.assignments import Report, Work
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
)
from workflows import briefs, council, messages, options, team
from workflows.assigning import Assigning
from workflows.controls import FeedbackNote
from workflows.crew import Crew, cause_of
from workflows.edits import Edit
from workflows.hearing import Hearing
from workflows.intake import Intake
from workflows.lanes import Lanes, named_after
from workflows.questions import Questions
from workflows.reports import SprintReport, TaskReport
from workflows.review import Review
from workflows.schedule import ScheduleError
from workflows.specs import SprintSpec
from workflows.sprint_edits import SprintEdits
from workflows.stopping import Stopped, dropped, stop, to_the_end
from workflows.switchboard import Switchboard
from workflows.team_signals import Freed, Question, TeamSignal
from workflows.views import TaskView
from workflows.worklist import Worklist


@workflow.defn(name="Sprint", versioning_behavior=VersioningBehavior.PINNED)
class Sprint(Intake):
    """One sprint of a project."""

    spec: SprintSpec

    def __init__(self) -> None:
        super().__init__()
        self.phase = Phase.WORKING
        self.crew = Crew(self)
        self.documents: tuple[ArtifactRef, ...] = ()

    @workflow.run
    @messages.one_raw_argument
    async def run(self, *values: RawValue) -> SprintReport:
        """`SprintSpec -> SprintReport`."""
        spec = self._begin(values)
        try:
            passed, summary = await self.supervise(self._work())
            phase = Phase.DONE
        except Stopped as stop:
            phase, passed, summary = Phase.FAILED if stop.abandoned else Phase.CANCELLED, False, stop.reason
        except ActivityError as error:
            phase, passed, summary = Phase.FAILED, False, cause_of(error)
        self._end_undone()
        event = SprintFinished(
            sprint=spec.sprint,
            passed=passed,
            summary=summary,
            commit=self.lanes.head,
            tasks={name: state.value for name, state in self.worklist.states.items()},
        )
        self.note(event, summary)
        await to_the_end(self.finish(phase, summary))
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
        self.budget_usd, self.budget_tokens = spec.budget_usd, spec.budget_tokens
        self.team = spec.team
        self.approval_ttl = timedelta(minutes=spec.approval_timeout_minutes)
        self.worklist = _worklist(spec)
        assigning = Assigning(self, self.crew, spec, self.worklist)
        self.switchboard = Switchboard(self, self.crew)
        self.crew.exchange = self.switchboard
        self.crew.models, self.crew.limits = spec.models, spec.limits
        self.crew.roster = team.roster(spec.project, map(self.worklist.agent_of, spec.tasks))
        self.lanes = Lanes(self, spec, assigning, self.worklist)
        self.edits = SprintEdits(self)
        self.hearing = Hearing(self)
        self.open(spec.project, sprint_scope(spec.project, spec.sprint), rules=spec)
        self.enter(Phase.WORKING, spec.sprint_goal)
        return spec

    # What is shown.

    def tasks(self) -> tuple[TaskView, ...]:
        return self.worklist.views() if self.project else ()

    @property
    def is_part(self) -> bool:
        return True

    async def take_feedback(self, note: FeedbackNote) -> str | None:
        return await self.hearing.take(note)

    async def take_edit(self, edit: Edit) -> str | None:
        return await self.edits.take(edit)

    def take_from_team(self, message: TeamSignal) -> str | None:
        if isinstance(message, Question) and self._employs(message.run):
            self.switchboard.employed = self.worklist.employed()
            self.switchboard.open(message)
        elif isinstance(message, Freed):
            self.switchboard.freed(message)
        else:
            return "no task at work here says so"
        return None

    def _employs(self, run: AgentRun) -> bool:
        return run.project == self.project and self.worklist.states.get(run.task) is TaskState.RUNNING

    # The work.

    async def _work(self) -> tuple[bool, str]:
        branch = sprint_branch(self.project, self.spec.sprint)
        opening = OpenWorkspace(project=self.project, branch=branch, base=self.spec.base_commit)
        await self.call(WorkspaceActivities.open_workspace, opening, options.BRANCH, f"open {branch}")
        await self._run_tasks()
        await self._settle_questions()
        passed, summary = await self._review()
        self.enter(Phase.RETROSPECTIVE, summary)
        return passed, summary

    async def _run_tasks(self) -> None:
        schedule = self.worklist.schedule
        running: dict[str, asyncio.Task[TaskReport]] = {}
        try:
            while not schedule.done:
                if not self.paused:
                    for task in schedule.start():
                        self.worklist.states[task.id] = TaskState.RUNNING
                        running[task.id] = asyncio.create_task(self.lanes.run(task))
                self.refresh()
                await workflow.wait_condition(lambda: self._may_go_on(running))
                for name in [name for name, lane in running.items() if lane.done()]:
                    self._settle_task(running.pop(name).result())
        finally:
            self.worklist.is_open = False
            # What ends this loop ends its tasks.
            if not dropped():
                await self._end_lanes(running)

    async def _end_lanes(self, running: dict[str, asyncio.Task[TaskReport]]) -> None:
        await self.switchboard.close()
        await stop(*running.values())

    def _may_go_on(self, running: dict[str, asyncio.Task[TaskReport]]) -> bool:
        schedule = self.worklist.schedule
        return (
            schedule.done or any(lane.done() for lane in running.values()) or (schedule.may_start and not self.paused)
        )

    def _settle_task(self, report: TaskReport) -> None:
        self.worklist.settle(report)
        self.switchboard.employed = self.worklist.employed()
        for words in self.worklist.take_kept(report.task):
            self.refuse("feedback", f"task {report.task!r} ended before anybody read it", words.source)
        succeeded = report.state in TASK_SUCCEEDED or report.task in self.worklist.forgone
        for skipped in self.worklist.schedule.finish(report.task, succeeded=succeeded):
            if report.task in self.worklist.waived:
                self.worklist.waived.add(skipped.id)
            self.worklist.end(skipped, TaskState.SKIPPED, "a task it depends on did not succeed")
        self.remark(f"{report.task}: {report.state.value} {report.summary}")
        self.refresh()

    async def _settle_questions(self) -> None:
        """What the tasks' agents asked each other is decided before QA looks. Nothing is done where nobody asked."""
        asked = tuple(name for report in self.worklist.reports.values() for name in report.questions)
        await Questions(self, self.crew, self.spec, self.lanes.head).settle(asked)

    # Looking at the whole.

    async def _review(self) -> tuple[bool, str]:
        states = self.worklist.states
        merged = [name for name, state in states.items() if state is TaskState.MERGED]
        succeeded = sum(state in TASK_SUCCEEDED for state in states.values())
        counts = f"{succeeded} of {len(states)} tasks succeeded, {len(merged)} merged"
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
        reports = [report for report in self.worklist.reports.values() if report.state in TASK_SUCCEEDED]
        produced = [ref for report in reports for ref in named_after(report.task, report.documents)]
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
        for task in self.worklist.tasks:
            if task.id not in self.worklist.reports:
                self.worklist.end(task, TaskState.CANCELLED, "the sprint ended")

    def _report(self, passed: bool, summary: str) -> SprintReport:
        reports = tuple(self.worklist.reports[task.id] for task in self.worklist.tasks)
        return SprintReport(
            sprint=self.spec.sprint,
            tasks=reports,
            planned=self.worklist.tasks,
            commit=self.lanes.head,
            passed=passed,
            summary=summary,
            documents=self.documents,
            approvals=self.book.answered + sum(report.approvals for report in reports),
            cost_usd=self.tally.cost_usd,
            model_calls=self.tally.model_calls,
            tokens=self.tally.tokens,
        )


def _worklist(spec: SprintSpec) -> Worklist:
    try:
        return Worklist(spec)
    except ScheduleError as error:
        raise messages.InvalidBriefError(f"SprintSpec: {error}") from None
