"""Word from Postgres that something was written to the outbox, and whose turn it is to deliver it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection

from ledger._queries import queries

log = structlog.get_logger(__name__)


class OutboxSignals:
    """One connection that listens; the session that holds the relay's lock has the turn.

    Which relay has the turn only saves work: numbers and generations keep the order whoever delivers. The lock goes with the
    session, so a dead relay is followed at the next look.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: AsyncConnection[Any] | None = None
        self._has_turn = False

    async def turn(self, within: timedelta) -> bool:
        """Wait for word, at most for `within`; True where it is our turn to deliver.

        The first call that gets the turn returns at once: something may have been written before.
        """
        try:
            return await self._turn(within)
        except psycopg.Error as error:
            log.warning("outbox_unheard", error=str(error)[:200])
            await self.close()
            await asyncio.sleep(within.total_seconds())
            return True  # better twice than not at all

    async def _turn(self, within: timedelta) -> bool:
        connection = await self._listening()
        if not self._has_turn:
            self._has_turn = await self._take(connection)
            if self._has_turn:
                return True
        async for _ in connection.notifies(timeout=within.total_seconds(), stop_after=1):
            pass
        return self._has_turn

    async def _listening(self) -> AsyncConnection[Any]:
        if self._connection is None:
            options = "-c timezone=UTC"
            self._connection = await AsyncConnection.connect(
                self._dsn, autocommit=True, connect_timeout=5, options=options, application_name="syndic-relay"
            )
            await self._connection.execute(queries()["listen"])
        return self._connection

    async def _take(self, connection: AsyncConnection[Any]) -> bool:
        row = await (await connection.execute(queries()["take_turn"])).fetchone()
        return bool(row and row[0])

    async def close(self) -> None:
        """Give the turn up."""
        connection, self._connection, self._has_turn = self._connection, None, False
        if connection is not None:
            await connection.close()
