"""What a run has done and not committed yet: it goes with the next thing that leaves the process, or by itself in a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from agents.errors import AgentError
from agents.receipts import StepKey
from ledger.errors import LedgerError, StoreUnreachableError
from ledger.items import Item, ItemResult, Mark, Receipt

BEHIND_S = 0.005
"""How long a result waits for what depends on it, such as the next call to a model; then it is committed by itself."""

RETRIES_S = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0)
"""Waits between attempts to commit while the database is away: an answer that was paid for is not given up at once."""

Submit = Callable[[Sequence[Item]], Awaitable[Sequence[ItemResult]]]
"""Commits items in one transaction; `ledger.journal.GroupCommit.submit_all`."""

Settle = Callable[[StepKey | None, Receipt | Mark, ItemResult], Awaitable[None]]
"""Told what became of something that waited; raises AgentError where the run may not go on with it."""


class Behind:
    """Commits one run's items in the order in which the run made them. Each is written only if the one before it was."""

    def __init__(self, submit: Submit, settle: Settle) -> None:
        self._submit = submit
        self._settle = settle
        self._waiting: list[tuple[StepKey | None, Receipt | Mark]] = []
        self._turn = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._trouble: Exception | None = None

    def hold(self, key: StepKey | None, item: Receipt | Mark) -> None:
        """Commit it with what comes next."""
        self._waiting.append((key, item))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BEHIND_S, self._flush_soon)

    def check(self) -> None:
        """Raises what became of something that was committed by itself and refused: nothing may follow it."""
        if self._trouble is not None:
            raise self._trouble

    async def flush(self) -> None:
        """Commit everything that waits. Raises as `check`, and LedgerError where the store failed."""
        async with self._turn:
            self.check()
            if self._waiting:
                await self._commit(())

    async def submit(self, item: Item, *, after_refusal: bool = False) -> ItemResult:
        """Commit what waits and then this item, and return its answer.

        Args:
            item: What is committed.
            after_refusal: Whether it may follow something that was refused; what came after that is dropped.

        Raises:
            AgentError: Something that waited was refused, and this item was not written.
            LedgerError: The store failed.
        """
        async with self._turn:
            if after_refusal and self._trouble is not None:
                self._waiting, self._trouble = [], None
            self.check()
            return (await self._commit((item,)))[-1]

    async def _commit(self, last: Sequence[Item]) -> Sequence[ItemResult]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        items = [*(item for _, item in waiting), *last]
        group = [items[0], *(item.model_copy(update={"chained": True}) for item in items[1:])]
        try:
            results = await self._persist(group)
        except BaseException:
            self._waiting[:0] = waiting  # nothing is known of them; written twice is written once
            raise
        for (key, item), result in zip(waiting, results, strict=False):
            try:
                await self._settle(key, item, result)
            except AgentError as error:
                self._trouble = error
                raise
        return results

    async def _persist(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        """Items are idempotent, so what became of a failed attempt does not matter."""
        for wait_s in RETRIES_S:
            try:
                return await self._submit(items)
            except StoreUnreachableError:
                await asyncio.sleep(wait_s)
        return await self._submit(items)

    def _flush_soon(self) -> None:
        self._timer = None
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush_alone(), name="steps-behind")

    async def _flush_alone(self) -> None:
        try:
            await self.flush()
        except (AgentError, LedgerError) as error:
            self._trouble = error
        finally:
            self._flushing = None
