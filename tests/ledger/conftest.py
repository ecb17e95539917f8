from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from ledger.postgres import PostgresStore, create_pool
from tests.support.postgres import Database, migrated_database, running_postgres


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with running_postgres() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def shared(server: str) -> Iterator[Database]:
    """For tests that change nothing, or work in a project of their own."""
    with migrated_database(server) as made:
        yield made


@pytest.fixture
def database(server: str) -> Iterator[Database]:
    with migrated_database(server) as made:
        yield made


@pytest.fixture
async def postgres(database: Database) -> AsyncIterator[PostgresStore]:
    pool = create_pool(database.worker)
    await pool.open()
    store = PostgresStore(pool)
    yield store
    await store.close()
