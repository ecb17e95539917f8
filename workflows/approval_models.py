"""Requests and decisions as they travel: what queries show, what `decide` and `decide_now` take and answer."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from ledger.vocabulary import Answer, ApprovalKind, Brief, Json, Money, OnExpiry, Record, Risk, Tokens


class Vote(Record):
    """One decision that counted towards a request."""

    by: str
    decision: Answer
    at: datetime
    key: str | None = None
    """Id of the key that signed it; None: `by` is a claim."""
    comment: str = ""
    budget_usd: Money | None = None
    budget_tokens: int | None = None

    @property
    def verified(self) -> bool:
        return self.key is not None


class ApprovalView(Record):
    """One request for a decision, as queries, memo and inbox show it."""

    id: str
    kind: ApprovalKind
    digest: str
    """SHA-256 of the canonical JSON of `subject`."""
    subject: dict[str, Json]
    summary: str
    on_approve: str
    on_reject: str
    on_revise: str = ""
    workflow_id: str
    requested_at: datetime
    expires_at: datetime
    state: str = "open"
    """`open`, `approved`, `rejected`, `revised`, `expired`, or `continued`: expired, and the work went on by policy."""
    decided_by: str | None = None
    """A claim unless `decided_key` is given: whoever can reach the namespace can use any name."""
    decided_key: str | None = None
    """Id of the key that verified the decision."""
    comment: str = ""
    risk: Risk = Risk.MEDIUM
    who: tuple[str, ...] = ()
    """Who may answer; empty: everyone, and where `signed` every approver of the kind."""
    quorum: int = 1
    """How many different verified persons must approve."""
    signed: bool = False
    """Whether only signed decisions count."""
    bound: bool = False
    """Whether a decision must carry the digest."""
    producers: tuple[str, ...] = ()
    """Who proposed or produced it and may not answer."""
    reminders: tuple[datetime, ...] = ()
    """When it will be called to mind."""
    reminded: int = 0
    """How often it was."""
    on_expiry: OnExpiry = OnExpiry.REJECT
    then: tuple[str, ...] = ()
    """Who is asked next where `on_expiry` is `escalate`; empty once they are asked."""
    votes: tuple[Vote, ...] = ()
    """Decisions so far."""
    consumed: str | None = None
    """The work that was scheduled on the word of the decision; None while there is none."""


class Answering(Brief):
    """What a decision about one request and one about all of a kind have in common."""

    decision: Answer
    by: str = Field(min_length=1, max_length=200)
    comment: str = Field(default="", max_length=20_000)
    id: str | None = Field(default=None, max_length=200)
    """Makes the decision idempotent; a second decision with the same id is the first one again."""
    budget_usd: Money | None = None
    """For requests of kind budget: the new limit."""
    budget_tokens: Tokens | None = None
    """For requests of kind budget, also beside or instead of dollars: the new limit of tokens."""


class Decision(Answering):
    """Payload of the signal `decide` and the update `decide_now`."""

    approval: str
    """Id of the request."""
    digest: str | None = None
    """Refused when it is given and differs from the request's."""
    signature: str | None = Field(default=None, max_length=100_000)
    """Compact JWS (Ed25519) over everything that acts."""

    @property
    def signer(self) -> str:
        """Who decided as people may be told; a signature that does not fit is refused, so it is verified where it counts."""
        return f"{self.by} ({'claimed' if self.signature is None else 'verified'})"


class BatchDecision(Answering):
    """Payload of `decide` about every open request of a kind, wherever a batch of signals reaches."""

    all_of: ApprovalKind


class DecisionEffect(Record):
    """Answer of the update `decide_now`: exactly one of the two is set."""

    effect: str | None = None
    refusal: str | None = None
