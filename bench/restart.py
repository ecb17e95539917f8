"""How long it takes from a killed worker to all of its tasks done: the start of the next worker is part of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import psycopg
from temporalio.client import Client

from bench.measuring import RowProcess
from bench.peers import ROWS
from bench.rows.task import TURNS
from tests.support.running import Running, eventually

LATENCY_S = 0.1
"""Of the model: slow enough to meet every task in the middle."""


@dataclass(frozen=True)
class Restart:
    """One kill. `in_doubt` counts calls that were on their way and are made again, as the record lists them."""

    row: str
    seconds: float
    ready_s: float
    """Until the new worker polled."""
    tasks: int
    in_doubt: int


def restart(stack: Running, name: str, group: str, tasks: int) -> Restart:
    """Kill the worker of a row of Syndic with all tasks under way, start another at once, and wait for the last task."""
    row = next(row for row in ROWS if row.name == name)
    first = RowProcess(row, stack)
    try:
        first.ready()
        first.begin(group, tasks, tasks, LATENCY_S)
        eventually(lambda: _steps(stack, group, "model") >= tasks * TURNS // 2, "half of the model calls")
    finally:
        first.kill()
    begun = time.monotonic()
    second = RowProcess(row, stack)
    try:
        second.ready()
        ready_s = time.monotonic() - begun
        asyncio.run(_all_done(stack, group, tasks))
        seconds = time.monotonic() - begun
        assert _steps(stack, group, "model") == TURNS * tasks
        return Restart(name, seconds, ready_s, tasks, _in_doubt(stack, group))
    finally:
        second.kill()


async def _all_done(stack: Running, group: str, tasks: int) -> None:
    client = await Client.connect(stack.addresses["temporal"], namespace=stack.addresses["namespace"])
    await asyncio.gather(*(client.get_workflow_handle(f"{group}-{number}").result() for number in range(tasks)))


def _steps(stack: Running, group: str, kind: str) -> int:
    query = "SELECT count(*) FROM syndic.steps WHERE thread LIKE %s AND kind = %s AND status = 'done'"
    return _count(stack, query, f"{group}/%", kind)


def _in_doubt(stack: Running, group: str) -> int:
    return _count(
        stack, "SELECT count(*) FROM syndic.attempts WHERE thread LIKE %s AND state = %s", f"{group}/%", "in_doubt"
    )


def _count(stack: Running, query: str, *values: str) -> int:
    with psycopg.connect(stack.addresses["owner_database_url"]) as connection:
        row = connection.execute(query.encode(), values).fetchone()
    return row[0] if row else 0
