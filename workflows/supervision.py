"""The project manager of a team at work: called for circles, silence and tasks that need another hand; else a person."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from agents.assignments import Supervision, Work
from agents.messages import SYSTEM
from agents.runs import AgentOutcome, AgentRun
from agents.situations import OpenQuestion, Situation, Trouble
from ledger.events import TeamSupervised
from ledger.vocabulary import Answer, ApprovalKind, OutcomeKind, Record, Role
from workflows import messages, team
from workflows.lifecycle import Lifecycle
from workflows.working import Engages

TEAM = "team"
"""Stands for a task in the threads of runs that concern several."""

WORDS = {
    Trouble.CYCLE: "Agents wait for each other, so that none of them goes on.",
    Trouble.TIMEOUT: "A colleague has not answered in time.",
    Trouble.HANDOVER: "An agent gives its task away.",
}

UNHELPED = "Nobody can answer this. Go on with what you know, and name your assumption in the result."


class Settled(Record):
    """What an asker is told, by whom, and how it came to that."""

    by: str
    how: str
    """`colleague`, `supervisor`, `person` or `unanswered`."""
    text: str


class Supervisor:
    """Calls the project manager for one workflow."""

    def __init__(self, life: Lifecycle, crew: Engages, task: str = TEAM, generation: str = "") -> None:
        self._life = life
        self._crew = crew
        self._task = task
        self._lineage = f"{Role.PROJECT_MANAGER.value}-{generation}"
        self._called = 0

    async def rule(self, situation: Situation, asker: AgentRun) -> dict[str, Settled]:
        """Settle at least one of the situation's questions; `asker` is a run that it is about."""
        run = self._run(situation, asker)
        outcome = await self._crew.engage(run, f"project manager: {WORDS[situation.trouble]}")
        decided = _decided(outcome)
        ids = {question.id for question in situation.questions}
        rulings = [ruling for ruling in decided.rulings if ruling.question in ids] if decided else []
        if decided is None or not rulings:
            return await self._person(situation, outcome.summary)
        self._note(situation, run.agent, decided.summary, [ruling.question for ruling in rulings])
        return {
            ruling.question: Settled(by=run.agent, how="supervisor", text=ruling.answer) for ruling in rulings
        }  # fmt: skip

    async def taker(self, situation: Situation, giver: AgentRun) -> Role | None:
        """Who takes a task over; None where the project manager does not say."""
        run = self._run(situation, giver)
        decided = _decided(await self._crew.engage(run, f"project manager: who takes {situation.task}"))
        roles = [given.role for given in decided.handovers if given.role in situation.candidates] if decided else []
        if decided is not None:
            self._note(situation, run.agent, decided.summary, [])
        return roles[0] if roles else None

    async def _person(self, situation: Situation, why: str) -> dict[str, Settled]:
        first = situation.questions[0]
        if not self._life.asks(ApprovalKind.ESCALATION):
            return {first.id: Settled(by=SYSTEM, how="unanswered", text=UNHELPED)}
        decision = await self._life.ask(
            ApprovalKind.ESCALATION,
            {"situation": situation.model_dump(mode="json"), "project_manager": why},
            text=f"{_waits(situation.questions)}: {first.text}",
            on_approve=f"your comment is the answer to {first.asker}",
            on_reject=f"{first.asker} goes on without an answer",
        )
        if decision is None or decision.decision is Answer.REJECT or not decision.comment:
            by = SYSTEM if decision is None else f"person:{decision.by}"
            return {first.id: Settled(by=by, how="unanswered", text=UNHELPED)}
        return {first.id: Settled(by=f"person:{decision.by}", how="person", text=decision.comment)}

    def _run(self, situation: Situation, about: AgentRun) -> AgentRun:
        self._called += 1
        role = Role.PROJECT_MANAGER
        return about.model_copy(
            update={
                "task": self._task,
                "lineage": f"{self._lineage}{self._called}",
                "role": role,
                "agent": team.agent_id(about.project, role, 0),
                "seat": None,
                "work": Work.SUPERVISE,
                "title": WORDS[situation.trouble],
                "instructions": WORDS[situation.trouble],
                "acceptance": (),
                "params": {"situation": situation.model_dump(mode="json")},
                "chain": self._crew.chain_of(role),
                "chain_offset": 0,
                "feedback": (),
                "attempt": 1,
                "budget_scope": self._life.subject,
                "answer": None,
                "answer_to": None,
            }
        )

    def _note(self, situation: Situation, by: str, text: str, questions: Sequence[str]) -> None:
        event = TeamSupervised(trouble=situation.trouble.value, by=by, summary=text, questions=tuple(questions))
        feed = {"type": "message", "agent": by, "role": Role.PROJECT_MANAGER.value, "text": messages.bounded(text)}
        self._life.note(event, f"project manager: {text}", feed)


def _decided(outcome: AgentOutcome) -> Supervision | None:
    if outcome.kind is not OutcomeKind.FINISHED:
        return None
    try:
        return Supervision.model_validate(outcome.result)
    except ValidationError:
        return None


def _waits(questions: tuple[OpenQuestion, ...]) -> str:
    return "; ".join(f"{question.asker} waits for {question.to}" for question in questions)
