"""The record over a pool of connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ledger.postgres import PostgresStore, create_pool


@asynccontextmanager
async def open_store(url: str, connections: int = 2) -> AsyncIterator[PostgresStore]:
    """Open the pool, and close it after the block.

    Args:
        url: Address of the workers' login, not of the schema's owner.
        connections: How many the pool may hold.
    """
    pool = create_pool(url, max_size=connections)
    await pool.open()
    store = PostgresStore(pool)
    try:
        yield store
    finally:
        await store.close()
