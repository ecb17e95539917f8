"""The one place of a process from which chains grow: whoever writes to the end of a chain holds it until the commit.

Two connections of one process would only wait for each other in the database, so they wait here, and what waits goes in one
call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger._session import Rows, Session
from ledger._together import Together


@dataclass(frozen=True)
class _Entries:
    """Of one caller: a JSON array, and how many it holds."""

    text: str
    number: int


class ChainWriter:
    """Puts group commits and entries on chains, one call at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._turn = asyncio.Lock()
        self._recorded = Together(self._record, self._turn)

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
        return await self._recorded.rows(_Entries(text, number))

    async def _record(self, batch: Sequence[_Entries]) -> Sequence[Rows]:
        text = f"[{','.join(one.text[1:-1] for one in batch)}]"
        rows = iter(await self._session.rows("record", {"entries": text}))
        return [[next(rows) for _ in range(one.number)] for one in batch]
