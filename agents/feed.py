"""The live feed: what agents do, as it happens, on one Redis stream a project. Nothing is decided on it."""

from __future__ import annotations

import asyncio
import contextvars
import json
import time
from collections.abc import AsyncIterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any, cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ledger.clock import Clock, utc_now
from ledger.shared import Shared
from ledger.teamwork import Card
from ledger.vocabulary import Json, Record

log = structlog.get_logger(__name__)

MAX_EVENTS = 10_000
"""Roughly how many events a project's stream keeps."""

PUBLISH_S = 1.0
"""How long one batch of events may take."""
GATHER_S = 0.05
"""How long an event waits for others: fewer and larger batches cost all runs less, and who watches sees no difference."""
MAX_WAITING = 10_000
"""Events that wait for a slow Redis; more are dropped, since the feed is only for watching."""
QUIET_S = 5.0
"""After a failure no event is tried for this long, so that a dead Redis costs no run its time."""

BEGINNING = "0-0"

APPEND = "for i = 2, #ARGV do redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'event', ARGV[i]) end"
"""Appends events to the stream `KEYS[1]`, which keeps about `ARGV[1]` of them."""


class FeedEvent(Record):
    """One event as a reader gets it; `id` is where to go on."""

    id: str
    event: dict[str, Json]


def feed_key(project: str) -> str:
    # The braces keep a project's streams on one node of a Redis cluster.
    return f"syndic:{{{project}}}:feed"


def cards_key(project: str) -> str:
    """The hash of a project's cards, by agent."""
    return f"syndic:{{{project}}}:agents"


class Feed:
    """Publishes and reads events. A feed that cannot be written never stops work: it is logged and counted."""

    def __init__(self, redis: Redis, clock: Clock = utc_now) -> None:
        self.redis = redis
        self._clock = clock
        self.failures = 0
        """Events that could not be published since the start."""
        self._quiet_until = 0.0
        self._waiting: list[tuple[str, Mapping[str, Json]]] = []
        self._cards: dict[tuple[str, str], Card] = {}
        self._written = Shared(self._write)
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def tell(self, project: str, *events: Mapping[str, Json]) -> None:
        """Append events in order, in a moment and beside the caller; `at` is added where it is missing.

        One writer takes whatever all runs of the process have told meanwhile, in one round trip.
        """
        if time.monotonic() < self._quiet_until or len(self._waiting) + len(events) > MAX_WAITING:
            self.failures += len(events)
            return
        at = self._clock().isoformat()
        self._waiting += [(feed_key(project), {"at": at, **event}) for event in events]
        self._write_later()

    def show(self, project: str, card: Card) -> None:
        """Show a card beside the feed, in a moment."""
        self._cards[cards_key(project), card.id] = card
        self._write_later()

    async def publish(self, project: str, *events: Mapping[str, Json]) -> None:
        """Append events in order, and wait until they are written or given up."""
        self.tell(project, *events)
        await self.settle()

    async def settle(self) -> None:
        """Write what waits now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._written()

    def _write_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._write_soon)

    def _write_soon(self) -> None:
        self._timer = None
        self._writing = asyncio.create_task(self._written(), name="feed", context=contextvars.Context())

    async def _write(self) -> None:
        events, self._waiting = self._waiting, []
        cards, self._cards = self._cards, {}
        if time.monotonic() < self._quiet_until:
            self.failures += len(events)
            return
        if not events and not cards:
            return
        try:
            async with asyncio.timeout(PUBLISH_S), self.redis.pipeline(transaction=False) as pipe:
                for key, group in groupby(events, itemgetter(0)):
                    bodies = (json.dumps(event, ensure_ascii=True, default=str) for _, event in group)
                    # One command for many events: packing and reading one for each is most of what a feed costs.
                    pipe.eval(APPEND, 1, key, MAX_EVENTS, *bodies)
                for (key, agent), card in cards.items():
                    pipe.hset(key, agent, card.model_dump_json())
                await pipe.execute()
        except (RedisError, OSError) as error:
            self.failures += len(events)
            self._quiet_until = time.monotonic() + QUIET_S
            reason = str(error)[:200] or type(error).__name__
            log.warning("feed_unavailable", error=reason, failures=self.failures)

    async def publish_once(self, project: str, key: str, event: Mapping[str, Json]) -> None:
        """Publish unless an event with this key was published before, by whatever process, as far as Redis remembers."""
        try:
            async with asyncio.timeout(PUBLISH_S):
                if not await self.redis.set(f"{feed_key(project)}:{key}", "1", nx=True):
                    return
        except (RedisError, OSError):
            self.failures += 1
            return
        await self.publish(project, event)

    async def read(self, project: str, after: str = BEGINNING, block_ms: int | None = None) -> AsyncIterator[FeedEvent]:
        """Events after an id, oldest first.

        Args:
            project: Whose feed.
            after: The id of the last event that was seen; `$` for what comes from now on.
            block_ms: None ends after what is there; otherwise wait this long for each next event, for ever again.

        Raises:
            RedisError: The feed cannot be read; go on later after the last id.
        """
        await self.settle()  # whoever reads what this process tells sees all of it
        position = after
        while True:
            answer = await self.redis.xread({feed_key(project): position}, count=100, block=block_ms)
            rows = stream_rows(answer)
            for identifier, fields in rows:
                position = identifier
                yield FeedEvent(id=identifier, event=_event(fields))
            if not rows and block_ms is None:
                return


def stream_rows(answer: Any) -> list[tuple[str, dict[str, str]]]:
    """The entries of an XREAD or XREADGROUP answer, in either protocol version, decoded or not.

    An entry that was trimmed while it was pending has no fields.
    """
    streams = answer.values() if isinstance(answer, dict) else [pair[1] for pair in answer or ()]
    rows: list[tuple[str, dict[str, str]]] = []
    for entries in streams:
        flat = entries[0] if entries and isinstance(entries[0], list) else entries
        rows += [(_text(key), {_text(k): _text(v) for k, v in (fields or {}).items()}) for key, fields in flat]
    return rows


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _event(fields: Mapping[str, str]) -> dict[str, Json]:
    try:
        event = json.loads(fields.get("event", "{}"))
    except ValueError:
        return {"type": "unreadable"}
    return cast("dict[str, Json]", event) if isinstance(event, dict) else {"type": "unreadable"}
