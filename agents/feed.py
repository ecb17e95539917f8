"""The live feed: what agents do, as it happens, on one Redis stream a project. Nothing is decided on it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
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
PAUSE_S = 0.02
"""Between two batches while many runs publish: fewer and larger ones cost all of them less."""
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
        self._waiting: list[tuple[str, str | Card]] = []
        self._publishers = 0
        """Of what waits."""
        self._next_at = 0.0
        self._written = Shared(self._write)

    async def publish(self, project: str, *events: Mapping[str, Json], cards: Sequence[Card] = ()) -> None:
        """Append events in order; `at` is added where it is missing. Cards are shown beside the feed.

        One writer takes whatever all runs of the process have waiting, in one round trip. Many events that come while a
        batch is on its way make the next one larger.
        """
        if time.monotonic() < self._quiet_until:
            self.failures += len(events)
            return
        at = self._clock().isoformat()
        bodies = (json.dumps({"at": at, **event}, ensure_ascii=True, default=str) for event in events)
        self._waiting += [(feed_key(project), body) for body in bodies]
        self._waiting += [(cards_key(project), card) for card in cards]
        self._publishers += 1
        await self._written()

    async def _write(self) -> None:
        if self._waiting and (pause := self._next_at - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        batch, self._waiting = self._waiting, []
        # Who is alone waits for nobody.
        self._next_at = time.monotonic() + PAUSE_S if self._publishers > 1 else 0.0
        self._publishers = 0
        if time.monotonic() < self._quiet_until:
            self.failures += len(batch)
            return
        if not batch:
            return
        try:
            async with asyncio.timeout(PUBLISH_S), self.redis.pipeline(transaction=False) as pipe:
                for key, group in groupby(batch, itemgetter(0)):
                    events = [body for _, body in group if isinstance(body, str)]
                    if events:
                        # One command for many events: packing and reading one for each is most of what a feed costs.
                        pipe.eval(APPEND, 1, key, MAX_EVENTS, *events)
                for key, card in batch:
                    if isinstance(card, Card):
                        pipe.hset(key, card.id, card.model_dump_json())
                await pipe.execute()
        except (RedisError, OSError) as error:
            self.failures += len(batch)
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
