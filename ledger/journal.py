"""Group commit: one writer a process takes whatever its runs have waiting and applies it in one call.

While a batch is on its way the next one gathers, so that load makes batches larger instead of queues longer; a run that
is alone waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Sequence

from ledger.errors import LedgerError
from ledger.store import Item, ItemResult, Store

_Waiting = tuple[Item, "asyncio.Future[ItemResult]"]


class GroupCommit:
    """The one way in which the runs of a process write steps.

    An item that was submitted is written even when its waiter is cancelled: an answer that was paid for is not lost
    because somebody stopped waiting.
    """

    def __init__(self, store: Store, max_batch: int = 200) -> None:
        self._store = store
        self._max_batch = max_batch
        self._waiting: deque[_Waiting] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    async def submit(self, item: Item) -> ItemResult:
        """Write one item; returns its answer once it is committed.

        Raises:
            LedgerError: the store failed for the whole batch; nothing is known of this item, submit it again.
        """
        return (await self.submit_all([item]))[0]

    async def submit_all(self, items: Sequence[Item]) -> list[ItemResult]:
        """Write items in order; one answer each.

        Raises:
            LedgerError: the store failed; what is known of none is known of all, submit them again.
        """
        if self._closed:
            raise LedgerError("the journal is closed")
        futures = [self._enqueue(item) for item in items]
        self._wake()
        answers = await asyncio.shield(asyncio.gather(*futures, return_exceptions=True))
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if isinstance(answer, ItemResult)]

    async def aclose(self) -> None:
        """Write what waits, and take no more."""
        self._closed = True
        if self._writer is not None:
            await asyncio.shield(self._writer)

    def _enqueue(self, item: Item) -> asyncio.Future[ItemResult]:
        future: asyncio.Future[ItemResult] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        return future

    def _wake(self) -> None:
        if self._waiting and (self._writer is None or self._writer.done()):
            # An empty context: the writer's spans and log fields belong to no single run.
            self._writer = asyncio.create_task(self._drain(), name="group-commit", context=contextvars.Context())

    async def _drain(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
            try:
                answers = await self._store.apply([item for item, _ in batch])
            except BaseException as error:
                self._fail(batch, error)
                if not isinstance(error, Exception):
                    raise
            else:
                for (_, future), answer in zip(batch, answers, strict=True):
                    future.set_result(answer)

    def _fail(self, batch: Sequence[_Waiting], error: BaseException) -> None:
        stopped = not isinstance(error, Exception)
        for _, future in (*batch, *self._waiting) if stopped else batch:
            if stopped:
                future.cancel()
            else:
                future.set_exception(error)
        if stopped:
            self._waiting.clear()
