"""Delivery of messages: rows of the outbox go to Redis Streams, one stream an inbox, in order, again where Redis forgot.

Postgres holds every message and what was read; Redis only delivers. An entry's id is `<generation>-<number>`, given by the
record, and a stream takes only the number that follows its last one. So a relay that is late, or a second one, can neither
double nor reorder anything, and a stream that has lost its end is noticed before something is put behind the gap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from agents.appending import Append, Verdict, append_all, inbox_key
from agents.envelope import envelope_of, sealed
from agents.errors import EnvelopeError
from ledger.chain import compact
from ledger.errors import LedgerError
from ledger.messages import EVERYONE, TEAM, InboxEnd, Message, NewDeadLetter
from ledger.store import Store

log = structlog.get_logger(__name__)

GROUP = "readers"
FIELD = "envelope"
BATCH = 100
KEPT = 2_000
"""Entries that a stream may have before what was read is trimmed; the record keeps all."""
TRIM_EVERY = 100
"""Entries between two looks at what can go: more unread ones than are kept must not cost a look each."""
KEPT_UNREAD = 10_000
"""Entries of a project's own streams that are kept where no group reads them."""
GATHER_S = 0.015
"""After a delivery: what many runs write within a moment goes in one turn."""
AUDIT_EVERY_S = 2.0
"""How often streams that nothing is appended to are looked at for what Redis has lost."""


def dead_key(project: str) -> str:
    """The stream of a project's dead letters, for watching; the table `syndic.dead_letters` is what counts."""
    return f"syndic:{{{project}}}:dead"


class Relay:
    """Hands undelivered messages to Redis. Any number of relays may run; one at a time has the turn, which saves work."""

    def __init__(self, store: Store, redis: Redis) -> None:
        self._store = store
        self._redis = redis
        self._audited = 0.0

    async def run(self, stopping: asyncio.Event, every: timedelta = timedelta(milliseconds=250)) -> None:
        """Deliver until `stopping` is set: at once on word from the record, and every now and then without.

        Trouble with Redis or the store is logged and tried again.
        """
        while not stopping.is_set():
            try:
                if await self._store.relay_turn(every):
                    await self._audit_now_and_then()
                    if await self.deliver():
                        await asyncio.sleep(GATHER_S)
            except (RedisError, OSError, LedgerError) as error:
                log.warning("relay_waiting", error=str(error)[:200] or type(error).__name__)
                await asyncio.sleep(every.total_seconds())

    async def deliver(self) -> int:
        """Deliver what is waiting; returns how many messages were handed over.

        Raises:
            RedisError: Redis cannot be reached; nothing is marked delivered that was not.
        """
        delivered = 0
        while batch := await self._store.undelivered(BATCH):
            inboxes = groupby(sorted(batch, key=_place), key=_inbox)
            handed = await self._hand_over([list(messages) for _, messages in inboxes])
            delivered += handed
            if handed == len(batch) < BATCH:
                break
        return delivered

    async def audit(self) -> int:
        """Look whether Redis still has what was delivered; returns how many messages are to be delivered again.

        Raises:
            RedisError: Redis cannot be reached.
        """
        return sum([await self._audit(end) for end in await self._store.inbox_ends()])

    async def _audit_now_and_then(self) -> None:
        if time.monotonic() - self._audited >= AUDIT_EVERY_S:
            await self.audit()
            self._audited = time.monotonic()

    async def _audit(self, end: InboxEnd) -> int:
        generation, number = await self._last(inbox_key(end.project, end.name))
        if (generation, number) >= (end.generation, end.number):
            return 0
        return await self._renew(end.project, end.name, end.generation)

    async def _last(self, key: str) -> tuple[int, int]:
        try:
            info = await self._redis.xinfo_stream(key)
        except ResponseError:
            return 0, 0  # there is no such stream any more
        return _numbers(info["last-generated-id"])

    async def _hand_over(self, inboxes: Sequence[Sequence[Message]]) -> int:
        """Append to each inbox what is next there, in one round trip, and note in another what was appended.

        Raises:
            RedisError: A stream takes nothing; what the others took is noted before.
        """
        sealed_ones = [Append(messages, await self._fit(messages)) for messages in inboxes]
        appends = [append for append in sealed_ones if append.texts]
        answers = await append_all(self._redis, appends)
        done = [append for append, (verdict, _) in zip(appends, answers, strict=True) if verdict == Verdict.DONE]
        for generation in {append.first.generation for append in done}:
            ids = [
                message.id for append in done if append.first.generation == generation for message in append.messages
            ]
            await self._store.mark_delivered(ids, generation)
        for append, (verdict, number) in zip(appends, answers, strict=True):
            await self._follow_up(append, verdict, number)
        return sum(len(append.messages) for append in done)

    async def _fit(self, messages: Sequence[Message]) -> Sequence[str]:
        """The envelopes; none where one of them cannot be read by anyone, and is put aside instead."""
        fit = [text for message in messages if (text := await self._sealed(message)) is not None]
        if len(fit) == len(messages):
            return fit
        first = messages[0]
        await self._renew(first.project, first.target, first.generation)  # close the gap in the numbers
        return ()

    async def _follow_up(self, append: Append, verdict: int, number: Any) -> None:
        first, last = append.first, append.messages[-1]
        if verdict == Verdict.FAILED:
            raise number
        if verdict != Verdict.DONE:
            above = number if verdict == Verdict.AHEAD else 0
            await self._renew(first.project, first.target, first.generation, above)
        elif number > KEPT and (last.number or 0) // TRIM_EVERY != ((first.number or 0) - 1) // TRIM_EVERY:
            await self._trim(last)

    async def _trim(self, last: Message) -> None:
        """Drop what nobody needs any more: in an inbox what the record counts as read, whoever has acknowledged it.

        Never what comes after `last`: another relay may have added it since the record was asked.
        """
        key = inbox_key(last.project, last.target)
        if last.target in (EVERYONE, TEAM):
            await trim(self._redis, key)
            return
        unread = [
            (message.generation, message.number) for message in await self._store.inbox(last.project, last.target)
        ]
        if all(generation and number for generation, number in unread):
            generation, number = min(unread, default=(last.generation, (last.number or 0) + 1))
            await self._redis.xtrim(key, minid=f"{generation}-{number}", approximate=False)

    async def _sealed(self, message: Message) -> str | None:
        try:
            return sealed(envelope_of(message))
        except EnvelopeError as error:
            letter = NewDeadLetter(
                id=message.id, project=message.project, inbox=message.target, reason=f"no valid envelope: {error}",
                deliveries=0, body=compact(message.payload),
            )  # fmt: skip
            await put_aside(self._store, self._redis, letter)
            return None

    async def _renew(self, project: str, name: str, generation: int | None, above: int = 0) -> int:
        count = await self._store.redeliver(project, name, generation=generation, above=above)
        log.info("inbox_redelivered", project=project, inbox=name, messages=count)
        return count


