"""Heartbeats for activities that run longer than a few seconds, so that cancellation and dead workers are noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from temporalio import activity

INTERVAL_S = 1.0


@asynccontextmanager
async def beating(detail: Callable[[], object] = lambda: None) -> AsyncIterator[None]:
    """Send a heartbeat each second while the block runs; `detail` gives what the Web UI shows.

    The start of an activity counts as its first, so that a short one costs the server none.
    """

    loop = asyncio.get_running_loop()

    def beat() -> None:
        nonlocal next_beat
        next_beat = loop.call_later(INTERVAL_S, beat)
        activity.heartbeat(detail())

    next_beat = loop.call_later(INTERVAL_S, beat)
    try:
        yield
    finally:
        next_beat.cancel()
