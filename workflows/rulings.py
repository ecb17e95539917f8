"""What becomes of a decision. Pure."""

from __future__ import annotations

from ledger.vocabulary import Record
from workflows.approval_models import ApprovalView, Decision, DecisionEffect, Vote


class Ruling(Record):
    """What became of one decision. `first` is False when the same decision id had been ruled on before."""

    answer: DecisionEffect
    approval: ApprovalView | None = None
    first: bool = True
    vote: Vote | None = None

    @property
    def accepted(self) -> bool:
        return self.answer.effect is not None


def refused(reason: str, view: ApprovalView | None = None) -> Ruling:
    """The ruling on a decision that does not count."""
    return Ruling(answer=DecisionEffect(refusal=reason), approval=view)


def joined(decision: Decision, votes: tuple[Vote, ...]) -> Decision:
    """What several persons decided together; each of them signed their own part."""
    agreed = [vote for vote in votes if vote.decision is decision.decision]
    comments = [f"{vote.by}: {vote.comment}" for vote in agreed if vote.comment]
    return decision.model_copy(
        update={"by": ", ".join(vote.by for vote in agreed), "comment": "\n".join(comments)}
    )  # fmt: skip
