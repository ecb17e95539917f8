"""Word of the outbox between processes, and whose turn it is to deliver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest

from ledger.postgres import PostgresStore, create_pool
from tests.support.postgres import Database
from tests.support.records import message

SOON, LONG = timedelta(milliseconds=50), timedelta(seconds=20)


@pytest.fixture
async def stores(database: Database) -> AsyncIterator[list[PostgresStore]]:
    made: list[PostgresStore] = []
    for _ in range(2):
        pool = create_pool(database.worker, max_size=1)
        await pool.open()
        made.append(PostgresStore(pool))
    yield made
    for store in made:
        await store.close()


async def test_one_relay_at_a_time_has_the_turn(stores: list[PostgresStore]) -> None:
    one, two = stores
    assert await one.relay_turn(SOON)
    assert await one.relay_turn(SOON)
    assert not await two.relay_turn(SOON)
    await one._signals.close()
    async with asyncio.timeout(10):
        while not await two.relay_turn(SOON):
            continue  # the server has to notice that the session is gone
    assert not await one.relay_turn(SOON)


async def test_what_another_process_writes_is_heard_at_once(stores: list[PostgresStore]) -> None:
    one, two = stores
    await two.open_inbox("p", "p-engineer-1")
    assert await one.relay_turn(LONG)
    waiting = asyncio.create_task(one.relay_turn(LONG))
    began = time.monotonic()
    await asyncio.sleep(0)
    await two.post([message("m1")])
    assert await waiting
    assert time.monotonic() - began < LONG.total_seconds() / 2


async def test_a_relay_whose_connection_breaks_delivers_rather_twice_than_not_at_all(
    stores: list[PostgresStore], database: Database
) -> None:
    one, _ = stores
    assert await one.relay_turn(SOON)
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syndic-relay'"
        )
    assert await one.relay_turn(SOON)
    assert await one.relay_turn(SOON)
