"""Reading an inbox: own unacknowledged entries first, each message once, dead letters instead of endless tries."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from agents.appending import inbox_key
from agents.bus import BATCH, FIELD, GROUP, put_aside
from agents.envelope import Envelope, parse_envelope
from agents.errors import EnvelopeError
from agents.feed import stream_rows
from ledger.clock import Clock, utc_now
from ledger.messages import NewDeadLetter
from ledger.store import Store

log = structlog.get_logger(__name__)

DELIVERIES = 5
"""How often a message is handed out before it is put aside."""
REMEMBERED = 4_096
"""Ids a reader remembers, to hand a message out once although it may be delivered twice."""
MAX_PENDING = 1_000
"""Unacknowledged entries that are looked at at once."""
MAX_STRAY = 2_000
"""Characters that are kept of what is no envelope."""

Entry = tuple[str, dict[str, str]]


class Inbox:
    """One agent's stream, read by one consumer of its group. The consumer's name is the agent's id.

    Whoever reads holds the consumer's lease (`agents.consuming`); an agent at work reads the record instead and only
    settles here what it has read.
    """

    def __init__(
        self,
        redis: Redis,
        store: Store,
        project: str,
        agent: str,
        *,
        consumer: str | None = None,
        deliveries: int = DELIVERIES,
        clock: Clock = utc_now,
    ) -> None:
        self._redis = redis
        self._store = store
        self._project = project
        self._agent = agent
        self._key = inbox_key(project, agent)
        self._failures = f"{self._key}:failures"
        self._consumer = consumer or agent
        self._deliveries = deliveries
        self._clock = clock
        self._entries: OrderedDict[str, list[str]] = OrderedDict()
        self._done: OrderedDict[str, None] = OrderedDict()
        self._tries: dict[str, int] = {}
        self._cursor: str | None = "-"
        """Where the reading of own unacknowledged entries stands; None once they are through."""
        self._unread: set[str] = set()

    async def read(self, count: int = BATCH, block_ms: int | None = None) -> list[Envelope]:
        """The next messages: what this consumer had before and never acknowledged, one by one, then new ones.

        One by one, so that only the message at hand counts as tried when its reader dies.

        Args:
            count: New ones at most.
            block_ms: How long to wait for a new one; None does not wait.

        Raises:
            RedisError: The stream cannot be read; read again.
        """
        try:
            if self._cursor is not None and (found := await self._left_over()) is not None:
                return [found]
            return await self._fresh(count, block_ms)
        except RedisError:
            self._cursor = "-"  # an answer may have been lost on its way: its entries are ours now
            raise

    async def acknowledge(self, ids: Iterable[str]) -> None:
        """Say that the step which read these messages is committed."""
        entries: list[str] = []
        failed: list[str] = []
        for id in ids:
            if (own := self._entries.pop(id, None)) is None:
                continue
            entries += own
            if self._tries.pop(id, 1) > 1:
                failed.append(id)
            _remember(self._done, id, None)
        if not entries:
            return
        try:
            await self._redis.xack(self._key, GROUP, *entries)
            if failed:
                await self._redis.hdel(self._failures, *failed)
        except RedisError:
            self._cursor = "-"  # they are still ours, and will be found to have been read
            raise

    async def fail(self, envelope: Envelope, reason: str) -> bool:
        """Say that reading a message failed. True: it lies among the dead letters now. False: try it again.

        It is tried in place, so that what its sender wrote after it stays after it.
        """
        tried = self._tries.get(envelope.id, 1)
        if tried >= self._deliveries:
            await self._bury(envelope, f"{reason} ({tried} tries)", tried)
            return True
        if entries := self._entries.get(envelope.id):
            # Kept beside the stream: whoever gives it up may be another process.
            await self._redis.hset(self._failures, envelope.id, reason)
            await self._count(entries[-1])
        self._tries[envelope.id] = tried + 1
        return False

    async def settle(self) -> None:
        """For readers of the record: acknowledge whatever the record does not count as unread any more."""
        fresh = await self._take(">", BATCH, None)
        while len(fresh) == BATCH:
            fresh = await self._take(">", BATCH, None)
        waiting = {message.entry for message in await self._store.inbox(self._project, self._agent)}
        pending = await self._pending("-", MAX_PENDING)
        entries = [entry for item in pending if (entry := _text(item["message_id"])) not in waiting]
        if entries:
            await self._redis.xack(self._key, GROUP, *entries)

    async def reclaim(self) -> int:
        """Take over what consumers left behind that nobody reads as any more: their leases have run out.

        Returns how many entries; they come with the next reads, before new ones.
        """
        held = {*await self._store.consumers(self._project, self._agent), self._consumer}
        taken = 0
        for row in await self._redis.xinfo_consumers(self._key, GROUP):
            name = _text(row["name"])
            if name in held:
                continue
            entries: list[Any] = [_text(item["message_id"]) for item in await self._pending("-", MAX_PENDING, name)]
            if entries:
                # XAUTOCLAIM would take from every consumer. JUSTID: being taken over is no try.
                await self._redis.xclaim(self._key, GROUP, self._consumer, 0, entries, justid=True)
            else:
                await self._redis.xgroup_delconsumer(self._key, GROUP, name)
            taken += len(entries)
        if taken:
            self._cursor = "-"
        return taken

    async def _left_over(self) -> Envelope | None:
        """The next own entry that was never acknowledged and is not in anybody's hands; only handing it out is a try."""
        handed = {entry for entries in self._entries.values() for entry in entries}
        if self._cursor == "-":
            self._unread = {message.id for message in await self._store.inbox(self._project, self._agent)}
        while self._cursor is not None:
            pending = await self._pending(self._cursor, 1)
            if not pending:
                self._cursor = None
                break
            entry, tried = _text(pending[0]["message_id"]), int(pending[0]["times_delivered"])
            self._cursor = f"({entry}"
            if entry not in handed and (envelope := await self._claim(entry, tried)) is not None:
                return envelope
        return None

    async def _claim(self, entry: str, tried: int) -> Envelope | None:
        """Hand an entry out again; not one that was read, and not one that was tried too often."""
        rows = _rows(await self._redis.xrange(self._key, entry, entry))
        envelope = await self._parse(rows[0] if rows else (entry, {}))
        if envelope is None or not self._is_new(entry, envelope.id):
            return None
        if envelope.id not in self._unread:
            await self.acknowledge([envelope.id])
            return None
        if tried >= self._deliveries:
            known = await self._redis.hget(self._failures, envelope.id)
            reason = _text(known) if known else "never acknowledged: each reader ended while it had it"
            await self._bury(envelope, f"{reason} ({tried} tries)", tried)
            return None
        await self._count(entry)
        self._tries[envelope.id] = tried + 1
        return envelope

    async def _count(self, entry: str) -> None:
        """One try more, kept by Redis, so that it also counts when this process does not live to say so."""
        entries: list[Any] = [entry]
        try:
            await self._redis.xclaim(self._key, GROUP, self._consumer, 0, entries)
        except ResponseError as error:
            await self._make_group(error)  # wiped: the message comes again, and is counted here alone

    async def _pending(self, start: str, count: int, consumer: str | None = None) -> list[dict[str, Any]]:
        for _ in range(2):
            try:
                return await self._redis.xpending_range(self._key, GROUP, start, "+", count, consumer or self._consumer)
            except ResponseError as error:
                await self._make_group(error)
        return []

    async def _fresh(self, count: int, block_ms: int | None) -> list[Envelope]:
        found: list[Envelope] = []
        for row in await self._take(">", count, block_ms):
            envelope = await self._parse(row)
            if envelope is None:
                continue
            if envelope.id in self._done:
                await self._redis.xack(self._key, GROUP, row[0])
            elif self._is_new(row[0], envelope.id):
                found.append(envelope)
        return found

    async def _take(self, position: str, count: int, block_ms: int | None) -> list[Entry]:
        for _ in range(2):
            try:
                answer = await self._redis.xreadgroup(
                    GROUP, self._consumer, {self._key: position}, count=count, block=block_ms
                )
                return stream_rows(answer)
            except ResponseError as error:
                await self._make_group(error)
        return []

    async def _make_group(self, error: ResponseError) -> None:
        """What to do about an error that says that there is no group: none yet, or Redis was wiped."""
        if "NOGROUP" not in str(error):
            raise error
        try:
            await self._redis.xgroup_create(self._key, GROUP, id="0", mkstream=True)
        except ResponseError as clash:
            if "BUSYGROUP" not in str(clash):
                raise

    async def _parse(self, row: Entry) -> Envelope | None:
        entry, fields = row
        try:
            envelope = parse_envelope(fields.get(FIELD, ""), self._clock())
            if (envelope.project, envelope.target) != (self._project, self._agent):
                raise EnvelopeError(f"it is for {envelope.target} of project {envelope.project}")
            return envelope
        except EnvelopeError as error:
            if fields:  # else it was deleted by hand while it was pending: the record delivers it again
                await self._park(entry, fields, str(error))
            await self._redis.xack(self._key, GROUP, entry)
            return None

    async def _park(self, entry: str, fields: dict[str, str], reason: str) -> None:
        """An entry that is no message. Where the record has a message in its place, that is what is put aside."""
        inbox = await self._store.inbox(self._project, self._agent)
        own = next((message.id for message in inbox if message.entry == entry), None)
        letter = NewDeadLetter(
            id=own or f"{self._key}#{entry}", project=self._project, inbox=self._agent, reason=reason, deliveries=1,
            body=str(fields.get(FIELD, fields))[:MAX_STRAY], is_message=own is not None,
        )  # fmt: skip
        await put_aside(self._store, self._redis, letter)

    async def _bury(self, envelope: Envelope, reason: str, tried: int) -> None:
        letter = NewDeadLetter(
            id=envelope.id, project=self._project, inbox=self._agent, reason=reason, deliveries=tried,
            body=envelope.model_dump_json(),
        )  # fmt: skip
        await put_aside(self._store, self._redis, letter)
        await self._redis.hdel(self._failures, envelope.id)
        await self.acknowledge([envelope.id])
        self._done.pop(envelope.id, None)  # it may be replayed

    def _is_new(self, entry: str, id: str) -> bool:
        known = self._entries.get(id)
        if known is not None and entry not in known:
            known.append(entry)
        if known is None:
            _remember(self._entries, id, [entry])
        return known is None


def _remember(kept: OrderedDict[str, Any], key: str, value: Any) -> None:
    kept[key] = value
    while len(kept) > REMEMBERED:
        kept.popitem(last=False)


def _rows(answer: Any) -> list[Entry]:
    return stream_rows([["", answer]])


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
