"""Asks judges: runs seats side by side and turns what comes back into opinions on the record."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from agents.assignments import Verdict, Work
from agents.runs import AgentRun
from ledger.events import VerdictGiven
from ledger.vocabulary import OutcomeKind, Role, Seat
from workflows import messages, team
from workflows.council import Opinion
from workflows.crew import Crew
from workflows.lifecycle import Lifecycle
from workflows.stopping import together


class Review:
    """The judges of one workflow. Their agents hold no other role, so that the producer never judges."""

    def __init__(self, life: Lifecycle, crew: Crew) -> None:
        self._life = life
        self._crew = crew

    async def opinions(self, run: AgentRun, seats: Sequence[Seat], lineage: str) -> list[Opinion]:
        """One opinion a seat on what `run` describes; `lineage` tells rounds of review apart."""
        opinions: list[Opinion] = await together(*(self._opinion(run, seat, lineage) for seat in seats))
        for opinion in opinions:
            self._note(run, opinion)
        return opinions

    async def _opinion(self, run: AgentRun, seat: Seat, lineage: str) -> Opinion:
        judge = team.judge_id(run.project, seat)
        run = run.model_copy(
            update={
                "lineage": f"judge-{seat.value}-{lineage}",
                "role": Role.JUDGE,
                "agent": judge,
                "seat": seat,
                "work": Work.JUDGE,
                "feedback": (),
                "chain_offset": 0,
            }
        )
        outcome = await self._crew.engage(run, f"judge ({seat.value}) {run.task}")
        if outcome.kind is not OutcomeKind.FINISHED:
            return Opinion(seat=seat, judge=judge, verdict=None, trouble=outcome.summary)
        try:
            return Opinion(seat=seat, judge=judge, verdict=Verdict.model_validate(outcome.result))
        except ValidationError as error:
            return Opinion(seat=seat, judge=judge, verdict=None, trouble=messages.faults(error))

    def _note(self, run: AgentRun, opinion: Opinion) -> None:
        verdict = opinion.verdict
        answer = verdict.verdict.value if verdict else "none"
        event = VerdictGiven(
            sprint=run.sprint,
            task=run.task,
            attempt=run.attempt,
            seat=opinion.seat.value,
            verdict=answer,
            confidence=verdict.confidence if verdict else 0.0,
            reasons=verdict.reasons if verdict else (opinion.trouble,),
            judge=opinion.judge,
        )
        self._life.note(event, f"judge {opinion.seat.value}: {answer}")
