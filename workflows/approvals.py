"""Requests for a decision and their answers: pure logic, no clock of its own.

A decision is bound to the digest of what was shown, expires, counts once and is refused with a reason when it is stale.
Who decided is proven by a signature alone: whoever can reach the namespace can use any name.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from ledger.chain import digest
from ledger.vocabulary import Answer, ApprovalKind, Json, OnExpiry, Risk
from workflows.approval_models import ApprovalView, BatchDecision, Decision, DecisionEffect, Vote
from workflows.entitlement import PERSON, RISKS, Entitlement, Refused
from workflows.expiry import escalated, reminders
from workflows.objections import check_content
from workflows.rulings import Ruling, joined, refused

STATES = {Answer.APPROVE: "approved", Answer.REJECT: "rejected", Answer.REVISE: "revised"}

POLICY = "policy"
"""Decides where nobody answered and the rules let the work go on."""


class ApprovalBook:
    """The approvals of one workflow run, open and decided, in the order of their requests.

    Args:
        workflow_id: where decisions must be sent.
        label: begins the ids, which are unique among all workflows, also among runs under the same workflow id.
        project: what signatures name.
        entitlement: whose decisions count, by kind.
    """

    def __init__(
        self, workflow_id: str, label: str = "", project: str = "", entitlement: Entitlement | None = None
    ) -> None:
        self._workflow_id = workflow_id
        self._label = label
        self._project = project
        self.entitlement = entitlement or Entitlement()
        self._requests: dict[str, ApprovalView] = {}
        self._decisions: dict[str, Decision] = {}
        self._ruled: dict[str, tuple[str, Ruling]] = {}

    @property
    def open(self) -> tuple[ApprovalView, ...]:
        return tuple(request for request in self._requests.values() if request.state == "open")

    @property
    def decided(self) -> tuple[ApprovalView, ...]:
        return tuple(request for request in self._requests.values() if request.state != "open")

    @property
    def answered(self) -> int:
        """How many requests persons answered."""
        return sum(request.state in STATES.values() for request in self._requests.values())

    def knows(self, approval: str) -> bool:
        """Whether there is, or was, a request of that id."""
        return approval in self._requests

    def expects(self, decision: Decision) -> bool:
        """Whether it may be about the next request of a kind, as it will be or was before a reset.

        Only one that says by its digest what it is about: nobody approves what they could not see.
        """
        label, _, number = decision.approval.rpartition("-")
        kind = label.removeprefix(self._label)
        asked = sum(request.kind == kind for request in self._requests.values())
        return (
            decision.digest is not None
            and kind in set(ApprovalKind)
            and decision.approval == f"{self._label}{kind}-{number}"
            and number == str(asked + 1)
        )

    def view(self, approval: str) -> ApprovalView:
        """The request as it stands now."""
        return self._requests[approval]

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
        strict: bool = False,
    ) -> ApprovalView:
        """Open a request for a decision about `subject`, which expires `ttl` after `now` unless rules say otherwise."""
        number = 1 + sum(request.kind == kind for request in self._requests.values())
        rules = self.entitlement.rules(kind)
        keys = self.entitlement.demands_keys(kind)
        risk = risk or RISKS.get(kind, Risk.MEDIUM)
        ttl = ttl if rules.expires_h is None else timedelta(hours=rules.expires_h)
        stops = rules.on_expiry is OnExpiry.CONTINUE and (strict or risk is not Risk.LOW)
        view = ApprovalView(
            id=f"{self._label}{kind.value}-{number}",
            kind=kind,
            digest=digest(dict(subject)),
            subject=dict(subject),
            summary=summary,
            on_approve=on_approve,
            on_reject=on_reject,
            on_revise=on_revise,
            workflow_id=self._workflow_id,
            requested_at=now,
            expires_at=now + ttl,
            risk=risk,
            who=rules.who,
            quorum=rules.quorum,
            signed=keys,
            bound=rules.bound or keys or strict,
            producers=tuple(name for name in producers if rules.separate or not name.startswith(PERSON)),
            reminders=reminders(rules, now, ttl),
            on_expiry=OnExpiry.REJECT if stops else rules.on_expiry,
            then=rules.then,
        )
        self._requests[view.id] = view
        return view

    # Decisions.

    def decide(self, decision: Decision, now: datetime, *, strict: bool = False) -> Ruling:
        """Apply a decision or say why not; never raises. `strict`: it must carry the digest whatever the rules say."""
        if (earlier := self._earlier(decision)) is not None:
            return earlier
        return self._remember(decision, self._rule(decision, now, strict))

    def decide_all(self, batch: BatchDecision, now: datetime, *, strict: bool = False) -> list[tuple[Decision, Ruling]]:
        """Decide about every open request of a kind; each pair is one decision as it counts and what became of it.

        Refused as a whole, with one pair, where nothing of the kind is open, and where decisions must name what they are
        about: a batch names nothing.
        """
        decision = Decision(approval="", **batch.model_dump(exclude={"all_of"}))
        if (earlier := self._earlier(batch)) is not None:
            return [(decision, earlier)]
        views = [view for view in self.open if view.kind is batch.all_of]
        if reason := self._objection_to_batch(batch, views, strict):
            return [(decision, self._remember(batch, refused(reason)))]
        pairs: list[tuple[Decision, Ruling]] = []
        for view in views:
            one = decision.model_copy(update={"approval": view.id, "id": None})
            pairs.append((one, self._rule(one, now, strict)))
        effects = "; ".join(ruling.answer.effect or ruling.answer.refusal or "" for _, ruling in pairs)
        self._remember(batch, Ruling(answer=DecisionEffect(effect=effects)))
        return pairs

    def _objection_to_batch(self, batch: BatchDecision, views: list[ApprovalView], strict: bool) -> str | None:
        kind = batch.all_of
        rules = self.entitlement.rules(kind)
        if strict or rules.bound or self.entitlement.demands_keys(kind) or any(view.bound for view in views):
            why = "in strict mode" if strict else f"about {kind.value}"
            return f"a decision {why} names one request and its digest; a batch names neither"
        if not views:
            return f"no request of kind {kind.value} is open in {self._workflow_id}{self._hint()}"
        return None

    def _earlier(self, message: Decision | BatchDecision) -> Ruling | None:
        if message.id is None or message.id not in self._ruled:
            return None
        content, ruling = self._ruled[message.id]
        if content == digest(message.model_dump()):
            return ruling.model_copy(update={"first": False})
        return refused(f"the decision id {message.id[:60]!r} was used for another decision; take a new one")

    def _remember(self, message: Decision | BatchDecision, ruling: Ruling) -> Ruling:
        if message.id is not None:
            self._ruled[message.id] = (digest(message.model_dump()), ruling)
        return ruling

    def _rule(self, decision: Decision, now: datetime, strict: bool) -> Ruling:
        view = self._requests.get(decision.approval)
        if view is None:
            return refused(
                f"there is no approval {decision.approval[:80]!r} in {self._workflow_id}{self._hint()}"
            )  # fmt: skip
        try:
            self._check(view, decision, now, strict)
            key = self.entitlement.verified(view, decision, self._project, now)
            check_content(view, decision, key)
        except Refused as reason:
            return refused(str(reason), view)
        return self._count(view, decision, now, key)

    def _check(self, view: ApprovalView, decision: Decision, now: datetime, strict: bool) -> None:
        if view.state != "open":
            raise Refused(f"{view.id} is {view.state} already")
        if now >= view.expires_at:
            raise Refused(f"{view.id} expired at {view.expires_at.isoformat()}")
        if decision.digest is not None and decision.digest != view.digest:
            raise Refused(
                f"{view.id} is about {view.digest}, the decision about {decision.digest[:80]}: what was shown has changed"
            )
        if decision.digest is None and decision.signature is None and (view.bound or strict):
            raise Refused(f"{view.id} needs a decision with the digest of what it is about")
        self.entitlement.refuse_stranger(view, decision)

    def _count(self, view: ApprovalView, decision: Decision, now: datetime, key: str | None) -> Ruling:
        vote = Vote(
            by=decision.by,
            decision=decision.decision,
            at=now,
            key=key,
            comment=decision.comment,
            budget_usd=decision.budget_usd,
            budget_tokens=decision.budget_tokens,
        )
        votes = (*view.votes, vote)
        if decision.decision is Answer.APPROVE and len(votes) < view.quorum:
            view = self._requests[view.id] = view.model_copy(update={"votes": votes})
            effect = f"{view.id} has {len(votes)} of {view.quorum} approvals"
            return Ruling(answer=DecisionEffect(effect=effect), approval=view, vote=vote)
        acting = decision if len(votes) == 1 else joined(decision, votes)
        changes = {
            "state": STATES[decision.decision],
            "decided_by": acting.by,
            "decided_key": key,
            "comment": acting.comment,
            "votes": votes,
        }
        view = self._requests[view.id] = view.model_copy(update=changes)
        self._decisions[view.id] = acting
        return Ruling(answer=DecisionEffect(effect=f"{view.id} {view.state}"), approval=view, vote=vote)

    def decision(self, approval: str) -> Decision | None:
        """The decision that counted, None while it is open or when it expired."""
        return self._decisions.get(approval)

    def settled(self, approval: str) -> bool:
        return self._requests[approval].state != "open"

    def consume(self, approval: str, work: str) -> ApprovalView | None:
        """The work that a decision unblocked has been scheduled; None where that was known, or nothing was decided."""
        view = self._requests[approval]
        if view.consumed is not None or approval not in self._decisions:
            return None
        view = self._requests[approval] = view.model_copy(update={"consumed": work})
        return view

    # Time.

    def due(self, approval: str) -> datetime:
        """When something is to be done about an open request: a reminder, or its end."""
        view = self._requests[approval]
        return view.reminders[0] if view.reminders else view.expires_at

    def remind(self, approval: str, now: datetime) -> ApprovalView:
        """Count the reminders that are due by now as given; after an outage several become one."""
        view = self._requests[approval]
        left = tuple(time for time in view.reminders if time > now)
        view = view.model_copy(update={"reminders": left, "reminded": view.reminded + 1})
        self._requests[approval] = view
        return view

    def lapse(self, approval: str, now: datetime, *, strict: bool = False) -> ApprovalView:
        """Nobody answered in time: others are asked, the work goes on, or the request ends, as its rules say."""
        view = self._requests[approval]
        if view.state != "open":
            return view
        if view.on_expiry is OnExpiry.ESCALATE:
            view = self._requests[approval] = escalated(view, self.entitlement.rules(view.kind), now)
            return view
        if view.on_expiry is OnExpiry.CONTINUE and not strict:
            self._decisions[approval] = Decision(approval=approval, decision=Answer.APPROVE, by=POLICY)
            view = self._requests[approval] = view.model_copy(update={"state": "continued", "decided_by": POLICY})
            return view
        return self.expire(approval)

    def expire(self, approval: str) -> ApprovalView:
        """End a request without an answer; one that is settled stays as it is."""
        view = self._requests[approval]
        if view.state == "open":
            view = self._requests[approval] = view.model_copy(update={"state": "expired", "reminders": ()})
        return view

    def withdraw(self) -> None:
        """End all open requests: the workflow stops and nobody waits for an answer."""
        for view in self.open:
            self.expire(view.id)

    def _hint(self) -> str:
        waiting = ", ".join(view.id for view in self.open)
        return f"; open: {waiting}" if waiting else "; nothing is open"
