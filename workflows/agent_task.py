"""`AgentTask`: one task from an agent's first attempt to an accepted change, a report or an honest end.

choose agent -> open workspace -> run agent -> gates -> council -> accept | repair. Under a sprint the project's store is
open already; alone, with `repository`, the task opens and closes it itself.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RawValue, VersioningBehavior
from temporalio.exceptions import ActivityError

from activities.contracts import OpenWorkspace, Workspace, WorkspaceActivities
from agents.assignments import Feedback
from agents.runs import AgentOutcome, AgentRun
from ledger.events import RepairChosen, TaskFinished
from ledger.vocabulary import (
    Answer,
    ApprovalKind,
    Json,
    Mode,
    OutcomeKind,
    Phase,
    TaskState,
    sprint_workflow_id,
    task_branch,
    task_scope,
)
from workflows import messages, options, team
from workflows.assessing import Assessment, Assessor
from workflows.attempts import Attempts
from workflows.controls import FeedbackNote
from workflows.crew import Crew, cause_of
from workflows.edits import Edit
from workflows.extension import Extension
from workflows.giving_up import give_up
from workflows.handing import Handing
from workflows.hearing import is_called, objection, said
from workflows.intake import Intake
from workflows.repair import Ladder, Level
from workflows.reporting import PHASES, report_of, view_of
from workflows.reports import TaskReport
from workflows.solo import Solo, check_task_spec
from workflows.specs import TaskSpec
from workflows.starting import consent
from workflows.steering import Steered, Steering
from workflows.stopping import CANCELLED, Stopped, to_the_end
from workflows.team_signals import Answered, TeamSignal, Wanted
from workflows.views import TaskView

HANDOVERS = 3
"""How often one task may change hands by the agents' own wish."""


