"""Questions of many callers in one call: one's refusal is told to nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ledger._session import Rows
from ledger.errors import LedgerError, StoreUnreachableError
from ledger.shared import Shared

Q = TypeVar("Q")


@dataclass
class _Asked(Generic[Q]):
    question: Q
    rows: Rows = field(default_factory=list[dict[str, Any]])
    error: LedgerError | None = None


class Together(Generic[Q]):
    """Asks for all who wait. Whatever is asked must be safe to ask twice."""

    def __init__(
        self, ask: Callable[[Sequence[Q]], Awaitable[Sequence[Rows]]], turn: asyncio.Lock | None = None
    ) -> None:
        """`ask` gives the rows of each question, in their order; `turn` is held meanwhile, and more gather until it is free."""
        self._ask = ask
        self._turn = turn or asyncio.Lock()
        self._waiting: list[_Asked[Q]] = []
        self._answered = Shared(self._answer)

    async def rows(self, question: Q) -> Rows:
        """The rows of this question, by a call that began after it.

        Raises:
            LedgerError: As `ask`; because of this question, never because of a neighbour's.
        """
        mine = _Asked(question)
        self._waiting.append(mine)
        await self._answered()
        if mine.error is not None:
            raise mine.error
        return mine.rows

    async def _answer(self) -> None:
        async with self._turn:
            batch, self._waiting = self._waiting, []
            try:
                await self._ask_all(batch)
            except LedgerError as error:
                await self._ask_each(batch, error)

    async def _ask_each(self, batch: list[_Asked[Q]], error: LedgerError) -> None:
        if len(batch) == 1 or isinstance(error, StoreUnreachableError):
            for one in batch:
                one.error = error
            return
        for one in batch:
            try:
                await self._ask_all([one])
            except LedgerError as refusal:
                one.error = refusal

    async def _ask_all(self, batch: list[_Asked[Q]]) -> None:
        if not batch:
            return
        answers = await self._ask([one.question for one in batch])
        for one, rows in zip(batch, answers, strict=True):
            one.rows = rows
