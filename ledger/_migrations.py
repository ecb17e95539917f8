"""Bringing a database to this build's schema."""

from __future__ import annotations

import hashlib

import psycopg
from psycopg import AsyncConnection, errors, sql
from psycopg.rows import DictRow, dict_row

from ledger._queries import Migration, migrations, queries
from ledger._session import address_of, unreachable
from ledger.errors import SchemaError

CONNECT_TIMEOUT_S = 10


async def migrate(dsn: str) -> int:
    """Apply what is missing, as the schema's owner; safe to call at once from many processes. Returns the version.

    Raises:
        SchemaError: the database is newer than this build, was migrated by another build, or the login may not do it.
        StoreUnreachableError: no connection.
    """
    async with await _connect(dsn) as connection:
        try:
            await connection.execute(queries()["migration_lock"])
            await connection.execute(queries()["migration_table"])
            for migration in _missing(await _applied(connection)):
                await _apply(connection, migration)
        except errors.InsufficientPrivilege as error:
            raise SchemaError(f"this login may not migrate the database: {error.diag.message_primary}") from error
    return migrations()[-1].version


async def check_schema(dsn: str) -> int:
    """What a worker does instead of migrating: see that the schema is this build's. Returns the version.

    Raises:
        SchemaError: it is missing, older or newer.
        StoreUnreachableError: no connection.
    """
    async with await _connect(dsn) as connection:
        cursor = await connection.execute(queries()["migrations_exist"])
        row = await cursor.fetchone()
        missing = _missing(await _applied(connection) if row and row["present"] else [])
    if missing:
        raise SchemaError(f"the database's schema lacks version {missing[0].version}; migrate it first")
    return migrations()[-1].version


async def grant_worker(dsn: str, login: str, password: str) -> None:
    """Make a login that may do what workers do and no more; an existing one gets this password.

    Args:
        dsn: of the schema's owner.
        login: name of the role.
        password: its new password; only a SCRAM verifier of it is sent.

    Raises:
        SchemaError: the owner may not create roles.
        StoreUnreachableError: no connection.
    """
    async with await _connect(dsn) as connection:
        verifier = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
        cursor = await connection.execute(queries()["role_exists"], {"login": login})
        verb = sql.SQL("CREATE") if await cursor.fetchone() is None else sql.SQL("ALTER")
        name = sql.Identifier(login)
        statement = sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, name, sql.Literal(verifier))
        try:
            await connection.execute(statement)
            await connection.execute(sql.SQL("GRANT syndic_worker TO {}").format(name))
        except errors.InsufficientPrivilege as error:
            raise SchemaError(f"this login may not create roles: {error.diag.message_primary}") from error


async def _connect(dsn: str) -> AsyncConnection[DictRow]:
    try:
        return await AsyncConnection[DictRow].connect(dsn, row_factory=dict_row, connect_timeout=CONNECT_TIMEOUT_S)
    except psycopg.OperationalError as error:
        raise unreachable(address_of(dsn), error) from error


async def _applied(connection: AsyncConnection[DictRow]) -> list[DictRow]:
    return await (await connection.execute(queries()["migrations_applied"])).fetchall()


def _missing(applied: list[DictRow]) -> list[Migration]:
    known = {migration.version: migration for migration in migrations()}
    for row in applied:
        migration = known.get(row["version"])
        if migration is None:
            raise SchemaError(f"the database has schema version {row['version']}, this build knows {max(known)}")
        if _digest(migration) != row["digest"]:
            raise SchemaError(f"schema version {row['version']} was applied by another build, in another form")
    done = {row["version"] for row in applied}
    return [migration for migration in migrations() if migration.version not in done]


async def _apply(connection: AsyncConnection[DictRow], migration: Migration) -> None:
    await connection.execute(migration.text.encode())
    values = {"version": migration.version, "name": migration.name, "digest": _digest(migration)}
    await connection.execute(queries()["migration_done"], values)


def _digest(migration: Migration) -> str:
    return hashlib.sha256(migration.text.encode()).hexdigest()
