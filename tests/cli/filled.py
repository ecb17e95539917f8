"""Commands that read the record and nothing else: a filled database, and neither Redis nor Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from ledger.postgres import PostgresStore, create_pool
from tests.cli.conftest import Syndic
from tests.support.postgres import Database, migrated_database, running_postgres


@contextmanager
def filled_database(fill: Callable[[PostgresStore], Awaitable[None]]) -> Iterator[Database]:
    """A database of its own, filled once."""
    with running_postgres() as server, migrated_database(server) as made:
        asyncio.run(_fill(made, fill))
        yield made


def on_database(syndic: Syndic, database: Database, monkeypatch: pytest.MonkeyPatch) -> Syndic:
    """The same runner; its commands find this database."""
    monkeypatch.setenv("SYNDIC_DATABASE_URL", database.worker)
    monkeypatch.setenv("SYNDIC_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    return syndic


async def _fill(database: Database, fill: Callable[[PostgresStore], Awaitable[None]]) -> None:
    pool = create_pool(database.worker)
    await pool.open()
    store = PostgresStore(pool)
    await fill(store)
    await store.close()
