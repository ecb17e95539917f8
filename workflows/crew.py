"""Runs agents for a workflow: through pauses, empty budgets and questions, to an outcome the workflow can judge."""

from __future__ import annotations

from collections.abc import Mapping

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from activities.contracts import AgentActivities
from agents.assignments import Work
from agents.messages import feedback_message
from agents.runs import AgentOutcome, AgentRun, TimeLimits
from agents.topology import TOPOLOGIES, colleagues_of
from ledger.vocabulary import ApprovalKind, OutcomeKind, Role, thread_id
from workflows import options, team
from workflows.controls import FeedbackNote
from workflows.hearing import is_called, said
from workflows.inquiries import question_of
from workflows.lifecycle import Lifecycle
from workflows.people import People
from workflows.stopping import together
from workflows.switchboard import Exchange, Switchboard

STANDSTILLS = 3
"""How often a run may come back paused while nobody paused this workflow, before it counts as failed."""

QUESTIONS = 5
"""How many questions one run may ask a person."""

ASKS = 10
"""How many questions one run may ask its colleagues."""

ON_THEIR_OWN = frozenset({Work.JUDGE, Work.SUPERVISE, Work.MEDIATION, Work.BID})
"""Work that is worth something only when nobody else had a part in it."""


class Crew:
    """The agents at work for one workflow."""

    def __init__(self, life: Lifecycle) -> None:
        self._life = life
        self._people = People(life)
        self.at_work: dict[str, str] = {}
        """Thread -> agent id."""
        self._on_their_own: set[str] = set()
        self.engaged = 0
        """Runs that were begun."""
        self._notes = 0
        self.models: Mapping[str, tuple[str, ...]] = {}
        self.limits = TimeLimits()
        self.roster: tuple[str, ...] = ()
        """Agents of the team, of whom its topology says who may be asked."""
        self.exchange: Exchange = Switchboard(life, self)
        """Where questions to colleagues go."""
        self.questions: set[str] = set()
        """Of the board, that these agents opened or voted on."""

    async def engage(self, run: AgentRun, text: str) -> AgentOutcome:
        """Run one agent until it finishes, refuses, fails or hands over.

        What only needs patience or a person is dealt with here, and the same thread goes on: a pause, an empty budget, a
        question. A failed activity comes back as the outcome `failed`.
        """
        thread = thread_id(run.project, run.sprint, run.task, run.lineage)
        plan = self._life.team
        run = run.model_copy(
            update={
                "guidance": plan.guidance(run.agent, run.role),
                "skills": plan.skills(run.agent),
                "colleagues": self._colleagues(run),
                "limits": self.limits,
                # What a run may call and is offered stays as it was at its beginning.
                "confirm": self._people.confirmed_tools,
                "asks_above_tier": self._life.asks(ApprovalKind.TOOL),
            }
        )
        self.at_work[thread] = run.agent
        if run.work in ON_THEIR_OWN:
            self._on_their_own.add(thread)
        self.engaged += 1
        try:
            return await self._until_decided(run, thread, text)
        finally:
            del self.at_work[thread]
            self._on_their_own.discard(thread)

    def chain_of(self, role: Role) -> tuple[str, ...]:
        """The models of a role."""
        return team.chain_of(self.models, role)

    def _colleagues(self, run: AgentRun) -> tuple[str, ...]:
        if run.work in ON_THEIR_OWN:
            return ()
        return colleagues_of(TOPOLOGIES[self._life.team.topology], run.agent, self.roster)

    def tell(self, note: FeedbackNote) -> bool:
        """Post a person's words to the agents at work, or to the one that is named; False when nobody is told.

        Who judges, mediates or bids is told nothing: its word counts because nobody else had a part in it.
        """
        listening = [
            agent
            for thread, agent in self.at_work.items()
            if thread not in self._on_their_own and (note.agent is None or is_called(agent, note.agent))
        ]
        for agent in dict.fromkeys(listening):
            self.write(agent, note)
        return bool(listening)

    def write(self, agent: str, note: FeedbackNote) -> None:
        """Post a person's words to one agent's inbox; it reads them at its next step."""
        self._notes += 1
        words = said(note)
        key = self._life.recorder.key(f"feedback-{self._notes}-{agent}")
        message = feedback_message(
            id=key, project=self._life.project, target=agent, feedback=words, source=words.source
        )
        self._life.recorder.post(message)

    async def _until_decided(self, run: AgentRun, thread: str, text: str) -> AgentOutcome:
        standstills = questions = asked = 0
        settled: str | None = None
        while True:
            await self._life.clearance()
            raises = self._people.raises
            outcome = await self._once(run, thread, text)
            self._life.tally.count(outcome)
            self.questions.update(outcome.questions)
            self._life.warn(outcome.notices)
            self._life.refresh()
            if outcome.kind is OutcomeKind.PAUSED and standstills < STANDSTILLS:
                standstills += not await self._pause_known()
            elif outcome.kind is OutcomeKind.OVER_BUDGET and run.work is Work.ANSWER:
                return _failed(outcome, "the budget for the answer is spent")
            elif outcome.kind is OutcomeKind.OVER_BUDGET:
                if not await self._people.more_money(run, outcome, raises):
                    return _failed(outcome, "the budget is spent and was not raised")
            elif outcome.call is not None:
                ruling = await self._people.rule(run, outcome.call)
                run = run.model_copy(update={"rulings": (*run.rulings, ruling)})
            elif outcome.kind is OutcomeKind.NEEDS_HUMAN and questions < QUESTIONS:
                questions += 1
                answer = await self._people.answer(run, outcome)
                if answer is None:
                    return _failed(
                        outcome, f"a person was asked and did not help: {outcome.question or outcome.summary}"
                    )
                run = run.model_copy(update={"answer": answer, "answer_to": outcome.question_id})
            elif outcome.kind is OutcomeKind.NEEDS_TEAMMATE and outcome.question_id != settled and asked < ASKS:
                asked += 1
                await self.exchange.serve(question_of(run, outcome))
                settled = outcome.question_id
            elif outcome.kind in (OutcomeKind.PAUSED, OutcomeKind.NEEDS_HUMAN, OutcomeKind.NEEDS_TEAMMATE):
                return _failed(outcome, f"{outcome.kind.value}: {outcome.summary}")
            else:
                return outcome

    async def _once(self, run: AgentRun, thread: str, text: str) -> AgentOutcome:
        try:
            # What is waiting for the ledger goes along instead of holding the agent up.
            work = self._life.call(AgentActivities.agent_run, run, options.AGENT_RUN, text)
            outcome, _ = await together(work, self._life.recorder.flush())
            return outcome
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            failure = error.cause.type if isinstance(error.cause, ApplicationError) else None
            return AgentOutcome(kind=OutcomeKind.FAILED, thread=thread, summary=cause_of(error), failure=failure)

    async def _pause_known(self) -> bool:
        """Whether the pause that an agent met has been told to this workflow too."""
        try:
            await workflow.wait_condition(
                lambda: self._life.paused, timeout=options.PAUSE_NEWS, timeout_summary="news of a pause"
            )
        except TimeoutError:
            return False
        return True


def cause_of(error: BaseException) -> str:
    """The innermost message of a failed activity or child, in one bounded line."""
    while isinstance(error, Exception) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return str(error)[:600]  # of an ApplicationError this begins with its type


def _failed(outcome: AgentOutcome, reason: str) -> AgentOutcome:
    return outcome.model_copy(update={"kind": OutcomeKind.FAILED, "summary": reason})
