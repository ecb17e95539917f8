"""One round trip for everybody who needs the same thing at the same time."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Work that many wait for: whoever asks gets the result of a turn that began after the question.

    While one turn is on its way, all who ask join the next one, so that load makes turns rarer instead of queues longer.
    """

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """The result, or the error of the work. A waiter that is cancelled takes nobody's turn away."""
        if self._next is None:
            # An empty context: the spans and log fields of the work belong to no single caller.
            self._next = asyncio.create_task(self._turn(self._running), context=contextvars.Context())
        return await asyncio.shield(self._next)

    async def _turn(self, before: asyncio.Task[T] | None) -> T:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        return await self._work()
