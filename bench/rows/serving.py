"""How a row's process talks to the benchmark: one line of JSON in, one out. Standard library only."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from bench.rows.task import MODEL


class Row(Protocol):
    """One way of doing the task."""

    async def open(self, addresses: dict[str, str]) -> None:
        """Connect, and import whatever the first task would otherwise wait for."""
        ...

    async def prepare(self, group: str, tasks: int) -> None:
        """What happens once before a group of tasks and is not timed."""
        ...

    async def run(self, group: str, number: int) -> None:
        """Do one task to its checked end."""
        ...

    async def kept(self, group: str) -> int:
        """How many durable records of the group there are."""
        ...

    def extra(self) -> dict[str, Any]:
        """Further figures of the last group."""
        ...


def serve(row: Row, new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
    """Do groups of tasks as they are asked for on standard input, until it ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    code = 0
    try:
        new_event_loop().run_until_complete(_serve(row, answers))
    except BaseException:
        code = 1
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        # Interpreters that ran a Temporal worker may abort at their exit.
        os._exit(code)


async def _serve(row: Row, answers: TextIO) -> None:
    begun = time.monotonic()
    await row.open(json.loads(await _line()))
    _say(answers, {"ready_s": time.monotonic() - begun})
    while line := await _line():
        _say(answers, await _group(row, json.loads(line)))


async def _group(row: Row, asked: dict[str, Any]) -> dict[str, Any]:
    group, tasks = asked["group"], asked["tasks"]
    MODEL.latency_s = asked["latency_s"]
    await row.prepare(group, tasks)
    MODEL.calls = MODEL.tool_calls = 0
    free = asyncio.Semaphore(asked["in_flight"])
    durations: list[float] = []

    async def one(number: int) -> None:
        async with free:
            begun = time.monotonic()
            await row.run(group, number)
            durations.append(time.monotonic() - begun)

    begun, used = time.monotonic(), time.process_time()
    await asyncio.gather(*(one(number) for number in range(tasks)))
    return {
        "seconds": time.monotonic() - begun,
        "cpu_s": time.process_time() - used,
        "durations": durations,
        "model_calls": MODEL.calls,
        "tool_calls": MODEL.tool_calls,
        "kept": await row.kept(group),
        **row.extra(),
    }


async def _line() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


def _say(answers: TextIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
