from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from ledger.errors import SchemaError, StoreUnreachableError
from ledger.postgres import PostgresStore, check_schema, create_pool, grant_worker, migrate
from tests.support.postgres import Database, as_user, fresh_database


@pytest.fixture
def empty(server: str) -> Iterator[str]:
    with fresh_database(server) as dsn:
        yield dsn


async def test_migrating_twice_changes_nothing(empty: str) -> None:
    version = await migrate(empty)
    assert await migrate(empty) == version == await check_schema(empty)


async def test_migrations_at_once_do_it_once(empty: str) -> None:
    versions = await asyncio.gather(*(migrate(empty) for _ in range(5)))
    assert len(set(versions)) == 1
    with psycopg.connect(empty) as connection:
        row = connection.execute("SELECT count(*), max(version) FROM syndic.migrations").fetchone()
    assert row == (versions[0], versions[0])


async def test_databases_of_one_server_can_be_migrated_at_once(server: str) -> None:
    with fresh_database(server) as one, fresh_database(server) as two:
        assert len(set(await asyncio.gather(migrate(one), migrate(two)))) == 1


async def test_a_database_without_a_schema_is_told_apart(empty: str) -> None:
    with pytest.raises(SchemaError, match="migrate"):
        await check_schema(empty)
    pool = create_pool(empty)
    await pool.open()
    store = PostgresStore(pool)
    with pytest.raises(SchemaError, match="migrate"):
        await store.head("p")
    await store.close()


async def test_a_newer_database_is_refused(database: Database) -> None:
    with psycopg.connect(database.owner) as connection:
        connection.execute("INSERT INTO syndic.migrations VALUES (9999, 'tomorrow', 'x')")
    for look in (migrate(database.owner), check_schema(database.worker)):
        with pytest.raises(SchemaError, match="9999"):
            await look


async def test_a_database_of_another_build_is_refused(database: Database) -> None:
    with psycopg.connect(database.owner) as connection:
        connection.execute("UPDATE syndic.migrations SET digest = 'x' WHERE version = 1")
    with pytest.raises(SchemaError, match="another form"):
        await migrate(database.owner)


async def test_a_worker_may_check_and_not_migrate(database: Database) -> None:
    assert await check_schema(database.worker) > 0
    with pytest.raises(SchemaError, match="may not"):
        await migrate(database.worker)


async def test_a_workers_password_can_be_changed(database: Database) -> None:
    await grant_worker(database.owner, "syndic_other", "first")
    await grant_worker(database.owner, "syndic_other", "second'; --")
    with pytest.raises(StoreUnreachableError):
        await check_schema(as_user(database.owner, "syndic_other", "first"))
    assert await check_schema(as_user(database.owner, "syndic_other", "second%27%3B%20--"))


@pytest.mark.parametrize("call", [migrate, check_schema])
async def test_an_unreachable_database_is_named_without_its_password(call: object) -> None:
    with pytest.raises(StoreUnreachableError) as caught:
        await call("postgresql://someone:hunter2@127.0.0.1:1/syndic")
    assert "127.0.0.1:1/syndic" in str(caught.value)
    assert "hunter2" not in str(caught.value)
