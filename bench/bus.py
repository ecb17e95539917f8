"""Delivery of messages beside raw `redis-py`, in one run: `python -m bench.bus`, or `bench(dsn, redis_url)` on a stack.

The raw rows do XADD, XREADGROUP and XACK with the same bytes on the same asyncio client. The rows of Syndic go through relay and
inbox: envelopes sealed and parsed, numbers checked, duplicates dropped. Rows take turns; figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from redis.asyncio import Redis

from agents.bus import BATCH, FIELD, GROUP, Relay
from agents.envelope import envelope_of, sealed
from agents.feed import stream_rows
from agents.inbox import Inbox
from ledger.memory import MemoryStore
from ledger.messages import Message, NewMessage
from ledger.postgres import PostgresStore, create_pool
from ledger.rows import Lease, ThreadInfo
from ledger.vocabulary import Record, StepKind
from tests.support.postgres import migrated_database, running_postgres
from tests.support.records import MINUTE, receipt
from tests.support.redis import running_redis

PROJECT, SENDER, READER = "bench", "bench.engineer.ada", "bench.architect.eve"
ROUNDS = 21
MESSAGES = 100
"""Of a round of single messages; batched rounds have ten times as many."""
RATE = 100
"""Messages a second while the delay is measured."""
DELAY_S = 10.0


class Row(NamedTuple):
    """One way of delivering: takes so many messages, in groups of a size."""

    name: str
    size: int
    deliver: Callable[[int], Awaitable[None]]


class Figures(Record):
    """What was measured. Rates are messages a second, medians over the rounds; delays are milliseconds."""

    rates: dict[str, float]
    single: float
    """Syndic's delivery alone over raw redis-py, message by message: median over pairs of rounds."""
    batched: float
    """The same in groups of 100."""
    delay_p50_ms: float
    delay_p99_ms: float
    rate: int = RATE


