"""The same tests for the in-memory twin and for Postgres, where the store logs in as a worker."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from ledger.memory import MemoryStore
from ledger.postgres import PostgresStore, create_pool
from ledger.store import Store
from tests.support.postgres import Database, migrated_database, running_postgres
from tests.support.records import Hands


@pytest.fixture(scope="session")
def database() -> Iterator[Database]:
    with running_postgres() as server, migrated_database(server) as made:
        yield made


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, hands: Hands) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore(hands)
        return
    pool = create_pool(request.getfixturevalue("database").worker, max_size=4)
    await pool.open()
    kept = PostgresStore(pool, hands)
    yield kept
    await kept.close()


@pytest.fixture
def project() -> str:
    """A project of its own for each test: the database is shared."""
    return f"p-{secrets.token_hex(4)}"
