"""Who need not wait for whom: neighbours that hold locks in transactions that have not ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

from ledger.items import ItemStatus, Start
from ledger.postgres import PostgresStore
from tests.support.postgres import Database
from tests.support.records import MINUTE, thread

SHORT = timedelta(seconds=0.3)


@pytest.fixture
async def neighbour(database: Database) -> AsyncIterator[psycopg.AsyncConnection]:
    """In a transaction of its own, which ends with the test at the latest."""
    async with await psycopg.AsyncConnection.connect(database.owner) as connection:
        yield connection
        await connection.rollback()


async def test_a_task_is_given_its_budget_while_a_group_commit_charges_the_project(
    postgres: PostgresStore, neighbour: psycopg.AsyncConnection
) -> None:
    await postgres.open_budget("p/s1/one", None)
    await neighbour.execute("UPDATE syndic.budgets SET spent_usd = 1 WHERE scope IN ('p', 'p/s1')")
    async with asyncio.timeout(10):
        opened = await asyncio.gather(*(postgres.open_budget(f"p/s1/{name}", None) for name in ("two", "three")))
    assert [budget.scope for budget in opened] == ["p/s1/two", "p/s1/three"]


async def test_a_run_begins_while_the_relay_numbers_messages_of_its_inbox(
    postgres: PostgresStore, neighbour: psycopg.AsyncConnection
) -> None:
    info = thread()
    await postgres.open_inbox(info.project, info.agent)
    await neighbour.execute("UPDATE syndic.inboxes SET numbered = 7")
    async with asyncio.timeout(10):
        [begun] = await postgres.apply([Start(info=info, holder="w", ttl=MINUTE)])
    assert begun.status is ItemStatus.OK


async def test_an_inbox_that_closes_while_a_run_begins_is_open_afterwards(
    postgres: PostgresStore, neighbour: psycopg.AsyncConnection
) -> None:
    info = thread()
    await postgres.open_inbox(info.project, info.agent)
    await neighbour.execute("SELECT syndic.close_inbox(%s, %s, 'done', now())", (info.project, info.agent))
    beginning = asyncio.create_task(postgres.acquire_lease(info, "w", MINUTE))
    done, _ = await asyncio.wait([beginning], timeout=SHORT.total_seconds())
    assert not done
    await neighbour.commit()
    await beginning
    closed = await (await neighbour.execute("SELECT closed_at FROM syndic.inboxes")).fetchone()
    assert closed == (None,)


async def test_a_group_commit_reads_no_more_threads_than_it_touches(
    postgres: PostgresStore, neighbour: psycopg.AsyncConnection
) -> None:
    infos = [thread(task=f"t{n:03d}") for n in range(200)]
    await postgres.apply([Start(info=info, holder="w", ttl=MINUTE) for info in infos])
    await neighbour.execute("SET LOCAL enable_seqscan = off")
    items = Jsonb([{"item": "receipt", "kind": "tool", "thread": infos[-1].thread}])
    await neighbour.execute("SELECT syndic.lock_for(%s)", (items,))
    read = "SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'threads'"
    [row] = await (await neighbour.execute(read)).fetchall()
    assert row[0] <= 2
