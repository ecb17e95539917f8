from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from ledger.chain import verify
from ledger.errors import StoreUnreachableError
from ledger.postgres import PostgresStore, create_pool, migrate
from ledger.rows import Lease
from ledger.store import Store
from ledger.vocabulary import StepKind
from tests.support.postgres import Database, running_postgres
from tests.support.records import MINUTE, note, receipt, thread


async def test_connections_that_the_server_closed_are_replaced(postgres: PostgresStore, database: Database) -> None:
    await postgres.record([note("a")])
    with psycopg.connect(database.owner) as connection:
        gone = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'syndic'"
            " AND datname = current_database()"
        ).fetchone()
    assert gone is not None
    assert gone[0] >= 1
    await postgres.record([note("b")])
    assert (await postgres.head("p")).seq == 2


async def test_an_unreachable_server_is_named_without_its_password() -> None:
    pool = create_pool("postgresql://someone:hunter2@127.0.0.1:1/syndic", timeout=timedelta(seconds=0.2))
    await pool.open()
    store = PostgresStore(pool)
    with pytest.raises(StoreUnreachableError) as caught:
        await store.head("p")
    assert "127.0.0.1:1/syndic" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    await store.close()


@pytest.fixture
def home() -> Iterator[Path]:
    # Not `tmp_path`, whose parent is closed to the account that Postgres runs as.
    with tempfile.TemporaryDirectory(prefix="syndic-pg-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.mark.chaos
async def test_what_was_answered_survives_a_killed_server(home: Path) -> None:
    with running_postgres(home, durable=True) as server:
        await migrate(server)
        pool = create_pool(server, timeout=timedelta(seconds=1))
        await pool.open()
        store = PostgresStore(pool)
        lease = await store.acquire_lease(thread(), "w", MINUTE)
        kept = await write(store, lease, range(20))
        os.kill(int((home / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        # The server behind an open connection lives until it notices that its parent is gone.
        with pytest.raises(StoreUnreachableError):
            await write(store, lease, range(20, 100_000), kept)
        await store.close()
    with running_postgres(home) as server:
        pool = create_pool(server)
        await pool.open()
        store = PostgresStore(pool)
        steps = await store.steps(lease.thread)
        assert [step.ordinal for step in steps][: len(kept)] == kept
        assert len(steps) <= len(kept) + 1
        checked = verify(await store.entries("p", limit=100_000))
        assert (checked.ok, checked.entries) == (True, len(steps))
        await store.close()


async def write(store: Store, lease: Lease, ordinals: range, kept: list[int] | None = None) -> list[int]:
    """Write a step at each ordinal; `kept` grows by those that were answered."""
    kept = [] if kept is None else kept
    for ordinal in ordinals:
        await store.apply([receipt(lease, ordinal, kind=StepKind.TOOL, entries=(note(f"k{ordinal}"),))])
        kept.append(ordinal)
    return kept
