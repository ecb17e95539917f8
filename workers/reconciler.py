"""Ends what no run holds any more: leases and reservations of workers that died and of workflows that were terminated.

A workflow that goes on takes its threads over by itself, and closing a project reconciles it; this is for those that never
come back. Any number of workers may do it at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from agents.finishing import cancelled
from ledger.errors import LedgerError
from ledger.store import Store

EVERY = timedelta(seconds=30)
"""Twice a lease: by then whoever still works has renewed it."""

log = structlog.get_logger(__name__)


@asynccontextmanager
async def reconciling(store: Store, every: timedelta = EVERY) -> AsyncIterator[None]:
    """Reconcile now and then while the block runs."""
    task = asyncio.create_task(_run(store, every), name="reconciler")
    try:
        yield
    finally:
        await cancelled(task)


async def reconcile(store: Store) -> int:
    """Look once; returns how many threads were ended. What their calls may have cost stays charged, listed as in doubt."""
    ended = 0
    for project in await store.lapsed():
        number = await store.reconcile(project)
        ended += number
        if number:
            log.info("runs_reconciled", project=project, threads=number)
    return ended


async def _run(store: Store, every: timedelta) -> None:
    while True:
        await asyncio.sleep(every.total_seconds())
        try:
            await reconcile(store)
        except LedgerError as error:
            log.warning("reconciler_waiting", error=str(error)[:200])
