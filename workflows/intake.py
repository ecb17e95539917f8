"""What people can say to a workflow and ask it: one dynamic signal handler, one update, three queries."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import FailureError
from temporalio.workflow import ChildWorkflowHandle

from ledger.events import MessageApplied
from ledger.vocabulary import Brief, Mode, Standing
from workflows import checkpoints, messages
from workflows.approval_models import BatchDecision, Decision, DecisionEffect
from workflows.controls import AutonomyChange, Control, Escalation, FeedbackNote
from workflows.edits import Edit, EditBase, words
from workflows.lifecycle import ENDED, Lifecycle
from workflows.summoning import Summoning
from workflows.team_signals import TeamSignal
from workflows.views import ApprovalsView, BoardView, StatusView


class Intake(Lifecycle):
    """Base of the three workflows: takes messages, applies them or refuses them on the record."""

    def __init__(self) -> None:
        super().__init__()
        self._controls = asyncio.Lock()
        self.summons = Summoning(self)

    async def take_feedback(self, note: FeedbackNote) -> str | None:
        """Bring a person's words to whom they concern; returns why that is not possible, or None."""
        raise NotImplementedError

    async def take_edit(self, edit: Edit) -> str | None:
        """Change what is worked on as a person wants it; returns why that is not possible, or None."""
        raise NotImplementedError

    def objection_to_mode(self, mode: Mode) -> str | None:
        """Why the mode cannot change to this one while it runs, or None where it can."""
        return checkpoints.objection_below(self.mode, mode)

    @property
    def ended(self) -> bool:
        return self.phase in ENDED

    @property
    def is_part(self) -> bool:
        """Whether a workflow above goes on when this one ends."""
        return False

    def concerns(self, task: str) -> bool:
        """Whether this workflow is itself the one that works on a task."""
        return False

    def child_of(self, task: str) -> ChildWorkflowHandle[Any, Any] | None:
        """The child through which a task is reached."""
        return self.children.get(task)

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
            elif isinstance(message, Decision | BatchDecision):
                await self.desk.decide(message, "signal")
            elif isinstance(message, TeamSignal):
                if (reason := self.take_from_team(message)) is not None:
                    self.refuse(name, reason, None)
            else:
                await self._apply(name, message)
            await self._settle()
            if isinstance(message, Escalation) and self.summons.pending is message:
                await self.summons.decide()
        except FailureError as error:
            # Raised here it would end the workflow; the entries that could not be written are tried again at the next flush.
            self.refuse(name, messages.bounded(str(error)), None)

    @workflow.update(dynamic=True)
    async def on_update(self, name: str, values: Sequence[RawValue]) -> DecisionEffect:
        """The updates `decide_now`, `edit_now`, `feedback_now`: like the signals without `_now`, with an answer."""
        message = messages.parse_update(name, values)
        if isinstance(message, Decision | BatchDecision):
            answer = await self.desk.decide(message, "update")
        elif isinstance(message, FeedbackNote | EditBase):
            answer = await self._applied_now(name, message)
        else:
            refusal = message if isinstance(message, messages.Refusal) else messages.Refusal(reason="not an update")
            self.refuse(name, refusal.reason, refusal.sender)
            answer = DecisionEffect(refusal=refusal.reason)
        self.refresh()
        await self._put_down(name)
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

    async def _apply(self, name: str, message: Brief) -> str | None:
        """Apply it, on the record; returns why it was refused, or None."""
        if not self.project or self.phase in ENDED:
            self.refuse(name, "the workflow is not at work", None)
            return "the workflow is not at work"
        async with self._controls:
            # One at a time and in order of arrival: a pause must not overtake the resume that came after it.
            if isinstance(message, Control):
                reason = await (self.pause(message) if name == "pause" else self.resume(message))
                text, sender = message.reason, message.by
            elif isinstance(message, FeedbackNote):
                reason, text, sender = await self.take_feedback(message), message.text, message.by
            elif isinstance(message, Edit):
                reason, text, sender = await self.take_edit(message), words(message), message.by
            elif isinstance(message, Escalation):
                reason, text, sender = await self.summons.take(message), message.reason, message.by
            else:
                assert isinstance(message, AutonomyChange)
                reason, text, sender = await self._change(name, message), message.words, message.by
        if reason is not None:
            self.refuse(name, reason, sender)
            return reason
        applied = MessageApplied(workflow_id=self.workflow_id, message=name, claimed_by=sender, text=text)
        self.note(applied, f"{name} by {sender} (claimed) {text}")
        return None

    async def _applied_now(self, name: str, message: Brief) -> DecisionEffect:
        try:
            reason = await self._apply(name, message)
        except FailureError as error:
            reason = messages.bounded(str(error))
            self.refuse(name, reason, None)
        if reason is not None:
            return DecisionEffect(refusal=reason)
        return DecisionEffect(effect=f"{name.removesuffix('_now')} is applied in {self.workflow_id}")

    async def pause(self, control: Control) -> str | None:
        """Let nothing new start, here and below; returns why that changes nothing, or None."""
        if self.paused:
            return None if self.summons.hold() else "already paused"
        self.paused = True
        self.refresh()
        await self.stand(Standing.PAUSED, control.reason, control.by)
        await self.tell_children("pause", control)
        return None

    async def resume(self, control: Control) -> str | None:
        """Let things start again; returns why they cannot, or None."""
        if not self.paused:
            return "not paused"
        if self.summons.pending is not None:
            return self.summons.release()
        await self.stand(Standing.ACTIVE, control.reason, control.by)
        self.paused = False
        await self.tell_children("resume", control)
        return None

    async def _change(self, name: str, change: AutonomyChange) -> str | None:
        """Ask more or less from now on, or merge otherwise; requests that are open stay as they are."""
        if change.mode not in (None, self.mode) and (why := self.objection_to_mode(change.mode)) is not None:
            return why
        self.autonomy = self.autonomy if change.autonomy is None else change.autonomy
        self.mode = self.mode if change.mode is None else change.mode
        if (news := change.for_children()) is not None:
            await self.tell_children(name, news)
        return None

    async def _put_down(self, name: str) -> None:
        try:
            await self.recorder.flush()
        except FailureError as error:
            self.refuse(name, messages.bounded(str(error)), None)

    async def _settle(self) -> None:
        self.refresh()
        await self.recorder.flush()
