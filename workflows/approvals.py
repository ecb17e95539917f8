"""Requests for a decision and their answers: pure logic, no clock of its own.

A decision is bound to the digest of what was shown, expires, counts once and is refused with a reason when it is stale.
Who decided is a claim: whoever can reach the namespace can sign with any name.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from ledger.chain import digest
from ledger.vocabulary import Answer, ApprovalKind, Exceeded, Json, Record, Risk
from workflows.approval_models import ApprovalView, Decision, DecisionEffect

STATES = {Answer.APPROVE: "approved", Answer.REJECT: "rejected", Answer.REVISE: "revised"}


RISKS = {
    ApprovalKind.TASK: Risk.LOW,
    ApprovalKind.QUESTION: Risk.LOW,
    ApprovalKind.REVIEW: Risk.LOW,
    ApprovalKind.TOOL: Risk.HIGH,
    ApprovalKind.MERGE: Risk.HIGH,
    ApprovalKind.MILESTONE: Risk.HIGH,
    ApprovalKind.BUDGET: Risk.HIGH,
}
"""What is usually at stake; everything else is of medium risk."""


class Ruling(Record):
    """What became of one decision. `first` is False when the same decision id had been ruled on before."""

    answer: DecisionEffect
    approval: ApprovalView | None = None
    first: bool = True

    @property
    def accepted(self) -> bool:
        return self.answer.effect is not None


class ApprovalBook:
    """The approvals of one workflow run, open and decided, in the order of their requests.

    Args:
        workflow_id: where decisions must be sent.
        label: begins the ids, which are unique among all workflows, also among runs under the same workflow id.
    """

    def __init__(self, workflow_id: str, label: str = "") -> None:
        self._workflow_id = workflow_id
        self._label = label
        self._requests: dict[str, ApprovalView] = {}
        self._decisions: dict[str, Decision] = {}
        self._ruled: dict[str, Ruling] = {}

    @property
    def open(self) -> tuple[ApprovalView, ...]:
        return tuple(request for request in self._requests.values() if request.state == "open")

    @property
    def decided(self) -> tuple[ApprovalView, ...]:
        return tuple(request for request in self._requests.values() if request.state != "open")

    @property
    def answered(self) -> int:
        """How many requests a person answered."""
        return len(self._decisions)

    def request(
        self,
        kind: ApprovalKind,
        subject: Mapping[str, Json],
        *,
        summary: str,
        on_approve: str,
        on_reject: str,
        on_revise: str = "",
        risk: Risk | None = None,
        producers: tuple[str, ...] = (),
        now: datetime,
        ttl: timedelta,
    ) -> ApprovalView:
        """Open a request for a decision about `subject`, which expires `ttl` after `now`."""
        number = 1 + sum(request.kind == kind for request in self._requests.values())
        view = ApprovalView(
            id=f"{self._label}{kind.value}-{number}",
            kind=kind,
            digest=digest(dict(subject)),
            subject=dict(subject),
            summary=summary,
            on_approve=on_approve,
            on_reject=on_reject,
            on_revise=on_revise,
            risk=risk or RISKS.get(kind, Risk.MEDIUM),
            producers=producers,
            workflow_id=self._workflow_id,
            requested_at=now,
            expires_at=now + ttl,
        )
        self._requests[view.id] = view
        return view

    def decide(self, decision: Decision, now: datetime) -> Ruling:
        """Apply a decision or say why not; never raises."""
        if decision.id is not None and decision.id in self._ruled:
            return self._ruled[decision.id].model_copy(update={"first": False})
        ruling = self._rule(decision, now)
        if decision.id is not None:
            self._ruled[decision.id] = ruling
        return ruling

    def decision(self, approval: str) -> Decision | None:
        """The decision that counted, None while it is open or when it expired."""
        return self._decisions.get(approval)

    def settled(self, approval: str) -> bool:
        return self._requests[approval].state != "open"

    def expire(self, approval: str) -> ApprovalView:
        """End a request without an answer; one that is settled stays as it is."""
        view = self._requests[approval]
        if view.state == "open":
            view = self._requests[approval] = view.model_copy(update={"state": "expired"})
        return view

    def withdraw(self) -> None:
        """End all open requests: the workflow stops and nobody waits for an answer."""
        for view in self.open:
            self.expire(view.id)

    def _rule(self, decision: Decision, now: datetime) -> Ruling:
        view = self._requests.get(decision.approval)
        if view is None:
            return _refused(f"there is no approval {decision.approval!r} in {self._workflow_id}{self._hint()}")
        reason = _objection(view, decision, now)
        if reason is not None:
            return _refused(reason, view)
        view = view.model_copy(
            update={
                "state": STATES[decision.decision],
                "decided_by": decision.by,
                "comment": decision.comment,
            }
        )
        self._requests[view.id] = view
        self._decisions[view.id] = decision
        return Ruling(answer=DecisionEffect(effect=f"{view.id} {view.state}"), approval=view)

    def _hint(self) -> str:
        waiting = ", ".join(view.id for view in self.open)
        return f"; open: {waiting}" if waiting else "; nothing is open"


def _refused(reason: str, view: ApprovalView | None = None) -> Ruling:
    return Ruling(answer=DecisionEffect(refusal=reason), approval=view)


def _objection(view: ApprovalView, decision: Decision, now: datetime) -> str | None:
    if view.state != "open":
        return f"{view.id} is {view.state} already"
    if now >= view.expires_at:
        return f"{view.id} expired at {view.expires_at.isoformat()}"
    if decision.digest is not None and decision.digest != view.digest:
        return f"{view.id} is about {view.digest}, the decision about {decision.digest}: what was shown has changed"
    if decision.decision is Answer.REVISE and not decision.comment.strip():
        return "revise needs a comment that says what to change"
    if view.kind is ApprovalKind.BUDGET:
        return _budget_objection(view, decision)
    return None


def _budget_objection(view: ApprovalView, decision: Decision) -> str | None:
    """Each limit that is given must be more than the present one, and the one that was met must be given."""
    if decision.decision is Answer.REVISE:
        return "a budget request can be approved with budget_usd or rejected"
    if decision.decision is Answer.REJECT:
        return None
    usd, tokens = view.subject.get("limit_usd"), view.subject.get("limit_tokens")
    met = view.subject.get("exceeded")
    if met == Exceeded.TOKENS and decision.budget_tokens is None:
        return f"the limit of {tokens} tokens was met: approving needs budget_tokens, the new limit"
    if decision.budget_usd is None and (met == Exceeded.USD or tokens is None or decision.budget_tokens is None):
        return "approving a budget request needs budget_usd, the new limit"
    for name, limit, new in (
        ("budget_usd", usd, decision.budget_usd),
        ("budget_tokens", tokens, decision.budget_tokens),
    ):
        if limit is not None and new is not None and new <= Decimal(str(limit)):
            return f"{name} must be more than the present limit of {limit}"
    return None
