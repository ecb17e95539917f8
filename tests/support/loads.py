"""What load does to workers: how long agent runs waited for a slot, by Temporal's own histories, and how much memory was used."""

from __future__ import annotations

import asyncio
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import Client

READERS = 16


@dataclass(frozen=True)
class Slot:
    """One agent run's wait and stay, in seconds since the epoch by the server's clock."""

    project: str
    agent: str
    work: str
    scheduled: float
    started: float
    ended: float
    attempt: int

    @property
    def waited(self) -> float:
        return self.started - self.scheduled


async def slots(client: Client, workflows: Sequence[str]) -> list[Slot]:
    """All agent runs of workflows that have ended."""
    reading = asyncio.Semaphore(READERS)

    async def read(workflow: str) -> list[Slot]:
        async with reading:
            history = await client.get_workflow_handle(workflow).fetch_history()
        return list(_slots(history.events))

    return [slot for found in await asyncio.gather(*map(read, workflows)) for slot in found]


def _slots(events: Sequence[Any]) -> Iterator[Slot]:
    scheduled = {
        event.event_id: event for event in events if event.HasField("activity_task_scheduled_event_attributes")
    }
    ended = {
        event.activity_task_completed_event_attributes.scheduled_event_id: event
        for event in events
        if event.HasField("activity_task_completed_event_attributes")
    }
    for event in events:
        if not event.HasField("activity_task_started_event_attributes"):
            continue
        started = event.activity_task_started_event_attributes
        asked = scheduled[started.scheduled_event_id]
        what = asked.activity_task_scheduled_event_attributes
        if what.activity_type.name == "agent_run":
            run = json.loads(what.input.payloads[0].data)
            end = ended[started.scheduled_event_id]
            yield Slot(run["project"], run["agent"], run["work"], _at(asked), _at(event), _at(end), started.attempt)


def _at(event: Any) -> float:
    return event.event_time.ToNanoseconds() / 1e9


def most_at_once(found: Sequence[Slot]) -> int:
    """How many held a slot at the same time."""
    moments = sorted([(slot.started, 1) for slot in found] + [(slot.ended, -1) for slot in found])
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def p99(values: Sequence[float]) -> float:
    """The value that 99 of 100 do not exceed."""
    return sorted(values)[math.ceil(len(values) * 0.99) - 1]


def spread(values: Sequence[float]) -> str:
    """Median, 99 of 100, and their ratio, for people."""
    median = statistics.median(values)
    return f"{len(values)}: median {median:.2f} s, p99 {p99(values):.2f} s, {p99(values) / median:.2f}x"


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """Of a process at this moment; `VmHWM` is the most that it ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{what}:"))


@contextmanager
def watching(pids: Sequence[int], every_s: float = 1.0) -> Iterator[dict[int, list[float]]]:
    """Resident megabytes of processes as time goes by; needs a running loop."""
    seen: dict[int, list[float]] = {pid: [] for pid in pids}

    async def look() -> None:
        while True:
            for pid, values in seen.items():
                values.append(memory_mb(pid))
            await asyncio.sleep(every_s)

    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        task.cancel()
