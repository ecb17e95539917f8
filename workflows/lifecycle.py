"""What the three workflows share: approvals, orderly stops, the record and what people see."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import FailureError
from temporalio.workflow import ActivityConfig, ChildWorkflowHandle

from activities.contracts import ChangeStanding, RecordActivities
from agents.profiles import TeamPlan
from ledger.events import Event, MessageRefused, PhaseChanged
from ledger.vocabulary import ApprovalKind, Autonomy, Brief, Json, Mode, Phase, Record, Risk, Standing
from workflows import checkpoints, messages, options
from workflows.approval_models import Decision
from workflows.approvals import ApprovalBook
from workflows.asking import Desk
from workflows.calls import perform
from workflows.entitlement import Entitlement, Rules
from workflows.recorder import Recorder
from workflows.stopping import CANCELLED, TIMEOUT, Stopped, alarm, stop
from workflows.tally import Tally
from workflows.views import RefusalView, StatusView, TaskView, WaitView
from workflows.visibility import Visibility, summary

EVENTS_KEPT = 20
REFUSALS_KEPT = 200

T = TypeVar("T")
Request = TypeVar("Request", bound=Record)
Result = TypeVar("Result")


class Lifecycle:
    """State and powers of the three workflows; `workflows.intake` adds the messages that reach them."""

    role: str | None = None

    def __init__(self) -> None:
        self.workflow_id = workflow.info().workflow_id
        self.project = ""
        self.subject = ""
        self.sprint_number: int | None = None
        self.phase = Phase.DISCOVERY
        self.detail = ""
        self.mode = Mode.AUTO
        self.autonomy = Autonomy.MILESTONE
        self.paused = False
        self.stopping: str | None = None
        self.interrupted = False
        """While a person's word stops the work at hand."""
        self._main: asyncio.Task[Any] | None = None
        self.budget_usd: Decimal | None = None
        self.budget_tokens: int | None = None
        self.approval_ttl = timedelta(days=7)
        self.desk = Desk(self)
        self.recorder = Recorder()
        self.tally = Tally()
        self.children: dict[str, ChildWorkflowHandle[Any, Any]] = {}
        self.beginning = 0
        """Children whose start is under way."""
        self.happened: list[str] = []
        self.refused: list[RefusalView] = []
        self.notices: list[str] = []
        self.team = TeamPlan()
        self.waits: dict[str, WaitView] = {}
        """Question -> who waits for whom."""
        self._visibility = Visibility()

    @property
    def book(self) -> ApprovalBook:
        """Requests and decisions of this run."""
        return self.desk.book

    @property
    def policy(self) -> Entitlement:
        """Who may decide, and the brief's rules for each kind of request."""
        return self.desk.book.entitlement

    # What is shown.

    def tasks(self) -> tuple[TaskView, ...]:
        """The board."""
        return ()

    def status(self) -> StatusView:
        tasks = self.tasks()
        return StatusView(
            project=self.project,
            workflow_id=self.workflow_id,
            phase=Phase.PAUSED if self.paused and self.phase not in ENDED else self.phase,
            detail=self.detail,
            mode=self.mode,
            autonomy=self.autonomy,
            paused=self.paused,
            awaiting=self.book.open,
            refused=len(self.refused),
            sprint=self.sprint_number,
            tasks_done=sum(task.state not in UNDONE for task in tasks),
            tasks_total=len(tasks),
            cost_usd=self.tally.cost_usd,
            budget_usd=self.budget_usd,
            tokens=self.tally.tokens,
            budget_tokens=self.budget_tokens,
            events=tuple(self.happened),
            notices=tuple(self.notices),
            waits=tuple(self.waits.values()),
        )

    # What happened.

    def open(self, project: str, subject: str, chapter: str = "", rules: Rules | None = None) -> None:
        """Name what this workflow is about; must come before anything is recorded.

        Args:
            project: the project's id.
            subject: budget scope and standing, such as `<project>/s1/<task>`.
            chapter: tells runs under one workflow id apart.
            rules: who may decide, and how.

        Raises:
            InvalidBriefError: the rules demand what nobody can give.
        """
        self.project = project
        self.subject = subject
        self.recorder.open(project, chapter)
        self.desk.open(f"{subject.replace('/', '.')}{chapter}.", messages.entitlement_of(rules))

    def enter(self, phase: Phase, detail: str = "") -> None:
        """Go to another phase, on the record."""
        self.phase, self.detail = phase, detail
        self.note(
            PhaseChanged(workflow_id=self.workflow_id, phase=phase.value, detail=detail), f"{phase.value} {detail}"
        )
        self.refresh()

    def note(self, event: Event, text: str = "", feed: dict[str, Json] | None = None) -> None:
        """Put an event on the ledger with the next flush; `text` is shown among the last events."""
        self.recorder.note(event, feed, text)
        if text:
            self.remark(text)

    def remark(self, text: str) -> None:
        """Show something among the last events that an activity has put on the ledger already."""
        at = workflow.now().strftime("%H:%M:%S")
        self.happened = [*self.happened, f"{at} {summary(text)}"][-EVENTS_KEPT:]

    def warn(self, notices: Sequence[str]) -> None:
        """Show what people should know as long as the work lasts, each notice once."""
        for notice in notices:
            if notice not in self.notices:
                self.notices.append(notice)
                self.remark(notice)

    def refuse(self, name: str, reason: str, sender: str | None, approval: str | None = None) -> None:
        """Put a message that is not applied on the record; `approval` names the request that it was about."""
        name, reason = messages.bounded(name, messages.NAME_LIMIT), messages.bounded(reason)
        sender = sender and messages.bounded(sender, messages.NAME_LIMIT)
        view = RefusalView(at=workflow.now(), message=name, reason=reason, sender=sender, approval=approval)
        self.refused = [*self.refused, view][-REFUSALS_KEPT:]
        event = MessageRefused(workflow_id=self.workflow_id, message=name, reason=reason, sender=sender)
        data: dict[str, Json] = {"message": name, "sender": sender, "approval": approval}
        self.note(event, f"refused {name}: {reason}", {"type": "refused", "text": f"{name}: {reason}", "data": data})

    def refresh(self) -> None:
        """Publish the present state where people look."""
        if self.project:
            self._visibility.publish(self.status(), self.tasks(), self.role)

    # Doing things.

    async def call(
        self,
        activity: Callable[[Any, Request], Awaitable[Result]],
        request: Request,
        config: ActivityConfig,
        text: str,
    ) -> Result:
        """Run an activity with its summary; nothing is begun, and no result used, once the workflow stops."""
        self.check()
        self.desk.began(text)
        result = await perform(activity, request, config, text)
        self.check()
        return result

    def check(self) -> None:
        """Raises CancelledError once the workflow stops: a cancellation may arrive with a result and get lost."""
        if self.stopping is not None:
            raise asyncio.CancelledError(self.stopping)
        if self.interrupted:
            raise asyncio.CancelledError("interrupted")

    async def clearance(self) -> None:
        """Wait while the workflow is paused."""
        await workflow.wait_condition(lambda: not self.paused)

    def asks(self, kind: ApprovalKind) -> bool:
        """Whether a person is asked about this kind of thing, as autonomy, mode and brief stand now."""
        return checkpoints.asked(kind, self.autonomy, self.mode, self.policy.wish(kind))

    async def ask(
        self,
        kind: ApprovalKind,
        subject: dict[str, Json],
        *,
        text: str,
        on_approve: str,
        on_reject: str,
        on_revise: str = "",
        risk: Risk | None = None,
        producers: tuple[str, ...] = (),
    ) -> Decision | None:
        """Ask a person and wait; None when nobody answered in time.

        Args:
            kind: whose rules in the brief apply.
            subject: what is decided; its digest is what decisions are bound to.
            text: the question in one line.
            on_approve: what happens then; `on_reject` and `on_revise` likewise.
            risk: None: as is usual for the kind.
            producers: who proposed or produced it and may not answer: agent ids, `person:<name>`.
        """
        view = self.book.request(
            kind,
            subject,
            summary=summary(text),
            on_approve=on_approve,
            on_reject=on_reject,
            on_revise=on_revise,
            risk=risk,
            producers=producers,
            now=workflow.now(),
            ttl=self.approval_ttl,
            strict=self.desk.strict,
        )
        return await self.desk.answer(view)

    async def supervise(self, work: Coroutine[Any, Any, T], deadline: datetime | None = None) -> T:
        """Run `work` to its end, or stop it in order on cancellation or at the deadline.

        Raises:
            Stopped: the work was ended; everything it had begun has ended as well.
        """
        main = self._main = asyncio.create_task(work)
        clock = asyncio.create_task(alarm(deadline))
        try:
            await workflow.wait([main, clock], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self.stopping = CANCELLED
        if not main.done():
            self.stopping = self.stopping or TIMEOUT
        await stop(main, clock)
        if self.stopping is not None:
            raise Stopped(self.stopping)
        return main.result()

    async def abandon(self, reason: str) -> None:
        """End the work that is supervised as a failure with this reason, in order."""
        if self._main is not None and not self._main.done():
            self.stopping = self.stopping or reason
            await stop(self._main)

    async def finish(self, phase: Phase, detail: str) -> None:
        """The last thing a workflow does: nobody is awaited any more, everything is written down."""
        self.desk.close(f"the end: {phase.value}")
        self.paused = False
        self.enter(phase, detail)
        await self.come_to_rest()

    async def come_to_rest(self) -> None:
        """Wait until every message is dealt with and everything is written down, also what came while that was done."""
        await self.recorder.flush()
        while True:
            await workflow.wait_condition(workflow.all_handlers_finished)
            await self.recorder.flush()
            if workflow.all_handlers_finished():
                return

    async def tell_children(self, signal: str, message: Brief) -> None:
        """Pass a signal on to the children at work; one that has just ended needs it no more."""
        for child in list(self.children.values()):
            try:
                await child.signal(signal, message)
            except FailureError as error:
                workflow.logger.info("child_not_signalled", extra={"child": child.id, "error": str(error)})

    async def stand(self, standing: Standing, reason: str, by: str) -> None:
        """Let the store allow or forbid new steps for everything under this workflow."""
        request = ChangeStanding(
            project=self.project,
            subject=self.subject,
            standing=standing,
            reason=reason,
            by=by,
            key=self.recorder.key(f"standing-{standing.value}"),
        )
        await perform(RecordActivities.change_standing, request, options.RECORD, f"{self.subject}: {standing.value}")


ENDED = frozenset({Phase.DONE, Phase.FAILED, Phase.CANCELLED})
UNDONE = frozenset({"waiting", "running"})
