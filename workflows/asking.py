"""Asking persons: the request, the wait with its reminders and its end, and what is known of the answer's effect."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from temporalio import workflow

from ledger.events import (
    ApprovalEscalated,
    ApprovalExpired,
    ApprovalReminded,
    ApprovalRequested,
    ApproversNamed,
    DecisionConsumed,
    DecisionMade,
    DecisionRepeated,
)
from ledger.vocabulary import Json, Mode, OnExpiry
from workflows import messages
from workflows.approval_models import ApprovalView, BatchDecision, Decision, DecisionEffect
from workflows.approvals import STATES, ApprovalBook
from workflows.entitlement import Entitlement
from workflows.rulings import Ruling

if TYPE_CHECKING:
    from workflows.lifecycle import Lifecycle

EARLY_WAIT = timedelta(seconds=10)
"""How long a decision waits for its request. After a reset the messages come first, and what they are about is made again."""

WAITS = 4
"""Between a decision and the step that it unblocks: waits for conditions that hold by then, one inside the other."""

_acting_on: ContextVar[tuple[str, ...]] = ContextVar("acting_on", default=())
"""Requests whose decision the present task, or one that it has started, is about to act on."""


class Desk:
    """Where a workflow's requests lie: opened, waited for, decided, followed up."""

    def __init__(self, life: Lifecycle) -> None:
        self._life = life
        self.book = ApprovalBook(life.workflow_id)
        self._closed = False

    def open(self, label: str, entitlement: Entitlement) -> None:
        """Name the requests and whose decisions count; must come before the first request."""
        self.book = ApprovalBook(self._life.workflow_id, label, self._life.project, entitlement)

    def announce(self) -> None:
        """Keep keys and rules on the record, for whoever verifies decisions later; once a project."""
        if not self.book.entitlement.usual:
            approvers, rules = self.book.entitlement.written()
            self._life.note(ApproversNamed(workflow_id=self._life.workflow_id, approvers=approvers, rules=rules))

    @property
    def strict(self) -> bool:
        return self._life.mode is Mode.STRICT

    # Waiting.

    async def answer(self, view: ApprovalView) -> Decision | None:
        """Put a request up and wait until it is settled; None when nobody answered in time."""
        self._say(_requested(view, self.book.entitlement), view, f"asks for {view.id}: {view.summary}")
        self._life.refresh()
        await self._life.recorder.flush()
        while not self.book.settled(view.id):
            self._life.check()  # a cancellation that came while the record was written got lost
            try:
                await self._until(self.book.due(view.id), view)
            except TimeoutError:
                await self._pass(view.id)
        self._life.check()
        _acting_on.set((*_acting_on.get(), view.id))
        if self.book.view(view.id).state in STATES.values() and not self.strict:
            # What a person unblocks is scheduled at once; whoever took the message shows it and writes it down after that.
            return self.book.decision(view.id)
        self._life.refresh()
        await self._life.recorder.flush()
        return self.book.decision(view.id)

    async def _until(self, due: datetime, view: ApprovalView) -> None:
        await workflow.wait_condition(
            lambda: self.book.settled(view.id),
            timeout=due - workflow.now(),
            timeout_summary=f"{view.id} expires" if due >= view.expires_at else f"reminder of {view.id}",
        )

    async def _pass(self, approval: str) -> None:
        """A reminder is due, or the end of the request."""
        now, view = workflow.now(), self.book.view(approval)
        kind = view.kind.value
        if view.reminders and now < view.expires_at:
            view = self.book.remind(approval, now)
            reminded = ApprovalReminded(
                workflow_id=view.workflow_id,
                approval=approval,
                approval_kind=kind,
                number=view.reminded,
                expires_at=view.expires_at,
            )
            self._say(reminded, view, f"{approval} still waits for an answer (reminder {view.reminded})")
        else:
            view = self.book.lapse(approval, now, strict=self.strict)
            self._say_lapsed(view)
        if view.state == "open":
            self._life.refresh()
            await self._life.recorder.flush()

    def _say_lapsed(self, view: ApprovalView) -> None:
        kind, workflow_id = view.kind.value, view.workflow_id
        if view.state == "open":
            escalated = ApprovalEscalated(
                workflow_id=workflow_id,
                approval=view.id,
                approval_kind=kind,
                who=view.who,
                expires_at=view.expires_at,
            )
            self._say(escalated, view, f"{view.id} was not answered in time; asked now: {', '.join(view.who)}")
            return
        goes_on = view.state == "continued"
        expired = ApprovalExpired(
            workflow_id=workflow_id,
            approval=view.id,
            approval_kind=kind,
            outcome=OnExpiry.CONTINUE.value if goes_on else None,
        )
        self._say(expired, view, f"{view.id} expired" + (", the work goes on by its rules" if goes_on else ""))

    # Deciding.

    async def decide(self, message: Decision | BatchDecision, channel: str) -> DecisionEffect:
        """Apply what a person sent, or refuse it; either stands on the record."""
        if isinstance(message, Decision) and self.book.expects(message):
            await self._request_of(message)
        now = workflow.now()
        if isinstance(message, BatchDecision):
            pairs = self.book.decide_all(message, now, strict=self.strict)
        else:
            pairs = [(message, self.book.decide(message, now, strict=self.strict))]
        for decision, ruling in pairs:
            self._record(decision, ruling, channel)
        await self._steps_first()
        if len(pairs) == 1:
            return pairs[0][1].answer
        refusals = [ruling.answer.refusal for _, ruling in pairs if ruling.answer.refusal is not None]
        effects = [ruling.answer.effect for _, ruling in pairs if ruling.answer.effect is not None]
        if not effects:
            return DecisionEffect(refusal="; ".join(refusals))
        return DecisionEffect(effect="; ".join([*effects, *(f"refused: {refusal}" for refusal in refusals)]))

    async def _steps_first(self) -> None:
        """Let what a decision unblocks begin before the decision is shown and written down.

        A child that is being started wakes this workflow once more, and the rest can wait for that.
        """
        for _ in range(WAITS):
            await workflow.wait_condition(lambda: True)
        await workflow.wait_condition(lambda: not self._life.beginning)

    async def _request_of(self, decision: Decision) -> None:
        try:
            await workflow.wait_condition(
                lambda: self.book.knows(decision.approval) or self._closed,
                timeout=EARLY_WAIT,
                timeout_summary=f"a decision came before {decision.approval}",
            )
        except TimeoutError:
            workflow.logger.info("early_decision", extra={"approval": decision.approval})

    def _record(self, decision: Decision, ruling: Ruling, channel: str) -> None:
        view, life = ruling.approval, self._life
        if not ruling.first:
            repeated = DecisionRepeated(
                workflow_id=life.workflow_id,
                decision_id=messages.bounded(decision.id or "", messages.NAME_LIMIT),
                claimed_by=messages.bounded(decision.by, messages.NAME_LIMIT),
                channel=channel,
            )
            self._say(repeated, view, f"decision {decision.id} of {decision.by} (claimed) came again")
            return
        if view is None or ruling.vote is None:
            name = "decide" if channel == "signal" else "decide_now"
            life.refuse(name, messages.bounded(ruling.answer.refusal or ""), decision.by, view.id if view else None)
            return
        made = DecisionMade(
            workflow_id=life.workflow_id,
            approval=view.id,
            approval_kind=view.kind.value,
            decision=decision.decision.value,
            claimed_by=decision.by,
            digest=view.digest,
            comment=decision.comment,
            channel=channel,
            decision_id=decision.id,
            key_id=ruling.vote.key,
            signature=decision.signature,
            state=view.state if view.state == "open" else None,
        )
        how = "verified" if ruling.vote.verified else "claimed"
        self._say(made, view, f"{ruling.answer.effect} by {decision.by} ({how})")

    # Acting.

    def began(self, work: str) -> None:
        """Work has been scheduled: the decisions that the present task acts on are consumed."""
        waiting = _acting_on.get()
        if not waiting:
            return
        _acting_on.set(())
        for approval in waiting:
            self._consume(approval, work)

    def withdraw(self, why: str) -> None:
        """Take all open requests back, on the record; decisions about them that come later are refused."""
        for view in self.book.open:
            withdrawn = ApprovalExpired(
                workflow_id=view.workflow_id, approval=view.id, approval_kind=view.kind.value, outcome="withdrawn"
            )
            self._say(withdrawn, self.book.expire(view.id), f"{view.id} is not asked any more: {why}")

    def close(self, how: str) -> None:
        """The workflow ends: nobody is awaited any more, and that is what decisions led to that nothing was begun upon."""
        self._closed = True
        self.withdraw(how)
        for view in self.book.decided:
            if view.consumed is None and view.decided_by is not None:
                self._consume(view.id, how)

    def _consume(self, approval: str, work: str) -> None:
        view = self.book.consume(approval, work)
        if view is not None:
            by = view.decided_by or ""
            consumed = DecisionConsumed(
                workflow_id=view.workflow_id, approval=approval, by=by, work=messages.bounded(work)
            )
            self._life.note(consumed, feed=self._feed(view, f"{approval} led to: {work}"))

    # Telling.

    def _say(
        self,
        event: ApprovalRequested
        | ApprovalReminded
        | ApprovalEscalated
        | ApprovalExpired
        | DecisionMade
        | DecisionRepeated,
        view: ApprovalView | None,
        text: str,
    ) -> None:
        self._life.note(event, text, self._feed(view, text))

    def _feed(self, view: ApprovalView | None, text: str) -> dict[str, Json]:
        data: dict[str, Json] = {}
        if view is not None:
            data = {"approval": view.id, "kind": view.kind.value, "state": view.state, "digest": view.digest}
        return {"type": "approval", "text": messages.bounded(text), "data": data}


def _requested(view: ApprovalView, entitlement: Entitlement) -> ApprovalRequested:
    terms: dict[str, Json] = {
        "who": list(view.who),
        "quorum": view.quorum,
        "signed": view.signed,
        "producers": list(view.producers),
        "on_expiry": view.on_expiry.value,
        "then": list(view.then),
        "reminders": [time.isoformat() for time in view.reminders],
    }
    return ApprovalRequested(
        workflow_id=view.workflow_id,
        approval=view.id,
        approval_kind=view.kind.value,
        digest=view.digest,
        summary=view.summary,
        risk=view.risk.value,
        expires_at=view.expires_at,
        terms=None if entitlement.usual else terms,
    )
