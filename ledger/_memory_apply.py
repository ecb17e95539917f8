"""The group commit of the in-memory twin: the same answers as `syndic.apply`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from ledger._memory_mail import Mail
from ledger._memory_state import NOTHING, Amount, Attempt, KeptStep, State, StepKey, Thread
from ledger._wire import Prepared
from ledger.chain import decimal_text
from ledger.errors import KeyConflictError
from ledger.events import BudgetViolated, LateAnswer
from ledger.items import Intent, ItemResult, ItemStatus, Mark, Receipt
from ledger.rows import Budget, NewEntry, Step
from ledger.vocabulary import Exceeded, StepKind, StepStatus


def _answer(status: ItemStatus, detail: str | None = None) -> ItemResult:
    return ItemResult(status=status, detail=detail)


def _with(status: ItemStatus, kept: KeptStep | None) -> ItemResult:
    return ItemResult(status=status, step=kept and kept.read())


def _diverged(step: Step) -> ItemResult:
    return _answer(ItemStatus.DIVERGED, f"step {step.ordinal}.{step.sub} was {step.kind} {step.request_digest}")


def _lost(thread: Thread) -> ItemResult:
    return _answer(ItemStatus.LOST_LEASE, f"thread {thread.info.thread} is at epoch {thread.epoch}")


def has_result(kept: KeptStep | None) -> bool:
    if kept is None:
        return False
    failed_for_good = kept.step.status is StepStatus.FAILED and kept.step.kind is not StepKind.MODEL
    return kept.step.status is StepStatus.DONE or failed_for_good


def no_thread(name: str) -> ItemResult:
    return _answer(ItemStatus.INVALID, f"there is no thread {name}")


def refusal_of_mark(thread: Thread | None, item: Mark) -> ItemResult | None:
    """Why a run that has lost its thread may not write beside its steps."""
    return _lost(thread) if thread is not None and item.epoch != thread.epoch else None


def apply_one(state: State, prepared: Prepared, now: datetime) -> ItemResult:
    """Apply one intent or receipt to the state, or refuse it without a change."""
    item = prepared.item
    assert isinstance(item, Intent | Receipt)  # the others are the store's own
    thread = state.threads.get(item.thread)
    if thread is None:
        return no_thread(item.thread)
    if item.ordinal < 0 or item.sub < 0:
        return _answer(ItemStatus.INVALID, "an ordinal is never negative")
    if isinstance(item, Intent):
        return _apply_intent(state, item, Amount(prepared.amount, prepared.tokens), thread, now)
    try:
        if item.kind is StepKind.MODEL:
            return _apply_model_receipt(state, item, prepared, thread, now)
        return _apply_plain_receipt(state, item, prepared, thread, now)
    except KeyConflictError as error:
        return _answer(ItemStatus.INVALID, str(error))


def _apply_intent(state: State, item: Intent, bound: Amount, thread: Thread, now: datetime) -> ItemResult:
    key = (item.thread, item.ordinal, item.sub)
    kept, attempts = state.steps.get(key), state.attempts.setdefault(key, [])
    if item.epoch != thread.epoch:
        return _lost(thread)
    if kept:
        if kept.step.kind is not StepKind.MODEL or kept.step.request_digest != item.request_digest:
            return _diverged(kept.step)
        if has_result(kept):
            return _with(ItemStatus.SERVED, kept)
        if kept.step.status is StepStatus.RESERVED:
            if (attempts[-1].bound, attempts[-1].name) == (bound, item.name):
                return _with(ItemStatus.OK, kept)
            if attempts[-1].state is StepStatus.RESERVED:
                state.charge_doubt(attempts[-1])
    halt = state.halted_by(thread)
    if halt:
        return _answer(ItemStatus.HALTED, halt)
    # A call that was begun cannot be preceded by the step that reads the message.
    if kept is None and item.heard is not None and _waits(state, thread, item.heard):
        return _answer(ItemStatus.MAIL)
    refusal = _refused_by_budget(state, thread, bound)
    if refusal:
        return refusal
    state.change_budgets(thread.path, reserved=bound)
    kept = state.steps[key] = KeptStep(_reserved_step(item, kept, now))
    attempts.append(
        Attempt(*key, kept.step.attempt, item.epoch, item.name, item.request_digest, bound, item.worker, now)
    )
    return _with(ItemStatus.OK, kept)


def _waits(state: State, thread: Thread, heard: Sequence[str]) -> bool:
    unread = Mail(state).unread(thread.info.project, thread.info.agent)
    return any(kept.message.id not in heard for kept in unread)


def _reserved_step(item: Intent, before: KeptStep | None, now: datetime) -> Step:
    return Step(
        thread=item.thread,
        ordinal=item.ordinal,
        sub=item.sub,
        kind=StepKind.MODEL,
        name=item.name,
        request_digest=item.request_digest,
        status=StepStatus.RESERVED,
        worker=item.worker,
        epoch=item.epoch,
        attempt=before.step.attempt + 1 if before else 1,
        started_at=now,
    )


def _refused_by_budget(state: State, thread: Thread, bound: Amount) -> ItemResult | None:
    nodes = [state.budgets[scope] for scope in thread.path if scope in state.budgets]
    for node in nodes:
        if node.violated:
            return _answer(
                ItemStatus.BLOCKED, f"budget {node.scope}: a bill exceeded its reservation; raise it to go on"
            )
    if len(nodes) < len(thread.path):
        return _answer(ItemStatus.INVALID, f"there is no budget of scope {thread.info.budget_scope}")
    return next((refusal for node in nodes if (refusal := _over(node, bound))), None)


def _over(node: Budget, bound: Amount) -> ItemResult | None:
    if node.limit_usd is not None and node.reserved_usd + node.spent_usd + bound.usd > node.limit_usd:
        limit, spent, reserved, asked = map(
            decimal_text, (node.limit_usd, node.spent_usd, node.reserved_usd, bound.usd)
        )
        detail = f"budget {node.scope}: limit {limit} USD, spent {spent}, reserved {reserved}, asked for {asked}"
        return ItemResult(status=ItemStatus.OVER_BUDGET, detail=detail, exceeded=Exceeded.USD)
    if node.limit_tokens is not None and node.reserved_tokens + node.spent_tokens + bound.tokens > node.limit_tokens:
        detail = (
            f"budget {node.scope}: limit {node.limit_tokens} tokens, spent {node.spent_tokens}, "
            f"reserved {node.reserved_tokens}, asked for {bound.tokens}"
        )
        return ItemResult(status=ItemStatus.OVER_BUDGET, detail=detail, exceeded=Exceeded.TOKENS)
    return None


def _apply_plain_receipt(state: State, item: Receipt, prepared: Prepared, thread: Thread, now: datetime) -> ItemResult:
    key = (item.thread, item.ordinal, item.sub)
    kept = state.steps.get(key)
    if item.epoch != thread.epoch:
        return _lost(thread)
    if kept:
        if kept.step.kind is not item.kind or kept.step.request_digest != item.request_digest:
            return _diverged(kept.step)
        return _with(ItemStatus.SERVED, kept)
    halt = state.halted_by(thread) if item.kind is StepKind.TOOL else None
    if halt:
        return _answer(ItemStatus.HALTED, halt)
    refusal = _refused_by_mail(state, item)
    if refusal:
        return refusal
    state.check_keys(item.entries)
    state.steps[key] = _finished(item, prepared, epoch=thread.epoch, attempt=1, started_at=now, now=now)
    _attach(state, item, now)
    return _with(ItemStatus.OK, state.steps[key])


def _refused_by_mail(state: State, item: Receipt) -> ItemResult | None:
    mail = Mail(state)
    if reason := mail.refusal_of_reading(item.acknowledged):
        return _answer(ItemStatus.TAKEN, reason)
    # What a step writes and reads at once, such as its own assignment, takes no room.
    sent = (message for message in item.outbox if message.id not in item.acknowledged)
    reason = next((reason for message in sent if (reason := mail.refuses(message))), None)
    return _answer(ItemStatus.UNDELIVERABLE, reason) if reason else None


def _apply_model_receipt(state: State, item: Receipt, prepared: Prepared, thread: Thread, now: datetime) -> ItemResult:
    key = (item.thread, item.ordinal, item.sub)
    kept, late = state.steps.get(key), item.epoch != thread.epoch
    answered = has_result(kept)
    attempt = _attempt_of(state, key, item)
    if attempt is None:
        return _unasked(item, thread, kept)
    if not attempt.is_open:
        if late or answered or attempt.state is item.status:
            return _with(ItemStatus.LATE if late else ItemStatus.SERVED if answered else ItemStatus.OK, kept)
        return _answer(ItemStatus.INVALID, f"attempt {attempt.attempt} has {attempt.state} already")
    assert kept is not None  # an attempt has a step
    written = not answered and (item.status is StepStatus.DONE or kept.step.attempt == attempt.attempt)
    if written:
        state.check_keys(item.entries)
    _settle(state, item, Amount(prepared.amount, prepared.tokens), thread, attempt, now)
    if late or answered:
        used = written and item.status is StepStatus.DONE
        _append_own(state, thread, attempt, _late_answer(attempt, prepared.amount, used=used), now)
    if written:
        started_at = kept.step.started_at
        kept = state.steps[key] = _finished(
            item, prepared, epoch=attempt.epoch, attempt=attempt.attempt, started_at=started_at, now=now
        )
        _attach(state, item, now)
    return _with(ItemStatus.LATE if late else ItemStatus.SERVED if answered else ItemStatus.OK, kept)


def _attempt_of(state: State, key: StepKey, item: Receipt) -> Attempt | None:
    own = [
        attempt
        for attempt in state.attempts.get(key, [])
        if attempt.epoch == item.epoch and attempt.request_digest == item.request_digest
    ]
    return max(own, key=lambda attempt: (attempt.is_open, attempt.name == item.name, attempt.attempt), default=None)


def _unasked(item: Receipt, thread: Thread, kept: KeptStep | None) -> ItemResult:
    if item.epoch != thread.epoch:
        return _lost(thread)
    if kept and (kept.step.kind is not StepKind.MODEL or kept.step.request_digest != item.request_digest):
        return _diverged(kept.step)
    if has_result(kept):
        return _with(ItemStatus.SERVED, kept)
    return _answer(ItemStatus.INVALID, "no intent came before this receipt")


def _settle(state: State, item: Receipt, bill: Amount, thread: Thread, attempt: Attempt, now: datetime) -> None:
    charged = attempt.bound if attempt.state is StepStatus.IN_DOUBT else NOTHING
    attempt.state, attempt.cost, attempt.model, attempt.usage = item.status, bill.usd, item.model, item.usage
    event = _violation(state, thread, attempt, bill)
    violated = event and event.scope
    state.change_budgets(thread.path, reserved=charged - attempt.bound, spent=bill - charged, violated=violated)
    if event:
        _append_own(state, thread, attempt, event, now)
    state.note_soft_limit(thread, now)


def _violation(state: State, thread: Thread, attempt: Attempt, bill: Amount) -> BudgetViolated | None:
    """What a bill above its reservation leaves on the record; tokens matter where they are limited."""
    over_tokens = bill.tokens > attempt.bound.tokens and any(
        state.budgets[scope].limit_tokens is not None for scope in thread.path
    )
    if bill.usd <= attempt.bound.usd and not over_tokens:
        return None
    return BudgetViolated(
        scope=thread.info.budget_scope,
        thread=attempt.thread,
        ordinal=attempt.ordinal,
        bound_usd=attempt.bound.usd,
        cost_usd=bill.usd,
        bound_tokens=attempt.bound.tokens if over_tokens else None,
        tokens=bill.tokens if over_tokens else None,
    )


def _late_answer(attempt: Attempt, cost: Decimal, *, used: bool) -> LateAnswer:
    return LateAnswer(thread=attempt.thread, ordinal=attempt.ordinal, sub=attempt.sub, cost_usd=cost, used=used)


def _append_own(
    state: State, thread: Thread, attempt: Attempt, event: BudgetViolated | LateAnswer, now: datetime
) -> None:
    key = f"{event.kind}:{attempt.thread}:{attempt.ordinal}.{attempt.sub}:{attempt.attempt}"
    entry = NewEntry(project=thread.info.project, key=key, kind=event.kind, body=event.model_dump(exclude_none=True))
    state.append(entry, now)


def _finished(
    item: Receipt, prepared: Prepared, *, epoch: int, attempt: int, started_at: datetime, now: datetime
) -> KeptStep:
    step = Step(
        thread=item.thread,
        ordinal=item.ordinal,
        sub=item.sub,
        kind=item.kind,
        name=item.name,
        request_digest=item.request_digest,
        status=item.status,
        model=item.model,
        usage=item.usage,
        cost_usd=prepared.amount,
        commit=item.commit,
        worker=item.worker,
        epoch=epoch,
        attempt=attempt,
        started_at=started_at,
        finished_at=now,
    )
    return KeptStep(step, prepared.result)


def _attach(state: State, item: Receipt, now: datetime) -> None:
    for entry in item.entries:
        state.append(entry, now)
    mail = Mail(state)
    for message in item.outbox:
        if message.id in item.acknowledged:
            mail.put_read(message, now)
        # An answer that was paid for is never refused for the sake of a message.
        (mail.park if item.kind is StepKind.MODEL else mail.put)(message, now)
    for name in item.acknowledged:
        kept = state.messages.get(name)
        if kept and kept.is_unread:
            kept.read_by_step = f"{item.thread}#{item.ordinal}.{item.sub}"
