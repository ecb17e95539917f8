"""Questions of the board: decided by the project's rule, and by a mediator where the votes alone cannot."""

from __future__ import annotations

from pydantic import ValidationError

from activities.team_contracts import (
    AskQuestions,
    CloseQuestion,
    OpenQuestions,
    QuestionClosed,
    TeamActivities,
)
from agents.assignments import Mediation, Work
from agents.consensus import Outcome, State, weigh
from agents.runs import AgentOutcome, AgentRun
from ledger.events import QuestionDecided
from ledger.teamwork import AgentFacts, BoardStatus, Question, Verdict
from ledger.vocabulary import Json, OutcomeKind, Role, sprint_branch
from workflows import options, team
from workflows.crew import Crew
from workflows.lifecycle import Lifecycle
from workflows.specs import SprintSpec

ROUNDS = 5
"""How often a question is looked at again because votes came in meanwhile."""


class Questions:
    """Settles what the agents of one sprint asked each other to vote on."""

    def __init__(self, life: Lifecycle, crew: Crew, spec: SprintSpec, head: str) -> None:
        self._life = life
        self._crew = crew
        self._spec = spec
        self._head = head

    async def settle(self, names: tuple[str, ...]) -> None:
        """Decide what can be decided. A question with too few votes stays open: the next sprint may vote on."""
        waiting = tuple(sorted(set(names)))
        for _ in range(ROUNDS):
            if not waiting:
                return
            waiting = await self._round(waiting)

    async def _round(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """One look at each; returns those on which votes came in meanwhile."""
        request = AskQuestions(project=self._spec.project, names=names)
        found: OpenQuestions = await self._life.call(
            TeamActivities.read_questions, request, options.RECORD, f"questions of the board: {', '.join(names)}"
        )
        again: list[str] = []
        for question in found.questions:
            if await self._decide(question, found.facts) is BoardStatus.CONFLICT:
                again.append(question.entry.name)
        return tuple(again)

    async def _decide(self, question: Question, facts: tuple[AgentFacts, ...]) -> BoardStatus | None:
        outcome = weigh(self._spec.team.consensus, question, facts)
        if outcome.state is State.DECIDED:
            verdict = self._verdict(question, outcome)
        elif outcome.wants_mediator:
            verdict = await self._mediated(question, outcome)
        else:
            verdict = None
        if verdict is None:
            self._life.remark(f"the question {question.entry.name} stays open: {outcome.state.value}")
            return None
        return await self._close(question, verdict)

    def _verdict(self, question: Question, outcome: Outcome) -> Verdict:
        rule = self._spec.team.consensus
        return Verdict(
            question=question.entry.name,
            task=question.entry.task,
            version=question.entry.version,
            choice=outcome.choice,
            how=rule.kind.value,
            reasoning=f"{len(question.votes)} votes, {outcome.confidence} % sure",
            decided_by="vote",
            counts=outcome.counts,
        )

    async def _mediated(self, question: Question, outcome: Outcome) -> Verdict | None:
        """The mediator's choice; None where it gave none that is an option."""
        self._life.remark(f"a mediator is called for {question.entry.name}: the votes are {outcome.state.value}")
        run = self._mediator(question, outcome)
        answer = await self._crew.engage(run, f"mediate {question.entry.name}")
        choice = _choice(answer, question)
        if choice is None:
            return None
        return self._verdict(question, outcome).model_copy(
            update={
                "choice": choice.choice,
                "how": "mediator",
                "reasoning": choice.reasoning,
                "decided_by": run.agent,
            }
        )

    def _mediator(self, question: Question, outcome: Outcome) -> AgentRun:
        spec, entry = self._spec, question.entry
        votes: list[Json] = [
            vote.model_dump(mode="json", include={"agent", "choice", "reasoning", "confidence"})
            for vote in question.votes
        ]
        # A mediator who voted is no mediator: the project manager's relief has no hand in the sprint's tasks.
        agent = team.agent_id(spec.project, Role.PROJECT_MANAGER, spec.sprint, 1)
        return AgentRun(
            project=spec.project,
            sprint=spec.sprint,
            task="sprint",
            lineage=f"mediator-{team.place_of(f'{entry.task}/{entry.name}'):08x}-{entry.version}.{question.seen}",
            role=Role.PROJECT_MANAGER,
            agent=agent,
            work=Work.MEDIATION,
            goal=spec.goal,
            title=f"Question {entry.name}",
            instructions=entry.text,
            params={"options": list(entry.options), "votes": votes, "state": outcome.state.value},
            chain=team.chain_of(spec.models, Role.PROJECT_MANAGER),
            branch=sprint_branch(spec.project, spec.sprint),
            base_commit=self._head,
            baseline=spec.baseline,
            max_steps=spec.max_steps,
            budget_scope=self._life.subject,
        )

    async def _close(self, question: Question, verdict: Verdict) -> BoardStatus:
        request = CloseQuestion(project=self._spec.project, verdict=verdict, seen=question.seen)
        closed: QuestionClosed = await self._life.call(
            TeamActivities.close_question, request, options.RECORD, f"{question.entry.name}: {verdict.choice}"
        )
        if closed.status is BoardStatus.OK:
            event = QuestionDecided(
                sprint=self._spec.sprint,
                question=verdict.question,
                task=verdict.task,
                version=verdict.version,
                choice=verdict.choice,
                how=verdict.how,
                decided_by=verdict.decided_by,
                votes={vote.agent: vote.choice for vote in question.votes},
            )
            self._life.note(event, f"{verdict.question}: {verdict.choice} ({verdict.how})")
        return closed.status


def _choice(answer: AgentOutcome, question: Question) -> Mediation | None:
    if answer.kind is not OutcomeKind.FINISHED:
        return None
    try:
        choice = Mediation.model_validate(answer.result)
    except ValidationError:
        return None
    return choice if choice.choice in question.entry.options else None
