"""The step protocol: what the journal holds is served, everything else is done for real and committed before anything that
depends on it leaves the process.

One `Steps` belongs to one run of one thread. It knows nothing of graphs or providers: callers hand it the coroutine that
does the real thing. Results that only the run itself has seen may wait for a moment: they are committed with the next thing
that leaves it (a call to a model, a tool that does more than look, a message, a commit, the end), before that is done.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from agents.behind import Behind
from agents.errors import (
    AlreadyReadError,
    DivergenceError,
    HaltedError,
    InvalidStepError,
    LostLeaseError,
    MailWaitsError,
    ModelError,
    OverBudgetError,
    UndeliverableMessageError,
)
from agents.finishing import finishing
from agents.models import Bound, ModelAnswer, ModelRequest, ToolCall
from agents.receipts import RequestDigests, StepKey
from agents.tools.base import ToolResult
from agents.wiring import Judged, Performed, Reading, Totals, Wiring
from ledger.chain import digest
from ledger.items import ItemResult, ItemStatus, Mark, Receipt
from ledger.rows import Step
from ledger.vocabulary import Json, StepKind, StepStatus

READS = 3
"""How often an input is read before it is given up because others read the same messages."""

LEAST_USD = Decimal("1e-9")


class Steps:
    """The steps of one run. `served` is the thread's journal as it stood when the lease was taken."""

    def __init__(self, served: Sequence[Step], wiring: Wiring) -> None:
        self.totals = Totals()
        self._wiring = wiring
        self._journal = {(step.ordinal, step.sub): step for step in served}
        self._opened = False
        self._bound = Bound()
        self._opening = asyncio.Lock()
        self._behind = Behind(wiring.submit, self._settled)
        self._digests = RequestDigests()
        for step in served:
            if step.status is StepStatus.DONE:
                self._count(step)

    def known(self, ordinal: int, sub: int = 0) -> Step | None:
        """The journal's step at a place, whatever its status: an attempt without a result still says what was asked."""
        return self._journal.get((ordinal, sub))

    def known_inputs(self, name: str) -> list[Json]:
        """What the journal holds of one kind of input, in order."""
        found = (step for _, step in sorted(self._journal.items()))
        return [step.result for step in found if step.kind is StepKind.INPUT and step.name == name]

    async def input(self, ordinal: int, name: str, read: Callable[[], Awaitable[Reading]]) -> Json:
        """Read something from outside the run once; every replay sees the same value.

        `read` is asked again where another step has read one of its messages meanwhile.

        Raises:
            AlreadyReadError: That happened again and again.
            UndeliverableMessageError: One of its messages has no addressee that could get it.
        """
        key = StepKey(ordinal, 0, StepKind.INPUT, name, digest({"input": name}))
        if (step := await self._serve(key)) is not None:
            return step.result
        await self._begin(key)
        for left in range(READS - 1, -1, -1):
            reading = await read()
            receipt = self._wiring.pen.receipt(
                key, reading.value, outbox=reading.outbox, acknowledged=reading.acknowledged
            )
            if set(reading.acknowledged) == {message.id for message in reading.outbox}:
                # Nobody else can have read it, nobody can refuse it.
                self._later(key, receipt)
                return receipt.result
            try:
                return await self._commit(key, receipt)
            except AlreadyReadError:
                if not left:
                    raise
        raise AssertionError("unreachable")

    async def model(
        self,
        ordinal: int,
        name: str,
        request: ModelRequest,
        bound: Callable[[], Bound],
        ask: Callable[[], Awaitable[ModelAnswer]],
        heard: Sequence[str] | None = None,
    ) -> ModelAnswer:
        """Ask a model: reserve the bound, call, settle. A call in flight finishes and is journaled even when cancelled.

        Args:
            ordinal: The step's.
            name: What is asked for.
            request: The call.
            bound: What it may take at most.
            ask: Makes the call.
            heard: Messages that wait and are not for this run; None where a message cannot come before this step.

        Raises:
            MailWaitsError: Another message waits: nothing was asked, so that it can be heard first.
            HaltedError: Nothing was asked; so with OverBudgetError, LostLeaseError and RunStoppedError.
            ModelError: The call failed. The reservation is released and the step stays open, except where the provider
                may have answered: then the attempt stays charged and becomes in-doubt with the next lease.
        """
        key = StepKey(ordinal, 0, StepKind.MODEL, name, self._digests.of(request))
        if (step := await self._serve(key)) is not None:
            return ModelAnswer.model_validate(step.result)
        await self._begin(key)
        if self.known(ordinal) is not None:
            heard = None  # a call that was begun cannot be preceded by a new step
        try:
            return await finishing(self._ask(key, bound(), ask, heard))
        except asyncio.CancelledError:
            await self.flush()
            raise

    async def reserve_again(self, ordinal: int, name: str, request: ModelRequest, bound: Bound) -> None:
        """Before another model is asked within a model step: the call before may be billed, stays charged at its bound and
        is listed in doubt; the next one gets a reservation of its own.

        Raises:
            OverBudgetError: There is no room for it; so with HaltedError and LostLeaseError.
        """
        key = StepKey(ordinal, 0, StepKind.MODEL, name, self._digests.of(request))
        # An intent with the same bound would be taken for the same attempt, written twice.
        self._bound = bound if bound != self._bound else replace(bound, usd=bound.usd + LEAST_USD)
        await self._refuse(key, await self._behind.submit(self._wiring.pen.intent(key, self._bound)))

    async def tool(
        self,
        ordinal: int,
        sub: int,
        call: ToolCall,
        arguments: Json,
        decide: Callable[[], Judged],
        perform: Callable[[], Awaitable[Performed]],
        *,
        looks: bool = False,
    ) -> ToolResult:
        """Make a tool call, or record why policy refused it.

        `decide` and `perform` are called only where the journal has no result: both look at the worktree as it stands.
        `perform` commits file effects before it returns. A tool that only `looks` may be asked again by a later run; whatever
        any other tool does comes after everything before it is committed.
        """
        key = StepKey(ordinal, sub, StepKind.TOOL, call.name, digest({"tool": call.name, "arguments": arguments}))
        if (step := await self._serve(key)) is not None:
            return ToolResult.model_validate(step.result)
        await self._begin(key)
        decision = decide()
        if decision.allowed and not looks:
            await self.flush()
        done = await perform() if decision.allowed else Performed(refusal(decision.reason))
        pen, allowed, reason = self._wiring.pen, decision.allowed, decision.reason
        told = done.result.model_dump(mode="json")
        receipt = pen.receipt(key, told, commit=done.commit, outbox=done.outbox, allowed=allowed, reason=reason)
        if (looks or not allowed) and not done.outbox and done.commit is None:
            self._later(key, receipt)
            return done.result
        try:
            return ToolResult.model_validate(await self._commit(key, receipt))
        except UndeliverableMessageError as error:
            told = failed({"error": f"the message was not sent: {error}"}).model_dump(mode="json")
            receipt = pen.receipt(key, told, commit=done.commit, allowed=allowed, reason=reason)
            return ToolResult.model_validate(await self._commit(key, receipt))

    def mark(self, mark: Mark) -> None:
        """Write something beside the steps, with whatever is committed next."""
        self._behind.hold(None, mark)

    async def finish(self, mark: Mark, *, after_refusal: bool = False) -> ItemResult:
        """Commit everything, and the end with it; `after_refusal` also where a step before it was refused.

        Raises:
            HaltedError: A step before the end was refused, and so is the end; so with LostLeaseError and others of a step.
        """
        result = await self._behind.submit(mark, after_refusal=after_refusal)
        await self._refuse(None, result)
        return result

    async def flush(self) -> None:
        """Commit everything that waits. Raises what the step would have raised."""
        await self._behind.flush()

    async def _serve(self, key: StepKey) -> Step | None:
        step = self._journal.get((key.ordinal, key.sub))
        if step is None:
            return None
        if (step.kind, step.name, step.request_digest) != (key.kind, key.name, key.digest):
            await self._diverge(key, f"the journal holds {step.kind} {step.name}, the run asks {key.kind} {key.name}")
        return step if step.status is StepStatus.DONE else None

    async def _begin(self, key: StepKey) -> None:
        self._wiring.guard.check()
        self._behind.check()
        if not self._opened:
            async with self._opening:
                if not self._opened:
                    await self._wiring.before_first_real(self.totals.commit)
                    self._opened = True
        self._wiring.observer.begins(key)

    async def _ask(
        self, key: StepKey, bound: Bound, ask: Callable[[], Awaitable[ModelAnswer]], heard: Sequence[str] | None
    ) -> ModelAnswer:
        self._bound = bound
        result = await self._behind.submit(self._wiring.pen.intent(key, bound, heard))
        if result.status is ItemStatus.SERVED and result.step is not None:
            return ModelAnswer.model_validate(self._keep(result.step))
        await self._refuse(key, result)
        if not self._wiring.guard.holds():  # frozen since the commit: another run may be asking already
            raise LostLeaseError
        try:
            answer = await ask()
        except ModelError as error:
            if not error.may_be_billed:
                await self._behind.submit(self._wiring.pen.failure(key, error))
            raise
        self._later(key, self._wiring.pen.receipt(key, answer.model_dump(mode="json"), answer=answer))
        return answer

    async def _commit(self, key: StepKey, receipt: Receipt) -> Json:
        result = await self._behind.submit(receipt)
        if result.status is ItemStatus.SERVED and result.step is not None:
            return self._keep(result.step)
        await self._refuse(key, result)
        self._count(receipt)
        self._wiring.observer.ended(receipt)
        return receipt.result

    def _later(self, key: StepKey, receipt: Receipt) -> None:
        """The run goes on with this result; it is committed with what depends on it, or in a moment."""
        self._count(receipt)
        self._behind.hold(key, receipt)

    async def _settled(self, key: StepKey | None, item: Receipt | Mark, result: ItemResult) -> None:
        """What the run went on with is on the journal, or it may not go on."""
        if result.status is not ItemStatus.SERVED:
            await self._refuse(key, result)
        elif (
            isinstance(item, Receipt) and result.step is not None and digest(result.step.result) != digest(item.result)
        ):
            raise InvalidStepError(f"step {item.ordinal}.{item.sub} has another result")
        if isinstance(item, Receipt):
            self._wiring.observer.ended(item)

    def _keep(self, step: Step) -> Json:
        self._journal[step.ordinal, step.sub] = step
        self._count(step)
        return step.result

    async def _refuse(self, key: StepKey | None, result: ItemResult) -> None:
        match result.status:
            case ItemStatus.LOST_LEASE | ItemStatus.LATE:
                raise LostLeaseError
            case ItemStatus.MAIL:
                raise MailWaitsError
            case ItemStatus.HALTED:
                raise HaltedError(result.detail)
            case ItemStatus.OVER_BUDGET | ItemStatus.BLOCKED:
                raise OverBudgetError(result.detail, result.exceeded)
            case ItemStatus.DIVERGED if key is not None:
                await self._diverge(key, result.detail or "the request differs")
            case ItemStatus.INVALID | ItemStatus.SKIPPED:
                raise InvalidStepError(result.detail)
            case ItemStatus.TAKEN:
                raise AlreadyReadError(result.detail)
            case ItemStatus.UNDELIVERABLE:
                raise UndeliverableMessageError(result.detail)
            case _:
                return

    async def _diverge(self, key: StepKey, detail: str) -> None:
        await self._wiring.record([self._wiring.pen.diverged(key, detail)])
        raise DivergenceError(self._wiring.pen.info.thread, key.ordinal, detail)

    def _count(self, done: Step | Receipt) -> None:
        self.totals.steps += 1
        self.totals.commit = done.commit or self.totals.commit
        if isinstance(done, Step) and done.origin is not None:
            return  # asked and paid for by the run that this one went on from
        self.totals.model_calls += done.kind is StepKind.MODEL
        self.totals.cost_usd += done.cost_usd
        self.totals.tokens += done.usage.tokens if done.usage else 0


def refusal(reason: str) -> ToolResult:
    """What the model reads when policy refused its call."""
    return failed({"refused": True, "reason": reason})


def failed(content: dict[str, Json]) -> ToolResult:
    """A result that tells the model what went wrong."""
    return ToolResult(ok=False, content=json.dumps(content, ensure_ascii=False))
