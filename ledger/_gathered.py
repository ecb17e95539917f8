"""One statement for all who ask the same thing at the same time.

The runs of a process look into inboxes, show cards and end at about the same moments. While one statement is on its way the
next askers gather, so that load makes statements larger instead of more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger._session import Rows, Session
from ledger.errors import LedgerError, StoreUnreachableError
from ledger.shared import Shared


@dataclass
class _Asked:
    values: Mapping[str, Any]
    rows: Rows = field(default_factory=list[dict[str, Any]])
    error: LedgerError | None = None


class Gathered:
    """A named statement over `%(asked)s`, a JSON array of questions; its rows say in column `n` whose they are, from 1 on."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name
        self._waiting: list[_Asked] = []
        self._answered = Shared(self._answer)

    async def rows(self, **values: Any) -> Rows:
        """What the statement finds for these values, by a snapshot that was taken after the question.

        Raises:
            LedgerError: As `Session.rows`; because of these values, never because of a neighbour's.
        """
        mine = _Asked(values)
        self._waiting.append(mine)
        await self._answered()
        if mine.error is not None:
            raise mine.error
        return mine.rows

    async def _answer(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            await self._ask(batch)
        except LedgerError as error:
            await self._ask_each(batch, error)

    async def _ask_each(self, batch: list[_Asked], error: LedgerError) -> None:
        """Every one of them is safe to ask twice, so one's refusal can be told from its neighbours' answers."""
        if len(batch) == 1 or isinstance(error, StoreUnreachableError):
            for one in batch:
                one.error = error
            return
        for one in batch:
            try:
                await self._ask([one])
            except LedgerError as refusal:
                one.error = refusal

    async def _ask(self, batch: list[_Asked]) -> None:
        if not batch:
            return
        asked = json.dumps([one.values for one in batch], default=str)
        for row in await self._session.rows(self._name, {"asked": asked}):
            whose: int = row.pop("n")
            batch[whose - 1].rows.append(row)
