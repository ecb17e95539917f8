"""`AgentTask`: one task from an agent's first attempt to an accepted change, a report or an honest end.

choose agent -> open workspace -> run agent -> gates -> council -> accept | repair. Under a sprint the project's store is
open already; alone, with `repository`, the task opens and closes it itself.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RawValue, VersioningBehavior
from temporalio.exceptions import ActivityError

from activities.contracts import OpenBudget, OpenWorkspace, RecordActivities, RunGates, Workspace, WorkspaceActivities
from agents.assignments import Feedback, Report, Work, WorkResult
from agents.runs import AgentOutcome, AgentRun
from ledger.events import RepairChosen, TaskFinished, TaskStarted
from ledger.vocabulary import (
    Answer,
    ApprovalKind,
    ArtifactRef,
    OutcomeKind,
    Phase,
    Role,
    TaskKind,
    TaskState,
    task_branch,
    task_scope,
)
from workflows import council, messages, options, team
from workflows.contracts import FeedbackNote, TaskReport, TaskSpec, TaskView
from workflows.crew import Crew, cause_of
from workflows.lifecycle import Lifecycle, Stopped, together
from workflows.repair import Ladder, Level
from workflows.review import Review
from workflows.solo import Solo, check_task_spec

HANDOVERS = 3
"""How often one task may change hands by the agents' own wish."""