@workflow.defn(name="AgentTask", versioning_behavior=VersioningBehavior.PINNED)
class AgentTask(Intake):
    """One task of a sprint, or one that a person started alone."""

    spec: TaskSpec
    workspace: Workspace

    def __init__(self) -> None:
        super().__init__()
        self.phase = Phase.WORKING
        self.state = TaskState.WAITING
        self.crew = Crew(self)
        self.steering = Steering(self)
        self.result = Assessment()
        self.failure: tuple[Feedback, ...] = ()
        """Why the last attempt failed."""
        self.said: tuple[Feedback, ...] = ()
        """What persons said; every later attempt is told."""
        self.extension: Extension | None = None

    @workflow.run
    @messages.one_raw_argument
    async def run(self, *values: RawValue) -> TaskReport:
        """`TaskSpec -> TaskReport`."""
        spec = self._begin(values)
        try:
            report = await self.supervise(self._work())
        except Stopped as stop:
            report = await self._finish(TaskState.FAILED if stop.abandoned else TaskState.CANCELLED, stop.reason)
        except ActivityError as error:
            report = await self._finish(TaskState.FAILED, cause_of(error))
        if spec.repository is not None:
            await to_the_end(Solo(self, spec).close(report))
        if self.stopping == CANCELLED:
            raise asyncio.CancelledError("the task was cancelled")
        return report

    def _begin(self, values: tuple[RawValue, ...]) -> TaskSpec:
        spec = self.spec = check_task_spec(values, self.workflow_id)
        self.sprint_number = spec.sprint
        self.mode, self.autonomy, self.paused = spec.mode, spec.autonomy, spec.paused
        self.budget_usd, self.budget_tokens = spec.budget_usd, spec.budget_tokens
        self.team = spec.team
        self.approval_ttl = timedelta(minutes=spec.approval_timeout_minutes)
        self.role = spec.task.role.value
        self.ladder = Ladder(len(team.chain_of(spec.models, spec.task.role)))
        self.attempts = Attempts(self, spec.task.role)
        self.state = TaskState.RUNNING
        self._meet_the_team(spec)
        self.open(
            spec.project,
            task_scope(spec.project, spec.sprint, spec.task.id),
            f".g{spec.generation}" if spec.generation > 1 else "",
            spec,
        )
        if spec.repository is not None:
            self.desk.announce()
        self.refresh()
        return spec

    def _meet_the_team(self, spec: TaskSpec) -> None:
        self.crew.models, self.crew.limits = spec.models, spec.limits
        self.handing = Handing(self, self.crew, spec)
        self.crew.roster = spec.colleagues or team.roster(spec.project)
        if spec.repository is None:
            # Questions are the sprint's to settle: it alone sees who waits for whom.
            self.extension = Extension(self, self.crew, sprint_workflow_id(spec.project, spec.sprint))
            self.crew.exchange = self.extension

    # What is shown.

    def tasks(self) -> tuple[TaskView, ...]:
        return (view_of(self),) if self.project else ()

    @property
    def is_part(self) -> bool:
        return self.spec.repository is None

    def concerns(self, task: str) -> bool:
        return task == self.spec.task.id

    def objection_to_mode(self, mode: Mode) -> str | None:
        return None if self.spec.repository is not None else super().objection_to_mode(mode)

    async def take_feedback(self, note: FeedbackNote) -> str | None:
        if note.task not in (None, self.spec.task.id):
            return f"this is task {self.spec.task.id!r}, not {note.task!r}"
        if (why := objection(self.said, note)) is not None:
            return why
        if note.agent is not None and not is_called(self.agent, note.agent):
            return None if self.crew.tell(note) else f"{note.agent!r} is not at work here, {self.agent} is"
        self.crew.tell(note)
        # Whoever makes the next attempt begins with an empty inbox, and nobody may be at work, in an approval for instance.
        self.said = (*self.said, said(note))
        return None

    async def take_edit(self, edit: Edit) -> str | None:
        return await self.steering.take(edit)

    def take_from_team(self, message: TeamSignal) -> str | None:
        if self.extension is not None and isinstance(message, Answered):
            self.extension.answered(message)
        elif self.extension is not None and isinstance(message, Wanted):
            self.extension.wanted(message, self.spec.task.id)
        else:
            return "nothing was asked"
        return None

    @property
    def agent(self) -> str:
        return self.attempts.agent

    # The work.

    async def _work(self) -> TaskReport:
        if self.spec.repository is not None:
            self.spec = await Solo(self, self.spec).open()
            self._meet_the_team(self.spec)
        start = await consent(self, self.spec, self.agent)
        if start.refusal is not None:
            return await self._finish(TaskState.SKIPPED, start.refusal)
        self.said = (*self.said, *start.words)
        await self._open_workspace(restart=self.spec.generation > 1)
        assessor = Assessor(self, self.crew, self.spec)
        while True:
            try:
                end = await self.steering.through(self._round(assessor))
            except Steered:
                await self.steering.turn()
            else:
                if end is not None:
                    return await self._finish(*end)

    async def _round(self, assessor: Assessor) -> tuple[TaskState, str] | None:
        """One attempt and what it is worth: how the task ends with it, None where another one is made."""
        run, outcome = await self.attempts.make()
        if outcome.kind is OutcomeKind.REFUSED:
            return TaskState.REFUSED, outcome.question or outcome.summary
        if outcome.kind is OutcomeKind.HANDOFF and self.attempts.handovers < HANDOVERS:
            await self._hand_over(run, outcome)
            return None
        self.result = await assessor.assess(run, outcome)
        if self.result.state is not None:
            return self.result.state, self.result.reason or outcome.summary
        if self.result.sent_back:
            self.failure = self.result.failure
            return None
        if not await self._repair(self.result.failure, gave_up=_gave_up(outcome)):
            return TaskState.FAILED, _words(self.failure)
        return None

    async def _open_workspace(self, *, restart: bool) -> None:
        spec = self.spec
        branch = task_branch(spec.project, spec.sprint, spec.task.id)
        assert spec.base_commit is not None
        request = OpenWorkspace(project=spec.project, branch=branch, base=spec.base_commit, restart=restart)
        self.workspace = await self.call(WorkspaceActivities.open_workspace, request, options.BRANCH, f"open {branch}")

    def feed(self, event: str, text: str) -> dict[str, Json]:
        spec = self.spec
        role = self.attempts.producer.value
        where: dict[str, Json] = {"sprint": spec.sprint, "task": spec.task.id, "agent": self.agent, "role": role}
        return {"type": event, **where, "text": text}

    async def _hand_over(self, run: AgentRun, outcome: AgentOutcome) -> None:
        taker = await self.handing.taker(run, outcome)
        self.attempts.hand_over(taker)
        self.failure = (*self.failure, Feedback(source="handoff", text=outcome.question or outcome.summary))
        self.handing.announce(run, outcome, self.agent, self.feed("message", f"takes over from {run.agent}"))

    # Repairing it.

    async def _repair(self, failure: tuple[Feedback, ...], *, gave_up: bool) -> bool:
        """Climb the ladder; False when a person ends the task or nobody answers."""
        rung = self.ladder.climb(gave_up=gave_up)
        self.failure = failure
        event = RepairChosen(
            sprint=self.spec.sprint,
            task=self.spec.task.id,
            level=rung.level,
            reason=f"{rung.reason}: {_words(failure)}",
        )
        self.note(event, f"repair L{rung.level.value}: {rung.reason}")
        if rung.restart:
            await self._open_workspace(restart=True)
            self.result = Assessment()
        if rung.level is not Level.PERSON:
            return True
        return await self._ask_for_help(failure)

    async def _ask_for_help(self, failure: tuple[Feedback, ...]) -> bool:
        if not self.asks(ApprovalKind.ESCALATION):
            return False
        task = self.spec.task
        decision = await self.ask(
            ApprovalKind.ESCALATION,
            {"task": task.id, "title": task.title, "attempts": self.attempts.number, "failure": _words(failure)},
            text=f"task {task.id} failed {self.attempts.number} times: {_words(failure)}",
            on_approve="one more attempt, with your comment as feedback",
            on_reject="the task fails and what depends on it is skipped",
        )
        if decision is None or decision.decision is Answer.REJECT:
            return False
        if decision.comment:
            self.said = (*self.said, Feedback(source=f"person:{decision.by}", text=decision.comment))
        return True

    # Ending it.

    async def _finish(self, state: TaskState, summary: str) -> TaskReport:
        self.state = state
        if state is TaskState.CANCELLED:
            await to_the_end(give_up(self, summary))
        report = report_of(self, state, summary)
        event = TaskFinished(
            sprint=report.sprint,
            task=report.task,
            state=state.value,
            summary=summary,
            attempts=report.attempts,
            repairs=report.repairs,
            commit=report.commit,
            documents={ref.name: ref.digest for ref in report.documents},
            agent=self.agent,
        )
        self.note(event, f"{report.task}: {state.value}", self.feed("task_completed", state.value))
        await self.finish(PHASES.get(state, Phase.DONE), summary)
        return report


def _gave_up(outcome: AgentOutcome) -> bool:
    return outcome.kind is OutcomeKind.FINISHED and outcome.result.get("outcome") == "gave_up"


def _words(failure: tuple[Feedback, ...]) -> str:
    return messages.bounded("; ".join(f"{item.source}: {item.text}" for item in failure))
