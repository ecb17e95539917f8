"""A reader that stays: it holds its consumer's lease, hands messages over one by one and acknowledges what is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import structlog
from redis.exceptions import RedisError

from agents.envelope import Envelope
from agents.errors import AlreadyReadError, LostLeaseError
from agents.inbox import Inbox
from ledger.errors import ConsumerHeldError, LedgerError, SchemaError, StoreUnreachableError
from ledger.messages import ConsumerLease
from ledger.store import Store

log = structlog.get_logger(__name__)

TTL = timedelta(seconds=15)
BLOCK_MS = 500
PAUSE_S = 0.2
"""Between attempts while Redis or the record is away."""
MAX_REASON = 500
AWAY = (RedisError, OSError, StoreUnreachableError, SchemaError)

Handle = Callable[[Envelope], Awaitable[object]]
"""Commits what a message causes, together with its acknowledgement (`Receipt.acknowledged`), before it returns.

AlreadyReadError says that it was committed before. Any other error of its own counts as a try of the message.
"""


class ConsumerSeat:
    """The right to read an inbox under a name, taken and renewed while the block runs.

    Raises:
        ConsumerHeldError: On entering, where another process reads under this name.
    """

    def __init__(
        self, store: Store, project: str, agent: str, holder: str, *, consumer: str | None = None, ttl: timedelta = TTL
    ) -> None:
        self._store = store
        self._where = (project, agent, consumer or agent, holder)
        self._ttl = ttl
        self._lease: ConsumerLease | None = None
        self._renewing: asyncio.Task[None] | None = None
        self.lost = False

    async def __aenter__(self) -> ConsumerSeat:
        self._lease = await self._store.hold_inbox(*self._where, self._ttl)
        self._renewing = asyncio.create_task(self._keep(), name=f"seat-{self._where[2]}")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._renewing is not None
        assert self._lease is not None
        self._renewing.cancel()
        await asyncio.gather(self._renewing, return_exceptions=True)
        if not self.lost:
            try:
                await self._store.leave_inbox(self._lease)
            except LedgerError as error:
                log.warning("seat_not_left", consumer=self._where[2], error=str(error)[:200])  # it ends by itself

    async def _keep(self) -> None:
        while not self.lost:
            await asyncio.sleep(self._ttl.total_seconds() / 3)
            try:
                lease = await self._store.hold_inbox(*self._where, self._ttl)
                self.lost = lease != self._lease
            except ConsumerHeldError:
                self.lost = True
            except LedgerError as error:
                log.warning("seat_not_renewed", consumer=self._where[2], error=str(error)[:200])


async def consume(inbox: Inbox, seat: ConsumerSeat, handle: Handle, stopping: asyncio.Event) -> None:
    """Read an inbox until `stopping` is set; trouble with Redis or the record is waited out.

    A message whose handling fails is tried again in its place and put aside after `DELIVERIES` tries.

    Raises:
        ConsumerHeldError: Another process reads under this name.
        LostLeaseError: Another process has taken the name over.
    """
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(seat)
        while not stopping.is_set():
            if seat.lost:
                raise LostLeaseError
            try:
                envelopes = await inbox.read(block_ms=BLOCK_MS)
            except AWAY as error:
                await _wait_out(error)
                continue
            for envelope in envelopes:
                await _deal_with(inbox, envelope, handle, stopping)


async def _deal_with(inbox: Inbox, envelope: Envelope, handle: Handle, stopping: asyncio.Event) -> None:
    """Until it is read or put aside. Nothing after it is touched before, so that order holds."""
    while not stopping.is_set():
        try:
            if await _is_through(inbox, envelope, handle):
                await inbox.acknowledge([envelope.id])
                return
        except AWAY as error:
            await _wait_out(error)


async def _is_through(inbox: Inbox, envelope: Envelope, handle: Handle) -> bool:
    try:
        await handle(envelope)
    except AlreadyReadError:
        return True
    except (*AWAY, LostLeaseError):
        raise  # no fault of the message
    except Exception as error:
        return await inbox.fail(envelope, f"{type(error).__name__}: {error}"[:MAX_REASON])
    return True


async def _wait_out(error: Exception) -> None:
    log.warning("consumer_waiting", error=str(error)[:200] or type(error).__name__)
    await asyncio.sleep(PAUSE_S)
