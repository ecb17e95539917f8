"""Work side by side that ends in order: nothing is left running behind a failure, a cancellation or a deadline."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow

T = TypeVar("T")

CANCELLED = "cancelled"
TIMEOUT = "timeout"


class Stopped(Exception):
    """Work was ended from outside: `cancelled`, `timeout`, or in the words of the person who gave it up."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def abandoned(self) -> bool:
        """Whether a person ended it because it should not go on."""
        return self.reason not in (CANCELLED, TIMEOUT)


def dropped() -> bool:
    """Whether the work ends only because a worker takes the workflow from its memory: nothing can be awaited any more."""
    return isinstance(sys.exception(), GeneratorExit)


async def together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run side by side, wait for all, then raise the first failure: nothing is left running behind a failure."""
    running = [asyncio.create_task(coroutine) for coroutine in work]
    try:
        await workflow.wait(running)
    except asyncio.CancelledError:
        await stop(*running)
        raise
    return [task.result() for task in running]


async def stop(*tasks: asyncio.Task[Any]) -> None:
    """Cancel and wait. How they end is looked at here: that what was cancelled has failed is no news."""
    if running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await workflow.wait(running)
    for task in tasks:
        if not task.cancelled():
            task.exception()


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Finish what must be finished, such as closing, although a cancellation arrives meanwhile."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await workflow.wait([task])
        except asyncio.CancelledError:
            # A cache that evicts this workflow cancels the task as well, which ends the loop.
            workflow.logger.info("cancellation_came_too_late")
    return task.result()


async def alarm(deadline: datetime | None) -> None:
    """Return at the deadline; never where there is none."""
    if deadline is None:
        await workflow.wait_condition(lambda: False)
        return
    await workflow.sleep(max(deadline - workflow.now(), timedelta(milliseconds=1)), summary="time limit of the project")
