"""The record in memory: the twin that tests use, held to Postgres by one conformance suite."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from ledger._memory_apply import apply_one, no_thread, refusal_of_mark
from ledger._memory_lineages import MemoryLineages
from ledger._memory_mail import Mail
from ledger._memory_messages import MemoryMessages
from ledger._memory_state import Attempt, State, Thread
from ledger._memory_teamwork import MemoryTeamwork, Tables
from ledger._memory_usage import cost_rows, usage_rows
from ledger._wire import entries_text, money, prepare
from ledger.clock import Clock, utc_now
from ledger.errors import (
    InvalidEntryError,
    LeaseHeldError,
    LeaseLostError,
    LedgerError,
    UnknownArtifactError,
    UnknownScopeError,
)
from ledger.items import Item, ItemResult, ItemStatus, Mark, Start, Started
from ledger.rows import Budget, CostBy, CostRow, Entry, Head, Lease, NewEntry, StandingRow, Step, ThreadInfo, UsageRow
from ledger.vocabulary import Standing, StepKind, StepStatus, scope_path


class MemoryStore(MemoryMessages, MemoryTeamwork, MemoryLineages):
    """Keeps `ledger.store.Store` for as long as the process lives."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._state = State()
        self._team = Tables()

    async def record(self, entries: Sequence[NewEntry]) -> list[Entry]:
        now = self._clock()
        try:
            entries_text(entries, now)
        except (TypeError, ValueError) as error:
            raise InvalidEntryError(str(error)) from error
        self._state.check_keys(tuple(entries))
        return [self._state.append(entry, now) for entry in entries]

    async def entries(self, project: str, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        return self._state.chains.get(project, [])[after : after + limit]

    async def head(self, project: str) -> Head:
        return self._state.head(project)

    async def projects(self) -> list[str]:
        return sorted(self._state.chains)

    async def acquire_lease(self, info: ThreadInfo, holder: str, ttl: timedelta) -> Lease:
        now = self._clock()
        thread = self._state.threads.setdefault(info.thread, Thread(info))
        if thread.holder not in (None, holder) and thread.expires_at and thread.expires_at > now:
            raise LeaseHeldError(info.thread, str(thread.holder), (thread.expires_at - now).total_seconds())
        self._state.doubt(info.thread)
        Mail(self._state).open(info.project, info.agent, reopen=True)
        thread.epoch, thread.holder, thread.expires_at = thread.epoch + 1, holder, now + ttl
        return Lease(thread=info.thread, holder=holder, epoch=thread.epoch)

    def _held(self, lease: Lease) -> Thread | None:
        thread = self._state.threads.get(lease.thread)
        held = thread and (thread.holder, thread.epoch) == (lease.holder, lease.epoch)
        return thread if held else None

    async def renew_lease(self, lease: Lease, ttl: timedelta) -> None:
        thread = self._held(lease)
        if thread is None:
            raise LeaseLostError
        thread.expires_at = self._clock() + ttl

    async def release_lease(self, lease: Lease) -> None:
        thread = self._held(lease)
        if thread:
            thread.holder = thread.expires_at = None

    async def reconcile(self, project: str) -> int:
        now = self._clock()
        ended = [
            thread
            for thread in self._state.threads.values()
            if thread.info.project == project and self._is_over(thread, now)
        ]
        for thread in ended:
            self._state.doubt(thread.info.thread)
            thread.epoch, thread.holder, thread.expires_at = thread.epoch + 1, None, None
        return len(ended)

    async def lapsed(self) -> list[str]:
        now = self._clock()
        return sorted({thread.info.project for thread in self._state.threads.values() if self._is_over(thread, now)})

    def _is_over(self, thread: Thread, now: datetime) -> bool:
        if thread.expires_at is not None:
            return thread.expires_at <= now
        own = (attempt for attempt in self._attempts() if attempt.thread == thread.info.thread)
        return any(attempt.state is StepStatus.RESERVED for attempt in own)

    def _attempts(self) -> list[Attempt]:
        return [attempt for _, attempts in sorted(self._state.attempts.items()) for attempt in attempts]

    async def steps(self, thread: str) -> list[Step]:
        return [kept.read() for key, kept in sorted(self._state.steps.items()) if key[0] == thread]

    async def apply(self, items: Sequence[Item], *, brief: bool = False) -> list[ItemResult]:
        now = self._clock()
        results: list[ItemResult] = []
        for item in items:
            if item.chained and results and results[-1].status not in (ItemStatus.OK, ItemStatus.SERVED):
                results.append(ItemResult(status=ItemStatus.SKIPPED))
                continue
            result = await self._apply_one(item, now)
            left_out = brief and result.status is ItemStatus.OK and not isinstance(item, Start)
            results.append(result.model_copy(update={"step": None}) if left_out else result)
        return results

    async def _apply_one(self, item: Item, now: datetime) -> ItemResult:
        try:
            prepared = prepare(item, now)
        except (LedgerError, TypeError, ValueError, ArithmeticError) as error:
            return ItemResult(status=ItemStatus.INVALID, detail=str(error)[:500])
        match item:
            case Start():
                return await self._start(item)
            case Mark():
                return await self._mark(item, now)
            case _:
                return apply_one(self._state, prepared, now)

    async def _start(self, item: Start) -> ItemResult:
        info = item.info
        if scope_path(info.budget_scope)[0] in self._state.budgets:
            await self.open_budget(info.budget_scope, None)
        try:
            lease = await self.acquire_lease(info, item.holder, item.ttl)
        except LeaseHeldError as held:
            return ItemResult(status=ItemStatus.HELD, detail=held.holder, seconds_left=held.seconds_left)
        started = Started(
            lease=lease,
            steps=tuple(await self.steps(info.thread)),
            unread=tuple(await self.inbox(info.project, info.agent)),
            memories=tuple(await self.recall(info.project, info.agent)),
        )
        return ItemResult(status=ItemStatus.OK, started=started)

    async def _mark(self, item: Mark, now: datetime) -> ItemResult:
        thread = self._state.threads.get(item.thread)
        refusal = refusal_of_mark(thread, item)
        if thread is None or refusal is not None:
            return refusal or no_thread(item.thread)
        try:
            self._state.check_keys(item.entries)
            if item.card is not None:
                await self.publish_card(thread.info.project, item.card)
        except LedgerError as error:
            return ItemResult(status=ItemStatus.INVALID, detail=str(error))
        if item.artifact is not None:
            await self.put_artifact(item.artifact.encode(), "application/json")
        for entry in item.entries:
            self._state.append(entry, now)
        if item.releases is None:
            return ItemResult(status=ItemStatus.OK)
        await self.release_lease(Lease(thread=item.thread, holder=item.releases, epoch=item.epoch))
        known = (self._state.budgets.get(scope) for scope in thread.path)
        return ItemResult(status=ItemStatus.OK, budgets=tuple(node for node in known if node))

    async def in_doubt(self, project: str) -> list[Step]:
        return [
            Step(
                thread=attempt.thread,
                ordinal=attempt.ordinal,
                sub=attempt.sub,
                kind=StepKind.MODEL,
                name=attempt.name,
                request_digest=attempt.request_digest,
                status=StepStatus.IN_DOUBT,
                cost_usd=attempt.bound.usd,
                worker=attempt.worker,
                epoch=attempt.epoch,
                attempt=attempt.attempt,
                started_at=attempt.asked_at,
            )
            for attempt in self._attempts()
            if attempt.state is StepStatus.IN_DOUBT and self._project_of(attempt) == project
        ]

    def _project_of(self, attempt: Attempt) -> str:
        return self._state.threads[attempt.thread].info.project

    async def open_budget(self, scope: str, limit_usd: Decimal | None, limit_tokens: int | None = None) -> Budget:
        parts = scope.split("/")
        limits = {"limit_usd": None if limit_usd is None else money(limit_usd), "limit_tokens": limit_tokens}
        for node in ("/".join(parts[: n + 1]) for n in range(len(parts))):
            fresh = Budget(scope=node, limit_usd=None, reserved_usd=Decimal(0), spent_usd=Decimal(0))
            self._state.budgets.setdefault(node, fresh.model_copy(update=limits) if node == scope else fresh)
        return self._state.budgets[scope]

    async def raise_budget(self, scope: str, limit_usd: Decimal | None, limit_tokens: int | None = None) -> Budget:
        node = await self.budget(scope)
        for below in [other for name, other in self._state.budgets.items() if name.startswith(f"{scope}/")]:
            self._state.budgets[below.scope] = below.model_copy(update={"violated": False})
        limits = {
            "limit_usd": node.limit_usd if limit_usd is None else money(limit_usd),
            "limit_tokens": node.limit_tokens if limit_tokens is None else limit_tokens,
        }
        self._state.budgets[scope] = node.model_copy(update={**limits, "violated": False})
        return self._state.budgets[scope]

    async def budget(self, scope: str) -> Budget:
        if scope not in self._state.budgets:
            raise UnknownScopeError(f"there is no budget of scope {scope}")
        return self._state.budgets[scope]

    async def budget_path(self, scope: str) -> list[Budget]:
        return [await self.budget(node) for node in scope_path(scope)]

    async def usage(self, project: str) -> list[UsageRow]:
        return usage_rows(self._state, project)

    async def cost(self, project: str, by: CostBy) -> list[CostRow]:
        return cost_rows(self._state, project, by)

    async def put_artifact(self, content: bytes, media_type: str = "text/plain") -> str:
        digest = hashlib.sha256(content).hexdigest()
        self._state.artifacts.setdefault(digest, bytes(content))
        return digest

    async def get_artifact(self, digest: str) -> bytes:
        if digest not in self._state.artifacts:
            raise UnknownArtifactError(f"there is no artifact {digest}")
        return self._state.artifacts[digest]

    async def set_standing(self, subject: str, standing: Standing, reason: str) -> None:
        known = self._state.standings.get(subject)
        if known is None or (known.standing, known.reason) != (standing, reason):
            row = StandingRow(subject=subject, standing=standing, reason=reason, at=self._clock())
            self._state.standings[subject] = row

    async def standing(self, subject: str) -> StandingRow | None:
        return self._state.standings.get(subject)

    async def halted(self, subjects: Sequence[str]) -> StandingRow | None:
        rows = [await self.standing(subject) for subject in subjects]
        return next((row for row in rows if row is not None and row.standing is not Standing.ACTIVE), None)

    async def close(self) -> None:
        """Nothing to let go of."""
