from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest

from ledger import _migrations
from ledger._queries import migrations
from ledger.errors import SchemaError, StoreUnreachableError
from ledger.items import ItemStatus
from ledger.postgres import PostgresStore, check_schema, create_pool, grant_worker, migrate
from tests.support.postgres import Database, as_user, fresh_database
from tests.support.records import MINUTE, intent, receipt, thread


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
    assert row == (len(migrations()), versions[0])


async def test_databases_of_one_server_can_be_migrated_at_once(server: str) -> None:
    with fresh_database(server) as one, fresh_database(server) as two:
        assert len(set(await asyncio.gather(migrate(one), migrate(two)))) == 1


BEFORE_TOKENS = """
INSERT INTO syndic.budgets (scope, depth, limit_usd, spent_usd, reserved_usd)
VALUES ('p', 1, 5, 0.12, 0.05), ('p/s1', 2, NULL, 0.12, 0.05), ('p/s1/t', 3, NULL, 0.12, 0.05);
INSERT INTO syndic.threads (thread, project, sprint, task, role, agent, budget_scope, budget_path, prompt_version, epoch, holder,
                            expires_at)
VALUES ('p/s1/t/main', 'p', 1, 't', 'engineer', 'p-engineer-1', 'p/s1/t', '{p,p/s1,p/s1/t}', '1', 1, 'w1', '2020-01-01');
INSERT INTO syndic.attempts (thread, ordinal, sub, attempt, epoch, name, request_digest, bound_usd, state, cost_usd, usage, worker,
                             asked_at)
VALUES ('p/s1/t/main', 0, 0, 1, 1, 'm', 'd', 0.1, 'done', 0.04, '{"prompt_tokens": 100, "completion_tokens": 20}', 'w1', now()),
       ('p/s1/t/main', 1, 0, 1, 1, 'm', 'd', 0.08, 'in_doubt', 0, NULL, 'w1', now()),
       ('p/s1/t/main', 2, 0, 1, 1, 'm', 'd', 0.05, 'reserved', 0, NULL, 'w1', now());
"""
"""A database of version 8 with an answered call, one in doubt and one in flight."""


async def test_a_database_from_before_tokens_counts_them_and_limits_none(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(_migrations, "migrations", lambda: migrations()[:8])
        assert await migrate(empty) == 8
    with psycopg.connect(empty) as connection:
        connection.execute(BEFORE_TOKENS)
    await migrate(empty)
    pool = create_pool(empty)
    await pool.open()
    store = PostgresStore(pool)
    budget = await store.budget("p")
    assert (budget.limit_tokens, budget.reserved_tokens, budget.spent_tokens) == (None, 0, 120)
    lease = await store.acquire_lease(thread(), "w1", MINUTE)
    answers = await store.apply([intent(lease, 3), receipt(lease, 3)])
    assert [answer.status for answer in answers] == [ItemStatus.OK] * 2
    budget = await store.budget("p")
    assert (budget.reserved_tokens, budget.spent_tokens) == (0, 240)
    assert (budget.reserved_usd, budget.spent_usd) == (0, Decimal("0.21"))
    await store.close()


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
