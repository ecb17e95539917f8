"""From a person's decision to the next step, beside a raw signal, in one run: `python -m bench.decisions`.

Both ways begin when the client sends a signal and end at the moment that the server has the next step: the child workflow of a
sprint for an approved plan, an activity for the raw workflow. Workflows are the real ones, activities are scripted, and the two
ways take turns on one dev server with workers in one process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from bench.rows.raw_signal import QUEUE, RawSignal, noop
from ledger.vocabulary import ApprovalKind
from tests.workflows.world import World, eventually, serving, working
from workers.sandbox import new_workflow_runner

ROUNDS = 40
WARM_UP = 5
TARGET = 1.2
REST_S = 0.2
"""Between a workflow that waits and its signal, so that nothing else is under way."""


class Figures(BaseModel):
    """Medians in milliseconds, and their ratio."""

    rounds: int
    decision_ms: float
    raw_ms: float

    @property
    def ratio(self) -> float:
        return self.decision_ms / self.raw_ms


async def bench(rounds: int = ROUNDS) -> Figures:
    """Measure both ways in turn."""
    async with serving() as server, working(server.client, "decisions") as world:
        client = server.client
        async with Worker(
            client, task_queue=QUEUE, workflows=[RawSignal], activities=[noop], workflow_runner=new_workflow_runner()
        ):
            found = [(await _decided(world, number), await _told(client, number)) for number in range(rounds + WARM_UP)]
    decided, told = zip(*found[WARM_UP:], strict=True)
    return Figures(rounds=rounds, decision_ms=statistics.median(decided), raw_ms=statistics.median(told))


async def _decided(world: World, number: int) -> float:
    project = World(world.client, world.script, f"decision{number}")
    handle = await project.start(autonomy="milestone")
    view = await project.awaiting(ApprovalKind.PLAN)
    took = await _took(
        handle, lambda: project.decide(view, "approve"), "start_child_workflow_execution_initiated_event_attributes"
    )
    await handle.terminate("measured")
    return took


async def _told(client: Client, number: int) -> float:
    handle = await client.start_workflow(RawSignal.run, id=f"raw{number}", task_queue=QUEUE)
    answer = {"approval": "plan-1", "decision": "approve", "by": "pat"}
    return await _took(handle, lambda: handle.signal("go", answer), "activity_task_scheduled_event_attributes")


async def _took(handle: WorkflowHandle[Any, Any], send: Callable[[], Awaitable[None]], step: str) -> float:
    """Milliseconds from sending to the first such step after it, by this machine's clock."""
    await asyncio.sleep(REST_S)
    began = time.time()
    await send()
    await asyncio.sleep(REST_S)

    async def scheduled() -> float | None:
        events = (await handle.fetch_history()).events
        moments = [event.event_time.ToNanoseconds() / 1e9 for event in events if event.HasField(step)]
        return next((moment for moment in moments if moment > began), None)

    return 1000 * (await eventually(scheduled) - began)


def report(figures: Figures) -> str:
    """For people, with the target."""
    return (
        f"decision to the next step: median {figures.decision_ms:.1f} ms, raw signal {figures.raw_ms:.1f} ms, "
        f"{figures.ratio:.2f}x (target {TARGET}x), {figures.rounds} of each"
    )


def main() -> None:
    """Measure and print, or with `--json` one document."""
    parser = argparse.ArgumentParser(prog="python -m bench.decisions", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = asyncio.run(bench(asked.rounds))
    print(json.dumps({**figures.model_dump(), "ratio": figures.ratio}) if asked.json else report(figures))


if __name__ == "__main__":
    main()