@workflow.defn(name="AgentTask", versioning_behavior=VersioningBehavior.PINNED)
class AgentTask(Lifecycle):
    """One task of a sprint, or one that a person started alone."""

    spec: TaskSpec
    workspace: Workspace

    def __init__(self) -> None:
        super().__init__()
        self.phase = Phase.WORKING
        self.state = TaskState.WAITING
        self.crew = Crew(self)
        self.attempts = 0
        self.handovers = 0
        self.produced: tuple[ArtifactRef, ...] = ()
        self.changed_paths: tuple[str, ...] = ()
        self.commit: str | None = None
        self.producer = Role.ENGINEER

    @workflow.run
    @messages.one_raw_argument
    async def run(self, *values: RawValue) -> TaskReport:
        """`TaskSpec -> TaskReport`."""
        spec = self._begin(values)
        try:
            report = await self.supervise(self._work())
        except Stopped:
            report = await self._finish(TaskState.CANCELLED, "cancelled")
        except ActivityError as error:
            report = await self._finish(TaskState.FAILED, cause_of(error))
        if spec.repository is not None:
            await Solo(self, spec).close(report)
        if self.stopping is not None:
            raise asyncio.CancelledError("the task was cancelled")
        return report

    def _begin(self, values: tuple[RawValue, ...]) -> TaskSpec:
        spec = self.spec = check_task_spec(values, self.workflow_id)
        self.sprint_number = spec.sprint
        self.mode, self.autonomy, self.paused = spec.mode, spec.autonomy, spec.paused
        self.budget_usd = spec.budget_usd
        self.approval_ttl = timedelta(minutes=spec.approval_timeout_minutes)
        self.role = spec.task.role.value
        self.producer = spec.task.role
        self.ladder = Ladder(len(team.chain_of(spec.models, self.producer)))
        self.feedback = spec.feedback
        self.state = TaskState.RUNNING
        self.open(
            spec.project,
            task_scope(spec.project, spec.sprint, spec.task.id),
            f".g{spec.generation}" if spec.generation > 1 else "",
        )
        self.refresh()
        return spec

    # What is shown.

    def tasks(self) -> tuple[TaskView, ...]:
        if not self.project:
            return ()
        task = self.spec.task
        view = TaskView(
            id=task.id,
            title=task.title,
            kind=task.kind,
            state=self.state,
            phase=self.phase,
            agent=self.agent,
            depends_on=task.depends_on,
            detail=self.detail,
            attempts=self.attempts,
            repairs=self.ladder.climbed,
            workflow_id=self.workflow_id,
        )
        return (view,)

    async def take_feedback(self, note: FeedbackNote) -> str | None:
        if note.task not in (None, self.spec.task.id):
            return f"this is task {self.spec.task.id!r}, not {note.task!r}"
        if not self.crew.tell(note):
            # Nobody is at work, in an approval for instance: whoever comes next is told.
            self.feedback = (*self.feedback, Feedback(source=f"person:{note.by}", text=note.text))
        return None

    @property
    def agent(self) -> str:
        place = self.spec.place if self.spec.place is not None else team.place_of(self.workflow_id)
        return team.agent_id(self.project, self.producer, place, self.ladder.agent_shift + self.handovers)

    # The work.

    async def _work(self) -> TaskReport:
        if self.spec.repository is not None:
            self.spec = await Solo(self, self.spec).open()
        opening = self._open_workspace(restart=self.spec.generation > 1)
        budget = OpenBudget(scope=self.subject, limit_usd=None)
        await together(
            opening, self.call(RecordActivities.open_budget, budget, options.RECORD, f"budget {self.subject}")
        )
        while True:
            outcome = await self._attempt()
            if outcome.kind is OutcomeKind.REFUSED:
                return await self._finish(TaskState.REFUSED, outcome.question or outcome.summary)
            if outcome.kind in (OutcomeKind.HANDOFF, OutcomeKind.NEEDS_TEAMMATE) and self.handovers < HANDOVERS:
                self._hand_over(outcome)
                continue
            state, failure = await self._assess(outcome)
            if state is not None:
                return await self._finish(state, outcome.summary)
            if not await self._repair(failure, gave_up=_gave_up(outcome)):
                return await self._finish(TaskState.FAILED, _words(failure))

    async def _open_workspace(self, *, restart: bool) -> None:
        spec = self.spec
        branch = task_branch(spec.project, spec.sprint, spec.task.id)
        assert spec.base_commit is not None
        request = OpenWorkspace(project=spec.project, branch=branch, base=spec.base_commit, restart=restart)
        self.workspace = await self.call(WorkspaceActivities.open_workspace, request, options.TOOL, f"open {branch}")

    async def _attempt(self) -> AgentOutcome:
        self.attempts += 1
        task = self.spec.task
        self.enter(Phase.WORKING, f"{self.agent}, attempt {self.attempts}")
        feed = {"type": "task_started", "sprint": self.spec.sprint, "task": task.id, "agent": self.agent}
        started = TaskStarted(
            sprint=self.spec.sprint,
            task=task.id,
            title=task.title,
            agent=self.agent,
            generation=self.spec.generation,
        )
        self.note(
            started, feed={**feed, "role": self.producer.value, "text": task.title} if self.attempts == 1 else None
        )
        run = self._run(Work.CHANGE if self._is_change else Work.ANALYSIS, f"{self.producer.value}-{self._round}")
        outcome = await self.crew.engage(run, f"{self.producer.value} {task.id}: {task.title}")
        self.commit = outcome.commit
        return outcome

    @property
    def _round(self) -> str:
        return f"{self.spec.generation}.{self.attempts}"

    def _run(self, work: Work, lineage: str) -> AgentRun:
        spec = self.spec
        return AgentRun(
            project=spec.project,
            sprint=spec.sprint,
            task=spec.task.id,
            lineage=lineage,
            role=self.producer,
            agent=self.agent,
            work=work,
            goal=spec.goal,
            title=spec.task.title,
            instructions=spec.task.instructions,
            scope=spec.task.scope,
            acceptance=spec.task.acceptance,
            params=spec.task.params,
            chain=team.chain_of(spec.models, self.producer),
            chain_offset=self.ladder.chain_offset,
            branch=self.workspace.branch,
            base_commit=self.workspace.base_commit,
            baseline=spec.baseline,
            documents=spec.documents,
            feedback=self.feedback,
            attempt=self.attempts,
            max_steps=spec.max_steps,
            budget_scope=self.subject,
        )

    def _hand_over(self, outcome: AgentOutcome) -> None:
        self.handovers += 1
        to = outcome.to_role
        # A change stays with a role that may write; an agent cannot hand its task to somebody who could not do it.
        if to is not None and (to in _WRITERS or self.spec.task.kind is TaskKind.ANALYSIS) and to is not Role.JUDGE:
            self.producer = to
        self.feedback = (*self.feedback, Feedback(source="handoff", text=outcome.question or outcome.summary))

    # Judging it.

    async def _assess(self, outcome: AgentOutcome) -> tuple[TaskState | None, tuple[Feedback, ...]]:
        """The state that the attempt has earned, or None and what was wrong with it."""
        if outcome.kind is not OutcomeKind.FINISHED:
            return None, (Feedback(source="validation", text=f"{outcome.kind.value}: {outcome.summary}"),)
        try:
            return await (self._assess_change(outcome) if self._is_change else self._assess_report(outcome))
        except ValidationError as error:
            return None, (Feedback(source="validation", text=messages.faults(error)),)

    @property
    def _is_change(self) -> bool:
        return self.spec.task.kind is TaskKind.CHANGE

    async def _assess_change(self, outcome: AgentOutcome) -> tuple[TaskState | None, tuple[Feedback, ...]]:
        result = WorkResult.model_validate(outcome.result)
        if result.outcome == "nothing_to_do":
            self.commit = None
            self.produced = _named(outcome.artifact)
            return TaskState.NOTHING_TO_DO, ()
        if result.outcome == "gave_up":
            return None, (Feedback(source="validation", text=f"gave up: {result.summary}"),)
        if outcome.commit is None or outcome.commit == self.workspace.base_commit:
            return None, (Feedback(source="validation", text="the result says `changed`, but no file was changed"),)
        report = await self._gates(outcome.commit)
        if report is not None:
            return None, report
        return await self._judge(TaskState.ACCEPTED, outcome)

    async def _assess_report(self, outcome: AgentOutcome) -> tuple[TaskState | None, tuple[Feedback, ...]]:
        Report.model_validate(outcome.result)
        self.commit = None
        self.produced = _named(outcome.artifact)
        return await self._judge(TaskState.REPORTED, outcome)

    async def _gates(self, commit: str) -> tuple[Feedback, ...] | None:
        """Run the gates; None when they pass."""
        self.enter(Phase.GATES, commit[:12])
        spec = self.spec
        assert spec.baseline is not None
        request = RunGates(
            project=spec.project,
            sprint=spec.sprint,
            task=spec.task.id,
            commit=commit,
            base_commit=self.workspace.base_commit,
            baseline=spec.baseline,
            scope=spec.task.scope,
            attempt=self.attempts,
        )
        report = await self.call(WorkspaceActivities.run_gates, request, options.TOOL, f"gates of {spec.task.id}")
        self.produced = report.documents
        self.changed_paths = report.changed_paths
        self.remark(f"gates {'passed' if report.passed else 'failed'} for {commit[:12]}")
        if report.passed:
            return None
        return report.feedback or (Feedback(source="gate:unknown", text="the gates did not pass"),)

    async def _judge(self, earned: TaskState, outcome: AgentOutcome) -> tuple[TaskState | None, tuple[Feedback, ...]]:
        self.enter(Phase.REVIEW, "council of four judges")
        self.produced = (*_named(outcome.artifact), *(ref for ref in self.produced if ref != outcome.artifact))
        chain = team.chain_of(self.spec.models, Role.JUDGE)
        # The judged documents come last: whoever looks for "the diff" finds this one, not a predecessor's.
        update = {"chain": chain, "documents": (*self.spec.documents, *self.produced)}
        run = self._run(Work.JUDGE, "").model_copy(update=update)
        opinions = await Review(self, self.crew).opinions(run, team.COUNCIL, self._round)
        if council.accepted(opinions):
            return earned, ()
        return None, council.objections(opinions)

    # Repairing it.

    async def _repair(self, failure: tuple[Feedback, ...], *, gave_up: bool) -> bool:
        """Climb the ladder; False when a person ends the task or nobody answers."""
        rung = self.ladder.climb(gave_up=gave_up)
        self.feedback = failure
        event = RepairChosen(
            sprint=self.spec.sprint,
            task=self.spec.task.id,
            level=rung.level,
            reason=f"{rung.reason}: {_words(failure)}",
        )
        self.note(event, f"repair L{rung.level.value}: {rung.reason}")
        if rung.restart:
            await self._open_workspace(restart=True)
        if rung.level is not Level.PERSON:
            return True
        return await self._ask_for_help(failure)

    async def _ask_for_help(self, failure: tuple[Feedback, ...]) -> bool:
        task = self.spec.task
        decision = await self.ask(
            ApprovalKind.ESCALATION,
            {"task": task.id, "title": task.title, "attempts": self.attempts, "failure": _words(failure)},
            text=f"task {task.id} failed {self.attempts} times: {_words(failure)}",
            on_approve="one more attempt, with your comment as feedback",
            on_reject="the task fails and what depends on it is skipped",
        )
        if decision is None or decision.decision is Answer.REJECT:
            return False
        if decision.comment:
            self.feedback = (*failure, Feedback(source=f"person:{decision.by}", text=decision.comment))
        return True

    # Ending it.

    async def _finish(self, state: TaskState, summary: str) -> TaskReport:
        self.state = state
        report = self._report(state, summary)
        event = TaskFinished(
            sprint=report.sprint,
            task=report.task,
            state=state.value,
            summary=summary,
            attempts=report.attempts,
            repairs=report.repairs,
            commit=report.commit,
            documents={ref.name: ref.digest for ref in report.documents},
        )
        feed = {"type": "task_completed", "sprint": report.sprint, "task": report.task, "agent": report.agent}
        self.note(event, f"{report.task}: {state.value}", {**feed, "role": self.producer.value, "text": state.value})
        await self.finish(_PHASES.get(state, Phase.DONE), summary)
        return report

    def _report(self, state: TaskState, summary: str) -> TaskReport:
        task = self.spec.task
        kept = state is TaskState.ACCEPTED
        return TaskReport(
            task=task.id,
            sprint=self.spec.sprint,
            kind=task.kind,
            title=task.title,
            state=state,
            summary=summary,
            agent=self.agent,
            branch=task_branch(self.project, self.spec.sprint, task.id) if self.commit else None,
            commit=self.commit,
            attempts=self.attempts,
            repairs=self.ladder.climbed,
            documents=self.produced,
            approvals=self.book.answered,
            model_calls=self.tally.model_calls,
            cost_usd=self.tally.cost_usd,
            changed_paths=self.changed_paths if kept else (),
        )


_WRITERS = frozenset({Role.ENGINEER, Role.DEVOPS})
_PHASES = {TaskState.FAILED: Phase.FAILED, TaskState.REFUSED: Phase.FAILED, TaskState.CANCELLED: Phase.CANCELLED}


def _gave_up(outcome: AgentOutcome) -> bool:
    return outcome.kind is OutcomeKind.FINISHED and outcome.result.get("outcome") == "gave_up"


def _named(artifact: ArtifactRef | None) -> tuple[ArtifactRef, ...]:
    return (artifact,) if artifact is not None else ()


def _words(failure: tuple[Feedback, ...]) -> str:
    return messages.bounded("; ".join(f"{item.source}: {item.text}" for item in failure))
