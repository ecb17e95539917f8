"""From a person's decision to the next step, beside a raw signal, in one run: `python -m bench.decisions`.

All ways begin when the client sends a signal and end at the moment that the server has the next step. For an approved plan that is
the child workflow of a sprint, and so the floor is a raw workflow that starts a child; one that schedules an activity, the least
that Temporal can be asked for, stands beside it. Workflows are the real ones, activities are scripted, and the ways take turns on
one dev server with workers in one process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from pydantic import BaseModel
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from bench.rows.raw_signal import QUEUE, RawChild, RawSignal, noop
from ledger.vocabulary import ApprovalKind
from tests.workflows.world import World, eventually, serving, working
from workers.sandbox import new_workflow_runner

ROUNDS = 60
WARM_UP = 5
TARGET = 1.2
CHILD = "start_child_workflow_execution_initiated_event_attributes"
ACTIVITY = "activity_task_scheduled_event_attributes"
PARTITIONS = {"matching.numTaskqueueReadPartitions": 4, "matching.numTaskqueueWritePartitions": 4}
"""Of each task queue, as every server has that is told nothing; those of the tests have one."""
REST_S = 0.2
"""Between a workflow that waits and its signal, so that nothing else is under way."""


class Figures(BaseModel):
    """Medians in milliseconds, and their ratio."""

    rounds: int
    decision_ms: float
    raw_ms: float
    """To a child workflow, the step that a decision leads to."""
    raw_activity_ms: float

    @property
    def ratio(self) -> float:
        return self.decision_ms / self.raw_ms

    @property
    def ratio_to_activity(self) -> float:
        return self.decision_ms / self.raw_activity_ms


async def bench(rounds: int = ROUNDS) -> Figures:
    """Measure the ways in turn."""
    async with serving(**PARTITIONS) as server, working(server.client, "decisions") as world:
        client = server.client
        async with Worker(
            client, task_queue=QUEUE, workflows=[RawSignal, RawChild], activities=[noop],
            workflow_runner=new_workflow_runner(),
        ):  # fmt: skip
            found = [
                (
                    await _decided(world, number),
                    await _told(client, number, CHILD),
                    await _told(client, number, ACTIVITY),
                )
                for number in range(rounds + WARM_UP)
            ]
    decided, to_child, to_activity = map(statistics.median, zip(*found[WARM_UP:], strict=True))
    return Figures(rounds=rounds, decision_ms=decided, raw_ms=to_child, raw_activity_ms=to_activity)


async def _decided(world: World, number: int) -> float:
    project = World(world.client, world.script, f"decision{number}")
    handle = await project.start(autonomy="milestone")
    view = await project.awaiting(ApprovalKind.PLAN)
    took = await _took(handle, lambda: project.decide(view, "approve"), CHILD)
    await handle.terminate("measured")
    return took


async def _told(client: Client, number: int, step: str) -> float:
    handle = await client.start_workflow(RawSignal.run, step == CHILD, id=f"raw{number}-{step}", task_queue=QUEUE)
    answer = {"approval": "plan-1", "decision": "approve", "by": "pat"}
    return await _took(handle, lambda: handle.signal("go", answer), step)


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


def measure(rounds: int) -> Figures:
    """Measure on the event loop of workers."""
    return uvloop.run(bench(rounds))


def report(figures: Figures) -> str:
    """For people, with the target."""
    return (
        f"decision to the next step: median {figures.decision_ms:.1f} ms, raw signal to such a step {figures.raw_ms:.1f} ms, "
        f"{figures.ratio:.2f}x (target {TARGET}x); raw signal to an activity {figures.raw_activity_ms:.1f} ms, "
        f"{figures.ratio_to_activity:.2f}x; {figures.rounds} of each"
    )


def main() -> None:
    """Measure and print, or with `--json` one document."""
    parser = argparse.ArgumentParser(prog="python -m bench.decisions", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = measure(asked.rounds)
    print(json.dumps({**figures.model_dump(), "ratio": figures.ratio}) if asked.json else report(figures))


if __name__ == "__main__":
    main()
