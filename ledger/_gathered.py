"""One statement for all who ask the same thing at the same time.

The runs of a process look into inboxes, show cards and end at about the same moments. While one statement is on its way the
next askers gather, so that load makes statements larger instead of more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ledger._session import Rows, Session
from ledger._together import Together


class Gathered:
    """A named statement over `%(asked)s`, a JSON array of questions; its rows say in column `n` whose they are, from 1 on."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name
        self._together = Together(self._ask)

    async def rows(self, **values: Any) -> Rows:
        """What the statement finds for these values, by a snapshot that was taken after the question.

        Raises:
            LedgerError: As `Session.rows`; because of these values, never because of a neighbour's.
        """
        return await self._together.rows(values)

    async def _ask(self, batch: Sequence[Mapping[str, Any]]) -> Sequence[Rows]:
        answers: list[Rows] = [[] for _ in batch]
        for row in await self._session.rows(self._name, {"asked": json.dumps(batch, default=str)}):
            whose: int = row.pop("n")
            answers[whose - 1].append(row)
        return answers
