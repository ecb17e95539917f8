"""Holding a thread while a run works on it, and knowing at any moment whether it may go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import TracebackType
from typing import Protocol

import structlog

from agents.errors import HaltedError, LostLeaseError, RunStoppedError
from agents.finishing import cancelled
from ledger.errors import LeaseLostError, LedgerError
from ledger.rows import Lease, ThreadInfo
from ledger.store import Store
from ledger.vocabulary import project_scope, sprint_scope, task_scope

log = structlog.get_logger(__name__)

TTL = timedelta(seconds=15)
RENEW_EVERY = timedelta(seconds=4)
"""Three tries fit into a lease; standing is looked at as often, so that a revoked agent starts no step after five seconds."""


class Stop(Protocol):
    """Whether no new step may start, such as an `asyncio.Event`."""

    def is_set(self) -> bool: ...


class HeldLease:
    """Takes the lease, renews it and gives it back; the guard of the run's steps.

    Raises:
        LeaseHeldError: On entering, where another holder is at work.
    """

    def __init__(
        self,
        store: Store,
        info: ThreadInfo,
        holder: str,
        stopping: Stop,
        *,
        ttl: timedelta = TTL,
        renew_every: timedelta = RENEW_EVERY,
        take: Callable[[], Awaitable[Lease]] | None = None,
    ) -> None:
        """`take` takes the lease in another way than by `Store.acquire_lease`."""
        self._store = store
        self._info = info
        self._holder = holder
        self._stopping = stopping
        self._ttl = ttl
        self._every = renew_every
        self._take = take
        self._lease: Lease | None = None
        self._given_back = False
        self._valid_until = 0.0
        self._lost = False
        self._halt: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._renewing: asyncio.Task[None] | None = None

    @property
    def lease(self) -> Lease:
        assert self._lease is not None  # only inside the context
        return self._lease

    async def __aenter__(self) -> HeldLease:
        begun = time.monotonic()
        self._lease = await (self._take() if self._take else self._acquire())
        self._valid_until = begun + self._ttl.total_seconds()
        self._timer = asyncio.get_running_loop().call_later(self._every.total_seconds(), self._keep_on)
        return self

    def _keep_on(self) -> None:
        # Most runs end before it is time, and are spared a task.
        self._renewing = asyncio.create_task(self._keep(), name=f"lease-{self._info.thread}")

    async def _acquire(self) -> Lease:
        return await self._store.acquire_lease(self._info, self._holder, self._ttl)

    def given_back(self) -> None:
        """The end of the run has given it back already."""
        self._given_back = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._renewing is not None:
            await cancelled(self._renewing)
        if not self._lost and not self._given_back:
            try:
                await asyncio.shield(self._store.release_lease(self.lease))
            except LedgerError as failure:
                # It ends by itself; what matters more is how the run ended.
                log.warning("lease_not_released", thread=self._info.thread, error=str(failure)[:200])

    def check(self) -> None:
        """May another step start? Raises LostLeaseError, HaltedError or RunStoppedError."""
        if not self.holds():
            raise LostLeaseError
        if self._halt:
            raise HaltedError(self._halt)
        if self._stopping.is_set():
            raise RunStoppedError

    def holds(self) -> bool:
        """By our own clock: a process that was frozen for longer than the lease must not trust it when it wakes."""
        return not self._lost and time.monotonic() < self._valid_until

    async def _keep(self) -> None:
        while not self._lost:
            begun = time.monotonic()
            try:
                await self._store.renew_lease(self.lease, self._ttl)
                self._valid_until = begun + self._ttl.total_seconds()
                self._halt = await self._forbidden()
            except LeaseLostError:
                self._lost = True
                log.warning("lease_lost", thread=self._info.thread, epoch=self.lease.epoch)
            except LedgerError as error:
                log.warning("lease_not_renewed", thread=self._info.thread, error=str(error)[:200])
            await asyncio.sleep(self._every.total_seconds())

    async def _forbidden(self) -> str | None:
        info = self._info
        scopes = (
            project_scope(info.project),
            sprint_scope(info.project, info.sprint),
            task_scope(info.project, info.sprint, info.task),
            info.agent,
        )
        row = await self._store.halted(scopes)
        return None if row is None else f"{row.subject} is {row.standing}: {row.reason}"
