"""What people can say to a workflow and ask it: one dynamic signal handler, one update, three queries."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

from ledger.events import DecisionMade, MessageApplied
from ledger.vocabulary import Brief, Standing
from workflows import messages
from workflows.approval_models import Decision, DecisionEffect
from workflows.approvals import Ruling
from workflows.contracts import ApprovalsView, AutonomyChange, BoardView, Control, FeedbackNote, StatusView, TeamSignal
from workflows.lifecycle import ENDED, Lifecycle


class Intake(Lifecycle):
    """Base of the three workflows: takes messages, applies them or refuses them on the record."""

    def __init__(self) -> None:
        super().__init__()
        self._controls = asyncio.Lock()

    async def take_feedback(self, note: FeedbackNote) -> str | None:
        """Bring a person's words to whom they concern; returns why that is not possible, or None."""
        raise NotImplementedError

    def take_from_team(self, message: TeamSignal) -> str | None:
        """What a sprint and its tasks tell each other; returns why it means nothing here, or None."""
        return "nobody here is asked"

    # Messages and queries.

    @workflow.signal(dynamic=True)
    async def on_signal(self, name: str, values: Sequence[RawValue]) -> None:
        """Every signal. Parses, applies or refuses on the record; raises for none."""
        message = messages.parse_signal(name, values)
        try:
            if isinstance(message, messages.Refusal):
                self.refuse(name, message.reason, message.sender)
            elif isinstance(message, Decision):
                self._decide(message, "signal")
            elif isinstance(message, TeamSignal):
                if (reason := self.take_from_team(message)) is not None:
                    self.refuse(name, reason, None)
            else:
                await self._apply(name, message)
            await self._settle()
        except FailureError as error:
            # Raised here it would end the workflow; the entries that could not be written are tried again at the next flush.
            self.refuse(name, messages.bounded(str(error)), None)

    @workflow.update(dynamic=True)
    async def on_update(self, name: str, values: Sequence[RawValue]) -> DecisionEffect:
        """The update `decide_now`: like the signal `decide`, with an answer."""
        message = messages.parse_update(name, values)
        if isinstance(message, Decision):
            answer = self._decide(message, "update")
        else:
            reason = message.reason if isinstance(message, messages.Refusal) else "not an update"
            self.refuse(name, reason, None)
            answer = DecisionEffect(refusal=reason)
        self.refresh()
        return answer

    @workflow.query(name="status")
    def on_status(self) -> StatusView:
        """Phase, pause, open approvals, progress and cost."""
        return self.status()

    @workflow.query(name="approvals")
    def on_approvals(self) -> ApprovalsView:
        """Open and decided requests, and the messages that were refused."""
        return ApprovalsView(open=self.book.open, decided=self.book.decided, refused=tuple(self.refused))

    @workflow.query(name="board")
    def on_board(self) -> BoardView:
        """The tasks and how they stand."""
        return BoardView(sprint=self.sprint_number, tasks=self.tasks())

    # Applying messages.

    def _decide(self, decision: Decision, channel: str) -> DecisionEffect:
        ruling = self.book.decide(decision, workflow.now())
        if ruling.first:
            self._record_ruling(decision, ruling, channel)
        return ruling.answer

    def _record_ruling(self, decision: Decision, ruling: Ruling, channel: str) -> None:
        view = ruling.approval
        if view is None or ruling.answer.refusal is not None:
            name = "decide" if channel == "signal" else "decide_now"
            self.refuse(name, messages.bounded(ruling.answer.refusal or ""), decision.by)
            return
        event = DecisionMade(
            workflow_id=self.workflow_id,
            approval=view.id,
            approval_kind=view.kind.value,
            decision=decision.decision.value,
            claimed_by=decision.by,
            digest=view.digest,
            comment=decision.comment,
            channel=channel,
        )
        self.note(event, f"{view.id} {view.state} by {decision.by} (claimed)")

    async def _apply(self, name: str, message: Brief) -> None:
        if not self.project or self.phase in ENDED:
            self.refuse(name, "the workflow is not at work", None)
            return
        async with self._controls:
            # One at a time and in order of arrival: a pause must not overtake the resume that came after it.
            if isinstance(message, Control):
                reason = await (self._pause(message) if name == "pause" else self._resume(message))
                text, sender = message.reason, message.by
            elif isinstance(message, FeedbackNote):
                reason, text, sender = await self.take_feedback(message), message.text, message.by
            else:
                assert isinstance(message, AutonomyChange)
                reason, text, sender = None, message.autonomy.value, message.by
                self.autonomy = message.autonomy
                await self.tell_children(name, message)
        if reason is not None:
            self.refuse(name, reason, sender)
            return
        applied = MessageApplied(workflow_id=self.workflow_id, message=name, claimed_by=sender, text=text)
        self.note(applied, f"{name} by {sender} (claimed) {text}")

    async def _pause(self, control: Control) -> str | None:
        if self.paused:
            return "already paused"
        self.paused = True
        self.refresh()
        await self.stand(Standing.PAUSED, control.reason, control.by)
        await self.tell_children("pause", control)
        return None

    async def _resume(self, control: Control) -> str | None:
        if not self.paused:
            return "not paused"
        await self.stand(Standing.ACTIVE, control.reason, control.by)
        self.paused = False
        await self.tell_children("resume", control)
        return None

    async def _settle(self) -> None:
        self.refresh()
        await self.recorder.flush()