async def put_aside(store: Store, redis: Redis, letter: NewDeadLetter) -> bool:
    """Make something a dead letter: in the record first, then on the stream for watchers. False where it was read already."""
    buried = await store.bury([letter])
    if buried:
        log.warning(
            "message_buried", project=letter.project, inbox=letter.inbox, id=letter.id, reason=letter.reason[:200]
        )
        fields: dict[Any, Any] = {
            "id": letter.id,
            "inbox": letter.inbox,
            "reason": letter.reason,
            "deliveries": letter.deliveries,
        }
        await redis.xadd(dead_key(letter.project), fields, maxlen=KEPT_UNREAD, approximate=True)
    return bool(buried)


async def trim(redis: Redis, key: str) -> int:
    """Drop from a project's own stream what every group has acknowledged; returns how many entries went.

    Without any group the newest `KEPT_UNREAD` are kept.
    """
    groups = await redis.xinfo_groups(key)
    if not groups:
        return await redis.xtrim(key, maxlen=KEPT_UNREAD, approximate=True)
    needed = [await _first_needed(redis, key, group) for group in groups]
    oldest = min(needed)
    return await redis.xtrim(key, minid=f"{oldest[0]}-{oldest[1]}", approximate=False)


async def _first_needed(redis: Redis, key: str, group: dict[str, Any]) -> tuple[int, int]:
    """The oldest entry that the group has not acknowledged, or the one after all that it has read."""
    pending = await redis.xpending(key, group["name"])
    if pending["pending"]:
        return _numbers(pending["min"])
    generation, number = _numbers(group["last-delivered-id"])
    return generation, number + 1


def _numbers(entry: object) -> tuple[int, int]:
    text = entry.decode() if isinstance(entry, bytes) else str(entry)
    generation, number = text.split("-")
    return int(generation), int(number)


_inbox = attrgetter("project", "target", "generation")
_place = attrgetter("project", "target", "generation", "number")
