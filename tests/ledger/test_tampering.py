from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from ledger.chain import canonical, entry_hash, verify
from ledger.postgres import PostgresStore
from tests.support.postgres import Database
from tests.support.records import note


@pytest.fixture
async def recorded(postgres: PostgresStore) -> PostgresStore:
    await postgres.record([note(f"k{n}", f"text {n}") for n in range(5)])
    return postgres


def as_superuser(database: Database, statement: str, *values: object) -> None:
    with psycopg.connect(database.owner) as connection:
        connection.execute("SET session_replication_role = replica")  # switches triggers off
        assert connection.execute(statement, values).rowcount == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("payload", '{"text":"forged"}'),
        ("payload", "no json at all"),
        ("key", "forged"),
        ("kind", "plan_proposed"),
        ("at", "2020-01-01T00:00:00Z"),
        ("prev", "0" * 64),
        ("hash", "f" * 64),
    ],
)
async def test_a_row_changed_behind_the_trigger_is_named(
    recorded: PostgresStore, database: Database, column: str, value: str
) -> None:
    as_superuser(database, f"UPDATE syndic.entries SET {column} = %s WHERE project = 'p' AND seq = 3", value)
    found = verify(await recorded.entries("p"))
    assert (found.ok, found.entries, found.first_bad_seq) == (False, 2, 3)


async def test_a_forged_body_with_its_own_hash_breaks_the_entry_after_it(
    recorded: PostgresStore, database: Database
) -> None:
    entry = (await recorded.entries("p"))[2]
    payload = canonical({"at": entry.at, "body": {"text": "forged"}, "key": entry.key, "kind": "note", "project": "p"})
    statement = "UPDATE syndic.entries SET payload = %s, hash = %s WHERE project = 'p' AND seq = 3"
    as_superuser(database, statement, payload, entry_hash(entry.prev, 3, payload))
    assert verify(await recorded.entries("p")).first_bad_seq == 4


async def test_a_deleted_row_is_a_gap(recorded: PostgresStore, database: Database) -> None:
    as_superuser(database, "DELETE FROM syndic.entries WHERE project = 'p' AND seq = 3")
    assert verify(await recorded.entries("p")).first_bad_seq == 4


@pytest.mark.parametrize(
    "statement",
    ["UPDATE syndic.entries SET key = 'x'", "DELETE FROM syndic.entries", "TRUNCATE syndic.entries"],
)
async def test_even_the_owner_is_stopped_by_the_trigger(
    recorded: PostgresStore, database: Database, statement: str
) -> None:
    with (
        psycopg.connect(database.owner) as connection,
        pytest.raises(errors.InsufficientPrivilege, match="append-only"),
    ):
        connection.execute(statement)
    assert verify(await recorded.entries("p")).entries == 5


TABLES = ["entries", "threads", "steps", "attempts", "budgets", "artifacts", "standings", "messages", "migrations"]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("verb", ["DELETE FROM syndic.{}", "TRUNCATE syndic.{}", "DROP TABLE syndic.{}"])
def test_a_worker_can_take_nothing_away(shared: Database, table: str, verb: str) -> None:
    with psycopg.connect(shared.worker) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(verb.format(table))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE syndic.entries SET key = 'x'",
        "INSERT INTO syndic.entries VALUES ('p', 9, 'k', 'note', now(), '{}', 'a', 'b')",
        "UPDATE syndic.budgets SET limit_usd = 1000000",
        "UPDATE syndic.steps SET result = '1'",
        "ALTER TABLE syndic.entries DISABLE TRIGGER append_only",
        "SET session_replication_role = replica",
        "SELECT syndic.append('p', 'k', 'note', now(), '{}')",
        "CREATE TABLE syndic.mine (a integer)",
        "CREATE OR REPLACE FUNCTION syndic.refuse_change() RETURNS trigger LANGUAGE sql AS ''",
    ],
)
def test_a_worker_writes_through_the_functions_alone(shared: Database, statement: str) -> None:
    with psycopg.connect(shared.worker) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement)


async def test_people_can_read_the_record_with_psql(recorded: PostgresStore, database: Database) -> None:
    views = ["ledger", "usage", "usage_by_task", "in_doubt", "leases", "journal", "spending", "cost"]
    views += [f"cost_by_{what}" for what in ("agent", "role", "model", "sprint", "day")]
    with psycopg.connect(database.worker) as connection:
        counts = {view: len(connection.execute(f"SELECT * FROM syndic.{view}").fetchall()) for view in views}
        uncommented = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'syndic'::regnamespace AND relkind IN ('r', 'v')"
            " AND obj_description(oid) IS NULL"
        ).fetchall()
    assert counts["ledger"] == 5
    assert uncommented == []
