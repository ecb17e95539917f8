"""The one place of a process from which chains grow: whoever writes to the end of a chain holds it until the commit.

Two connections of one process would only wait for each other in the database, so they wait here, and what waits goes in one
call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger._session import Rows, Session
from ledger.errors import LedgerError, StoreUnreachableError
from ledger.shared import Shared


@dataclass
class _Waiting:
    """Entries of one caller as JSON text, and what became of them."""

    text: str
    number: int
    rows: Rows = field(default_factory=Rows)
    error: LedgerError | None = None


class ChainWriter:
    """Puts group commits and entries on chains, one call at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._turn = asyncio.Lock()
        self._waiting: list[_Waiting] = []
        self._recorded = Shared(self._record_waiting)

    async def apply(self, values: Mapping[str, Any]) -> Rows:
        """One group commit."""
        async with self._turn:
            return await self._session.rows("apply", values)

    async def record(self, text: str, number: int) -> Rows:
        """Append entries together with those of others.

        Args:
            text: A JSON array of entries.
            number: How many it holds.

        Raises:
            LedgerError: As `Session.rows`; of these entries, never of a neighbour's.
        """
        mine = _Waiting(text, number)
        self._waiting.append(mine)
        await self._recorded()
        if mine.error is not None:
            raise mine.error
        return mine.rows

    async def _record_waiting(self) -> None:
        async with self._turn:
            batch, self._waiting = self._waiting, []
            try:
                await self._record(batch)
            except LedgerError as error:
                await self._record_each(batch, error)

    async def _record_each(self, batch: list[_Waiting], error: LedgerError) -> None:
        """Entries are idempotent, so that one caller's refusal can be told from its neighbours' success."""
        if len(batch) == 1 or isinstance(error, StoreUnreachableError):
            for one in batch:
                one.error = error
            return
        for one in batch:
            try:
                await self._record([one])
            except LedgerError as refusal:
                one.error = refusal

    async def _record(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        text = f"[{','.join(one.text[1:-1] for one in batch)}]"
        rows = iter(await self._session.rows("record", {"entries": text}))
        for one in batch:
            one.rows = [next(rows) for _ in range(one.number)]
