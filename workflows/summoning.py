"""Work that is brought before a person, whatever it is at: nothing new starts until they have decided how it goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from temporalio import workflow

from ledger.vocabulary import Answer, ApprovalKind, Json, Standing
from workflows import messages
from workflows.approval_models import Decision
from workflows.controls import Control, Escalation, FeedbackNote

if TYPE_CHECKING:
    from workflows.intake import Intake


class Summoning:
    """Brings one workflow before a person, one summons at a time."""

    def __init__(self, life: Intake) -> None:
        self._life = life
        self.pending: Escalation | None = None
        self._held = False
        """Whether it was paused besides, and stays so whatever is decided here."""

    async def take(self, wanted: Escalation) -> str | None:
        """Stop new steps, here or at the one task; returns why that cannot be, or None. `decide` must follow."""
        if wanted.task is not None and not self._life.concerns(wanted.task):
            return await self._pass_on(wanted)
        if self.pending is not None:
            return f"it is before a person already: {self.pending.reason}"
        self.pending, self._held = wanted, self._life.paused
        if not self._life.paused:
            await self._life.pause(Control(by=wanted.by, reason=wanted.reason))
        return None

    def hold(self) -> bool:
        """Somebody pauses what waits here; True where that adds something."""
        added = self.pending is not None and not self._held
        self._held = self._held or added
        return added

    def release(self) -> str | None:
        """Somebody resumes what waits here; returns why nothing changes, or None."""
        if not self._held:
            return "a person has to decide first: the escalation is open"
        self._held = False
        return None

    async def _pass_on(self, wanted: Escalation) -> str | None:
        child = self._life.child_of(wanted.task or "")
        if child is None:
            return f"task {wanted.task!r} is not at work"
        await child.signal("escalate", wanted)
        return None

    async def decide(self) -> None:
        """Wait for the person, then go on or give up. Ends as well where the work ends meanwhile."""
        wanted = self.pending
        if wanted is None:
            return
        try:
            decision = await self._ask(wanted)
            while decision is None and self._taken_back():
                decision = await self._ask(wanted)
        except asyncio.CancelledError:
            if self._life.stopping is None:
                raise
            return
        finally:
            self.pending = None
        if self._life.ended:
            return
        if decision is None or decision.decision is Answer.REJECT:
            await self._give_up(wanted, decision)
        else:
            await self._go_on(decision)

    def _taken_back(self) -> bool:
        """Whether the request went with others that nobody needs any more: this one is needed still."""
        views = [view for view in self._life.book.decided if view.kind is ApprovalKind.ESCALATION]
        return not self._life.ended and bool(views) and workflow.now() < views[-1].expires_at

    async def _ask(self, wanted: Escalation) -> Decision | None:
        life = self._life
        subject: dict[str, Json] = {
            "workflow": life.workflow_id,
            "phase": life.phase.value,
            "detail": life.detail,
            "reason": wanted.reason,
            "by": wanted.by,
            "tasks": {task.id: task.state.value for task in life.tasks()},
        }
        return await life.ask(
            ApprovalKind.ESCALATION,
            subject,
            text=f"{wanted.by} (claimed) wants a person to look: {wanted.reason}",
            on_approve="the work goes on, and is told your comment",
            on_reject="the work ends here; what was merged before stays",
            on_revise="as approve: the work goes on with your words",
        )

    async def _go_on(self, decision: Decision) -> None:
        if decision.comment:
            await self._life.take_feedback(FeedbackNote(text=decision.comment, by=decision.by))
        if self._life.paused and not self._held:
            await self._life.resume(Control(by=decision.by, reason=decision.comment))

    async def _give_up(self, wanted: Escalation, decision: Decision | None) -> None:
        who = "nobody decided in time" if decision is None else f"{decision.signer} gave it up"
        comment = f": {decision.comment}" if decision is not None and decision.comment else ""
        await self._life.abandon(messages.bounded(f"{who}{comment} ({wanted.reason})"))
        if self._life.is_part:
            # The same subject may be worked on again, by a retry for instance.
            await self._life.stand(Standing.ACTIVE, "given up", wanted.by)
