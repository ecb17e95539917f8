"""Heartbeats for activities that run longer than a few seconds, so that cancellation and dead workers are noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from temporalio import activity

INTERVAL_S = 1.0


@asynccontextmanager
async def beating(detail: Callable[[], object] = lambda: None) -> AsyncIterator[None]:
    """Send a heartbeat each second while the block runs; `detail` gives what the Web UI shows."""

    async def beat() -> None:
        while True:
            activity.heartbeat(detail())
            await asyncio.sleep(INTERVAL_S)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