class Counted(MemoryStore):
    """A record that hands out what it is given, so that delivery is measured without it."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Message] = []
        self.number = 0

    def give(self, count: int) -> None:
        for _ in range(count):
            self.number += 1
            self.given.append(made(self.number, 1, self.number))

    async def undelivered(self, limit: int = 100) -> list[Message]:
        batch, self.given = self.given[:limit], self.given[limit:]
        return batch

    async def mark_delivered(self, ids: Sequence[str], generation: int | None = None) -> None:
        """Nothing is kept."""


def new(name: object) -> NewMessage:
    payload = {"text": "The parser takes the grammar of version two from now on.", "task": "t", "sprint": 1}
    return NewMessage(
        id=f"bench/s1/t/engineer-1.1/{name}/0/context_share", project=PROJECT, source=SENDER, target=READER,
        type="CONTEXT_SHARE", payload=payload, correlation="bench/s1/t/engineer-1.1",
    )  # fmt: skip


def made(name: object, generation: int, number: int) -> Message:
    at = datetime.now(UTC)
    return Message(**new(name).model_dump(), position=number, at=at, generation=generation, number=number)


class Raw:
    """What `redis-py` does with the same bytes."""

    def __init__(self, redis: Redis, size: int) -> None:
        self._redis, self._size, self._key = redis, size, f"raw:{size}"
        self._fields = {FIELD: sealed(envelope_of(made(1, 1, 1)))}

    async def open(self) -> None:
        await self._redis.xgroup_create(self._key, GROUP, id="0", mkstream=True)

    async def deliver(self, count: int) -> None:
        for _ in range(count // self._size):
            if self._size == 1:
                await self._redis.xadd(self._key, self._fields)
            else:
                async with self._redis.pipeline(transaction=False) as pipe:
                    for _ in range(self._size):
                        pipe.xadd(self._key, self._fields)
                    await pipe.execute()
            answer = await self._redis.xreadgroup(GROUP, READER, {self._key: ">"}, count=self._size)
            await self._redis.xack(self._key, GROUP, *(entry for entry, _ in stream_rows(answer)))


class Alone:
    """Syndic's delivery without its record."""

    def __init__(self, redis: Redis, size: int) -> None:
        self._store, self._size = Counted(), size
        self._relay = Relay(self._store, redis)
        self._inbox = Inbox(redis, self._store, PROJECT, READER)

    async def deliver(self, count: int) -> None:
        for _ in range(count // self._size):
            self._store.give(self._size)
            await self._relay.deliver()
            envelopes = await self._inbox.read(self._size)
            await self._inbox.acknowledge([envelope.id for envelope in envelopes])


class Whole:
    """With outbox and inbox: rows written, delivered, read by a committed step, acknowledged."""

    def __init__(self, redis: Redis, store: PostgresStore, lease: Lease, size: int) -> None:
        self._store, self._lease, self._size = store, lease, size
        self._relay = Relay(store, redis)
        self._inbox = Inbox(redis, store, PROJECT, READER)
        self._ordinal = 0

    async def deliver(self, count: int) -> None:
        for _ in range(count // self._size):
            await self._store.post([new(f"{self._size}-{self._ordinal}-{n}") for n in range(self._size)])
            await self._relay.deliver()
            ids = tuple([envelope.id for envelope in await self._inbox.read(self._size)])
            assert len(ids) == self._size
            step = receipt(self._lease, self._ordinal, list(ids), kind=StepKind.INPUT, acknowledged=ids)
            await self._store.apply([step])
            await self._inbox.acknowledge(ids)
            self._ordinal += 1


async def bench(dsn: str, redis_url: str, rounds: int = ROUNDS, messages: int = MESSAGES) -> Figures:
    """Measure on a migrated database and a Redis whose project `bench` nobody else uses.

    Args:
        dsn: Of a worker's login.
        redis_url: Its database is flushed.
        rounds: Of each row.
        messages: A round of a row that takes them one by one.
    """
    redis = Redis.from_url(redis_url)
    pool = create_pool(dsn)
    await pool.open()
    store = PostgresStore(pool)
    try:
        rates = await _rates(redis, store, rounds, messages)
        delays = await _delays(redis, store)
    finally:
        await store.close()
        await redis.aclose()
    return Figures(
        rates={name: statistics.median(values) for name, values in rates.items()},
        single=_ratio(rates, "single"),
        batched=_ratio(rates, "batched"),
        delay_p50_ms=statistics.median(delays),
        delay_p99_ms=sorted(delays)[math.ceil(len(delays) * 0.99) - 1],
    )


async def _rates(redis: Redis, store: PostgresStore, rounds: int, messages: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {}
    for size, kind in ((1, "single"), (BATCH, "batched")):
        await redis.flushdb()
        raw, alone = Raw(redis, size), Alone(redis, size)
        await raw.open()
        rows = [
            Row(f"raw redis-py, {kind}", size, raw.deliver),
            Row(f"delivery alone, {kind}", size, alone.deliver),
        ]
        await _take_turns(rows, rounds, messages, taken)
    for size, kind in ((1, "single"), (BATCH, "batched")):
        await redis.flushdb()
        lease = await _open(store, f"read-{size}")
        row = Row(f"with outbox and inbox, {kind}", size, Whole(redis, store, lease, size).deliver)
        await _take_turns([row], max(3, rounds // 3), messages, taken)
    return taken


def _ratio(rates: dict[str, list[float]], kind: str) -> float:
    """Of rounds that followed each other: what else the machine did meanwhile then weighs on both."""
    pairs = zip(rates[f"delivery alone, {kind}"], rates[f"raw redis-py, {kind}"], strict=True)
    return statistics.median(ours / raw for ours, raw in pairs)


async def _take_turns(rows: list[Row], rounds: int, messages: int, taken: dict[str, list[float]]) -> None:
    for turn in range(-1, rounds):
        for row in rows:
            count = messages if row.size == 1 else 10 * messages
            began = time.perf_counter()
            await row.deliver(count)
            if turn >= 0:  # the first one warms up
                taken.setdefault(row.name, []).append(count / (time.perf_counter() - began))


async def _open(store: PostgresStore, task: str) -> Lease:
    info = ThreadInfo(
        thread=f"{PROJECT}/s1/{task}/main", project=PROJECT, sprint=1, task=task, role="architect", agent=READER,
        budget_scope=PROJECT, prompt_version="1",
    )  # fmt: skip
    await store.redeliver(PROJECT, READER)
    return await store.acquire_lease(info, "bench", MINUTE * 10)


async def _delays(redis: Redis, store: PostgresStore) -> list[float]:
    """Milliseconds from before the outbox's commit until the reader has the message, at a steady rate."""
    await redis.flushdb()
    lease = await _open(store, "delay")
    stopping, count = asyncio.Event(), int(RATE * DELAY_S)
    began: dict[str, float] = {}
    relaying = asyncio.create_task(Relay(store, redis).run(stopping))
    reading = asyncio.create_task(_read(redis, store, lease, began, count))
    start = time.perf_counter()
    for n in range(count):
        await asyncio.sleep(max(0.0, start + n / RATE - time.perf_counter()))
        message = new(f"delay-{n}")
        began[message.id] = time.perf_counter()
        await store.post([message])
    delays = await reading
    stopping.set()
    await relaying
    return delays


async def _read(redis: Redis, store: PostgresStore, lease: Lease, began: dict[str, float], count: int) -> list[float]:
    inbox, delays, ordinal = Inbox(redis, store, PROJECT, READER), list[float](), 0
    while len(delays) < count:
        envelopes = await inbox.read(block_ms=500)
        now = time.perf_counter()
        delays += [1000 * (now - began[envelope.id]) for envelope in envelopes]
        ids = tuple(envelope.id for envelope in envelopes)
        if ids:
            await store.apply([receipt(lease, ordinal, list(ids), kind=StepKind.INPUT, acknowledged=ids)])
            await inbox.acknowledge(ids)
            ordinal += 1
    return delays


def report(figures: Figures) -> str:
    """A table for people, with the targets."""
    lines = ["| delivery | messages a second |", "|---|---|"]
    lines += [f"| {name} | {rate:,.0f} |" for name, rate in figures.rates.items()]
    return "\n".join(
        [
            *lines,
            "",
            f"delivery alone over raw redis-py: single {figures.single:.2f}x, batched {figures.batched:.2f}x (target 0.60x)",
            f"delay at {figures.rate} messages/s: median {figures.delay_p50_ms:.1f} ms, p99 {figures.delay_p99_ms:.1f} ms "
            "(target 50 ms)",
        ]
    )


def measure(rounds: int = ROUNDS, messages: int = MESSAGES) -> Figures:
    """Measure on servers of its own, which are gone afterwards."""
    with (
        TemporaryDirectory(prefix="bench-bus-") as folder,
        running_redis(Path(folder)) as redis_url,
        running_postgres() as dsn,
        migrated_database(dsn) as database,
    ):
        return asyncio.run(bench(database.worker, redis_url, rounds, messages))


def main() -> None:
    """Measure on servers of its own and print the table, or with `--json` one document."""
    parser = argparse.ArgumentParser(prog="python -m bench.bus", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = measure(asked.rounds, asked.messages)
    print(json.dumps(figures.model_dump(), indent=2) if asked.json else report(figures))


if __name__ == "__main__":
    main()
