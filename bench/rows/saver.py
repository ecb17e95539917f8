"""LangGraph's Postgres checkpointer over a pool, as its documentation sets it up."""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

CONNECTIONS = 8
"""As many as a Syndic worker may open."""


async def open_saver(url: str) -> tuple[AsyncConnectionPool[Any], AsyncPostgresSaver]:
    """The pool and the checkpointer, with its tables made."""
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool = AsyncConnectionPool(url, kwargs=options, min_size=CONNECTIONS, max_size=CONNECTIONS, open=False, timeout=60)
    await pool.open(wait=True)
    saver = AsyncPostgresSaver(pool)
    await saver.setup()
    return pool, saver


async def checkpoints(pool: AsyncConnectionPool[Any], group: str) -> int:
    """How many checkpoints the threads of a group have."""
    async with pool.connection() as connection:
        query = "SELECT count(*) AS n FROM checkpoints WHERE thread_id LIKE %s"
        row = await (await connection.execute(query, (f"{group}-%",))).fetchone()
        return row["n"]
