"""Delivery of messages: rows of the outbox go to Redis Streams, one inbox an agent, at least once.

Postgres holds every message and what was read; Redis only delivers. A wiped Redis loses nothing: what no step has read is
delivered again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from datetime import timedelta

import structlog
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from agents.feed import stream_rows
from agents.messages import EVERYONE
from ledger.errors import LedgerError
from ledger.store import Message, Store

log = structlog.get_logger(__name__)

GROUP = "readers"
BATCH = 100
MAX_MESSAGES = 10_000
"""Roughly how many messages an inbox's stream keeps; the record keeps all."""
REMEMBERED = 4096
"""Ids a reader remembers, to hand a message out once although it may be delivered twice."""

EPOCH_KEY = "syndic:bus:epoch"
"""Present as long as Redis has kept its memory; its absence means that inboxes were lost."""


def inbox_key(project: str, agent: str) -> str:
    name = "everyone" if agent == EVERYONE else f"inbox:{agent}"
    return f"syndic:{{{project}}}:{name}"


class Relay:
    """Hands undelivered messages to Redis. Any number of relays may run; a message may then arrive twice."""

    def __init__(self, store: Store, redis: Redis) -> None:
        self._store = store
        self._redis = redis

    async def deliver(self) -> int:
        """Deliver what is waiting; returns how many messages were handed over.

        Raises:
            RedisError: Redis cannot be reached; nothing is marked delivered that was not.
        """
        await self._notice_a_wipe()
        delivered = 0
        while batch := await self._store.undelivered(BATCH):
            for message in batch:
                await self._hand_over(message)
            await self._store.mark_delivered([message.id for message in batch])
            delivered += len(batch)
        return delivered

    async def run(self, stopping: asyncio.Event, every: timedelta = timedelta(milliseconds=250)) -> None:
        """Deliver until `stopping` is set; trouble with Redis or the store is logged and tried again."""
        while not stopping.is_set():
            try:
                await self.deliver()
            except (RedisError, OSError, LedgerError) as error:
                log.warning("relay_waiting", error=str(error)[:200])
            try:
                await asyncio.wait_for(stopping.wait(), every.total_seconds())
            except TimeoutError:
                continue

    async def _notice_a_wipe(self) -> None:
        if not await self._redis.exists(EPOCH_KEY):
            count = await self._store.redeliver()
            await self._redis.set(EPOCH_KEY, "1")
            if count:
                log.info("inboxes_redelivered", messages=count)

    async def _hand_over(self, message: Message) -> None:
        key = inbox_key(message.project, message.target)
        await _ensure_group(self._redis, key)
        await self._redis.xadd(key, {"message": message.model_dump_json()}, maxlen=MAX_MESSAGES, approximate=True)


class Inbox:
    """Reads one agent's stream. The consumer's name is the agent's id, and what it left unacknowledged comes first."""

    def __init__(self, redis: Redis, project: str, agent: str) -> None:
        self._redis = redis
        self._key = inbox_key(project, agent)
        self._consumer = agent
        self._entries: OrderedDict[str, list[str]] = OrderedDict()

    async def read(self, count: int = BATCH, block_ms: int | None = None) -> list[Message]:
        """Messages that were not handed out yet, pending ones before new ones; each id once, however often delivered."""
        await _ensure_group(self._redis, self._key)
        pending = await self._take("0", count, None)
        fresh = await self._take(">", count, None if pending else block_ms)
        return [message for entry, message in pending + fresh if self._is_new(entry, message)]

    async def acknowledge(self, ids: Iterable[str]) -> None:
        """Say that the step which read these messages is committed."""
        entries = [entry for id in ids for entry in self._entries.get(id, ())]
        if entries:
            await self._redis.xack(self._key, GROUP, *entries)

    def handed_out(self) -> tuple[str, ...]:
        """Ids of messages that were read here and are remembered."""
        return tuple(self._entries)

    async def _take(self, position: str, count: int, block_ms: int | None) -> list[tuple[str, Message]]:
        answer = await self._redis.xreadgroup(GROUP, self._consumer, {self._key: position}, count=count, block=block_ms)
        found = [(entry, await self._parse(entry, fields)) for entry, fields in stream_rows(answer)]
        return [(entry, message) for entry, message in found if message is not None]

    async def _parse(self, entry: str, fields: dict[str, str]) -> Message | None:
        try:
            return Message.model_validate_json(fields.get("message", ""))
        except ValidationError:
            # Not ours, or trimmed while it was pending: it can never be read, and would come again for ever.
            log.warning("message_unreadable", inbox=self._key, entry=entry)
            await self._redis.xack(self._key, GROUP, entry)
            return None

    def _is_new(self, entry: str, message: Message) -> bool:
        entries = self._entries.setdefault(message.id, [])
        is_new = not entries
        if entry not in entries:
            entries.append(entry)
        while len(self._entries) > REMEMBERED:
            self._entries.popitem(last=False)
        return is_new


async def _ensure_group(redis: Redis, key: str) -> None:
    try:
        await redis.xgroup_create(key, GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
