"""One statement against Postgres: connections that went away, deadlocks, and errors in the record's own words."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from ledger._queries import queries
from ledger.errors import KeyConflictError, LedgerError, SchemaError, StoreUnreachableError, UndeliverableError

Pool = AsyncConnectionPool[AsyncConnection[Any]]
Rows = list[dict[str, Any]]

TRIES = 3
KEPT_S = 600.0
"""How long one connection is kept: then the pool may replace it, as it does with all that grow old."""
_KEY_CONFLICT = "SY001"
_UNDELIVERABLE = "SY002"
_GONE = ("08", "28", "57P")
"""SQLSTATE classes of a connection that failed, a login that was refused and a server that stops or starts."""
_AGAIN = (errors.DeadlockDetected, errors.SerializationFailure)
_NO_SCHEMA = (errors.UndefinedTable, errors.UndefinedFunction, errors.UndefinedColumn, errors.InvalidSchemaName)


def address_of(conninfo: str) -> str:
    """Host, port and database of a DSN: never its password."""
    try:
        parts = conninfo_to_dict(conninfo)
    except psycopg.Error:
        return "(unreadable address)"
    return f"{parts.get('host', 'local socket')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


def unreachable(address: str, error: Exception) -> StoreUnreachableError:
    """The one wording for a database that does not answer."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return StoreUnreachableError(f"Postgres at {address} cannot be reached: {lines[0][:300]}")


def translate(error: psycopg.Error, address: str) -> LedgerError:
    """The record's error for a driver's error."""
    text = (error.diag.message_primary or str(error) or type(error).__name__)[:500]
    if error.sqlstate == _KEY_CONFLICT:
        return KeyConflictError(text)
    if error.sqlstate == _UNDELIVERABLE:
        return UndeliverableError(text)
    if isinstance(error, _NO_SCHEMA):
        return SchemaError(f"the database at {address} does not have this build's schema ({text}); migrate it first")
    if isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(_GONE):
        return unreachable(address, error)
    return LedgerError(f"Postgres at {address} refused: {text}")


class Session:
    """Runs named statements; every one of them is safe to run twice, so a lost connection is tried again once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._address = address_of(pool.conninfo if isinstance(pool.conninfo, str) else "")

    async def rows(self, name: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        """All rows of a named statement.

        Raises:
            StoreUnreachableError: no connection, or it broke twice.
            SchemaError: the schema is missing or older than this build.
            KeyConflictError: an entry's key is taken by another entry.
            UndeliverableError: a message cannot be sent.
            LedgerError: the database refused for another reason.
        """
        statement = queries()[name]
        for left in range(TRIES - 1, -1, -1):
            try:
                return await self._once(statement, parameters or {})
            except _AGAIN as error:
                if not left:
                    raise translate(error, self._address) from error
            except psycopg.OperationalError as error:
                if left < TRIES - 1 or error.sqlstate not in (None, "57P01", "57P02"):
                    raise translate(error, self._address) from error
                await self._pool.check()
            except psycopg.Error as error:
                raise translate(error, self._address) from error
        raise AssertionError("unreachable")

    async def one(self, name: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """The first row, or None."""
        rows = await self.rows(name, parameters)
        return rows[0] if rows else None

    async def _once(self, statement: LiteralString, parameters: Mapping[str, Any]) -> Rows:
        async with self._connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement, parameters, prepare=True)
            return await cursor.fetchall()

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[AsyncConnection[Any]]:
        async with self._pool.connection() as connection:
            yield connection


class OwnSession(Session):
    """A session that keeps one connection of the pool to itself; for a caller that runs one statement at a time.

    Pools hand out connections in turn, and each has a server process of its own with plans of its own: a statement that
    comes now and then finds none of them warm. A pool of one connection is shared as before.
    """

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._kept: AsyncConnection[Any] | None = None
        self._until = 0.0

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[AsyncConnection[Any]]:
        connection, self._kept = self._kept, None
        if connection is None:
            connection = await self._pool.getconn()
            self._until = time.monotonic() + KEPT_S
        try:
            yield connection
        finally:
            if self._is_fit(connection):
                self._kept = connection
            else:
                await self._pool.putconn(connection)

    def _is_fit(self, connection: AsyncConnection[Any]) -> bool:
        if self._pool.closed or self._pool.max_size == 1 or self._kept is not None or time.monotonic() >= self._until:
            return False
        return connection.info.transaction_status is TransactionStatus.IDLE

    async def close(self) -> None:
        """Give the connection back."""
        connection, self._kept = self._kept, None
        if connection is not None:
            await self._pool.putconn(connection)
