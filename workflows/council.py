"""The council's decision from its verdicts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agents.assignments import Feedback, Verdict
from ledger.vocabulary import Answer, Record, Seat

QUORUM = 3
"""Approvals that a change needs from four seats."""


class Opinion(Record):
    """One seat's verdict; None when the judge could not give one, which is no approval."""

    seat: Seat
    judge: str
    verdict: Verdict | None
    trouble: str = ""


def accepted(opinions: Sequence[Opinion], quorum: int = QUORUM) -> bool:
    """Nobody rejects and at least `quorum` approve."""
    answers = [opinion.verdict.verdict for opinion in opinions if opinion.verdict is not None]
    return Answer.REJECT not in answers and answers.count(Answer.APPROVE) >= quorum


def objections(opinions: Sequence[Opinion]) -> tuple[Feedback, ...]:
    """What the author is told: one feedback for each seat that did not approve."""
    told: list[Feedback] = []
    for opinion in opinions:
        if opinion.verdict is None:
            told.append(Feedback(source=f"judge:{opinion.seat.value}", text=f"no verdict: {opinion.trouble}"))
        elif opinion.verdict.verdict is not Answer.APPROVE:
            data = {"verdict": opinion.verdict.verdict.value, "confidence": opinion.verdict.confidence}
            text = "; ".join(opinion.verdict.reasons)
            told.append(Feedback(source=f"judge:{opinion.seat.value}", text=text, data=data))
    return tuple(told)
