"""Requests for decisions, their answers, and messages that reached a workflow."""

from __future__ import annotations

from datetime import datetime

from ledger.events.base import Event
from ledger.vocabulary import Json


class ApproversNamed(Event):
    """The rules by which a project's decisions count: who may decide, with their public keys."""

    kind = "approvers_named"
    workflow_id: str
    approvers: tuple[dict[str, Json], ...]
    """`name`, `key` (public JWK), `key_id` (its thumbprint) and `kinds` of each."""
    rules: dict[str, dict[str, Json]] = {}
    """Kind of request -> its rules, as the brief has them."""


class ApprovalRequested(Event):
    kind = "approval_requested"
    added = frozenset({"risk", "expires_at", "terms"})
    workflow_id: str
    approval: str
    approval_kind: str
    digest: str
    summary: str
    risk: str | None = None
    expires_at: datetime | None = None
    terms: dict[str, Json] | None = None
    """Who may answer, and how, where rules apply."""


class ApprovalReminded(Event):
    """Nobody has answered yet."""

    kind = "approval_reminded"
    workflow_id: str
    approval: str
    approval_kind: str
    number: int
    expires_at: datetime


class ApprovalEscalated(Event):
    """Nobody answered in time, and others are asked."""

    kind = "approval_escalated"
    workflow_id: str
    approval: str
    approval_kind: str
    who: tuple[str, ...]
    expires_at: datetime


class DecisionMade(Event):
    kind = "decision_made"
    added = frozenset({"decision_id", "key_id", "signature", "state"})
    workflow_id: str
    approval: str
    approval_kind: str
    decision: str
    claimed_by: str
    """A claim unless `key_id` is given."""
    digest: str
    comment: str = ""
    channel: str = "signal"
    decision_id: str | None = None
    key_id: str | None = None
    """The approver's key that verified it."""
    signature: str | None = None
    """Compact JWS over everything that acts."""
    state: str | None = None
    """Of the request afterwards, where it is still open: more must agree."""


class DecisionRepeated(Event):
    """A decision came again under the same id; it acted the first time, or was refused then, and does nothing now."""

    kind = "decision_repeated"
    workflow_id: str
    decision_id: str
    claimed_by: str
    channel: str = "signal"


class DecisionConsumed(Event):
    """The work that a decision unblocked has been scheduled."""

    kind = "decision_consumed"
    workflow_id: str
    approval: str
    by: str
    work: str


class ApprovalExpired(Event):
    kind = "approval_expired"
    added = frozenset({"outcome"})
    workflow_id: str
    approval: str
    approval_kind: str
    outcome: str | None = None
    """`continue` where the rules let the work go on, `withdrawn` where it ended; absent: it counts as rejected."""


class MessageRefused(Event):
    """A signal or update that was not applied."""

    kind = "message_refused"
    workflow_id: str
    message: str
    reason: str
    sender: str | None = None


class MessageApplied(Event):
    """Pause, resume, feedback, a change of autonomy."""

    kind = "message_applied"
    workflow_id: str
    message: str
    claimed_by: str
    text: str = ""
