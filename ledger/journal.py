"""Group commit: one writer a process takes whatever its runs have waiting and applies it in one call.

While a batch is on its way the next one gathers, so that load makes batches larger instead of queues longer. Where many
runs write, a batch also waits for a moment; a run that is alone waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Sequence

from ledger.errors import LedgerError
from ledger.items import Item, ItemResult, Start
from ledger.store import Store

MANY = 8
LATEST = 16
"""Among the latest submissions, these many runs: so many are at work that none of them is waited for. A run that is alone
submits about seven times."""
GATHER_S = 0.025
"""From one batch to the next where many write: fewer and larger ones cost all of them less."""

_Waiting = tuple[Sequence[Item], "asyncio.Future[list[ItemResult]]"]


class GroupCommit:
    """The one way in which the runs of a process write steps.

    An item that was submitted is written even when its waiter is cancelled: an answer that was paid for is not lost
    because somebody stopped waiting. Answers `OK` do not repeat what was written.
    """

    def __init__(self, store: Store, max_batch: int = 200) -> None:
        self._store = store
        self._max_batch = max_batch
        self._waiting: deque[_Waiting] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._closed = False
        self._next_at = 0.0
        self._latest: deque[str] = deque(maxlen=LATEST)
        """The threads of the latest submissions."""

    async def submit(self, item: Item) -> ItemResult:
        """Write one item; returns its answer once it is committed.

        Raises:
            LedgerError: the store failed for the whole batch; nothing is known of this item, submit it again.
        """
        return (await self.submit_all([item]))[0]

    async def submit_all(self, items: Sequence[Item]) -> list[ItemResult]:
        """Write items in order and in one transaction; one answer each.

        Raises:
            LedgerError: the store failed; what is known of none is known of all, submit them again.
        """
        if self._closed:
            raise LedgerError("the journal is closed")
        if not items:
            return []
        future: asyncio.Future[list[ItemResult]] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_seen)
        self._waiting.append((items, future))
        self._latest.append(_thread(items[0]))
        if self._writer is None or self._writer.done():
            # An empty context: the writer's spans and log fields belong to no single run.
            self._writer = asyncio.create_task(self._drain(), name="group-commit", context=contextvars.Context())
        return await asyncio.shield(future)

    async def aclose(self) -> None:
        """Write what waits, and take no more."""
        self._closed = True
        if self._writer is not None:
            await asyncio.shield(self._writer)

    def _take(self) -> list[_Waiting]:
        """The next batch: what was submitted together stays together."""
        batch = [self._waiting.popleft()]
        size = len(batch[0][0])
        while self._waiting and (size := size + len(self._waiting[0][0])) <= self._max_batch:
            batch.append(self._waiting.popleft())
        return batch

    async def _gathered(self) -> None:
        """Until the next batch is due."""
        pause = self._next_at - time.monotonic()
        if pause > 0 and len(set(self._latest)) >= MANY and not self._closed:
            await asyncio.sleep(pause)
        self._next_at = time.monotonic() + GATHER_S

    async def _drain(self) -> None:
        while self._waiting:
            batch: list[_Waiting] = []
            try:
                await self._gathered()
                batch = self._take()
                answers = await self._store.apply([item for items, _ in batch for item in items], brief=True)
            except BaseException as error:
                self._fail(batch, error)
                if not isinstance(error, Exception):
                    raise
            else:
                rest = iter(answers)
                for items, future in batch:
                    future.set_result([next(rest) for _ in items])

    def _fail(self, batch: Sequence[_Waiting], error: BaseException) -> None:
        stopped = not isinstance(error, Exception)
        for _, future in (*batch, *self._waiting) if stopped else batch:
            if stopped:
                future.cancel()
            else:
                future.set_exception(error)
        if stopped:
            self._waiting.clear()


def _thread(item: Item) -> str:
    return item.info.thread if isinstance(item, Start) else item.thread


def _seen(future: asyncio.Future[list[ItemResult]]) -> None:
    """Nobody need be left to hear of an error."""
    if not future.cancelled():
        future.exception()
