from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import AsyncConnection

from ledger._session import OwnSession
from ledger._wire import entries_text
from ledger.clock import utc_now
from ledger.errors import KeyConflictError
from ledger.postgres import PostgresStore, create_pool
from tests.support.postgres import Database
from tests.support.records import note


@pytest.fixture
async def store(database: Database) -> AsyncIterator[PostgresStore]:
    pool = create_pool(database.worker, min_size=4, max_size=4)
    await pool.open(wait=True)
    store = PostgresStore(pool)
    yield store
    await store.close()


async def writers(database: Database) -> set[int]:
    """Server processes that wrote to a chain last."""
    async with await AsyncConnection.connect(database.owner) as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'syndic' AND query LIKE '%%syndic.record%%'"
        return {row[0] for row in await (await connection.execute(query)).fetchall()}


async def test_what_is_written_to_chains_goes_through_one_connection(store: PostgresStore, database: Database) -> None:
    for number in range(6):
        await store.record([note(f"k{number}")])
        await asyncio.gather(*(store.head("p") for _ in range(4)))
    assert len(await writers(database)) == 1


async def test_a_connection_that_broke_is_given_up_for_another(store: PostgresStore, database: Database) -> None:
    await store.record([note("a")])
    [before] = await writers(database)
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (before,))
    await store.record([note("b")])
    [after] = await writers(database)
    assert (after != before, (await store.head("p")).seq) == (True, 2)


async def test_a_refused_write_leaves_a_connection_that_works(store: PostgresStore, database: Database) -> None:
    await store.record([note("a")])
    before = await writers(database)
    with pytest.raises(KeyConflictError):
        await store.record([note("a", text="other")])
    await store.record([note("b")])
    assert ([entry.key for entry in await store.entries("p")], await writers(database)) == (["a", "b"], before)


async def test_a_write_that_is_cancelled_on_its_way_leaves_one_that_works(database: Database) -> None:
    pool = create_pool(database.worker, min_size=2, max_size=2)
    await pool.open(wait=True)
    session = OwnSession(pool)
    with psycopg.connect(database.owner) as holding:
        holding.execute("SELECT syndic.lock_chains(ARRAY['p'])")
        writing = asyncio.create_task(session.rows("record", {"entries": entries_text([note("a")], utc_now())}))
        async with asyncio.timeout(10):
            while not await _waits(database):
                await asyncio.sleep(0.01)
        writing.cancel()
        await asyncio.wait([writing])
    await session.rows("record", {"entries": entries_text([note("b")], utc_now())})
    assert [row["key"] for row in await session.rows("entries", {"project": "p", "after": 0, "limit": 9})] == ["b"]
    await session.close()
    await pool.close()


async def _waits(database: Database) -> bool:
    async with await AsyncConnection.connect(database.owner) as connection:
        query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        row = await (await connection.execute(query)).fetchone()
        return row is not None and row[0] > 0
