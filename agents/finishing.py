"""Ends of tasks: work that is paid for ends even when nobody waits for it any more, and what is cancelled ends for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

AGAIN_S = 0.5


async def finishing(work: Coroutine[Any, Any, T]) -> T:
    """Await to the end even when cancelled, then pass the cancellation on: what was asked is paid for and must be kept."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise asyncio.CancelledError from error
        raise


async def pause(seconds: float) -> None:
    """Sleep between two looks. In a task that was cancelled it ends the loop, also where a library dropped the cancellation.

    Raises:
        asyncio.CancelledError: Somebody asked this task to end, now or before.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    await asyncio.sleep(seconds)


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it has ended, whatever it ends with.

    Once is not enough: in Python 3.11 `asyncio.wait_for` drops a cancellation that arrives together with the result, and
    the connection pool waits with it. A task in a loop would then go on for ever (python/cpython#86296).
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN_S)
    if not task.cancelled():
        task.exception()  # seen, so that nobody complains about it
