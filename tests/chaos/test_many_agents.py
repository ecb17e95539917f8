"""Fifty agents at work at once in one project, and a thousand agent tasks in flight over fifty projects.

A wait for a slot lasts from the moment at which Temporal schedules an `agent_run` until a worker starts it, as the histories have
it. All tasks of a load are given out at the same moment, so that the queue is as long as it can be: with equal runs and a fair
queue waits are then spread evenly from nothing to the whole length, and the 99th of a hundred is about twice the median. Three
times the median is passed when some runs are overtaken again and again.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle

from agents.rehearsal import provider as rehearsal
from agents.rehearsal.script import Bill, Rehearsal, Rule, Said, Saying
from agents.rehearsal.server import serving
from agents.rehearsal.wire import Asked
from tests.support.loads import Slot, memory_mb, most_at_once, p99, slots, spread, watching
from tests.support.running import Running, make_repository, running
from workers.commands.provider import exports
from workflows.team import BEGINNERS

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

SLOTS = 50
JUDGES = 4
ROLES = ("analyst", "engineer", "architect", "devops", "qa")
"""A dozen of each begin tasks, so that no agent has two."""
FEW_SLOTS = 10
"""Of each of two workers, so that slots are what a thousand tasks wait for, and not processors."""
PROJECTS = 50
MANY = int(os.environ.get("SYNDIC_MANY_TASKS", "1000"))
"""Tasks over all projects; fewer where the machine is slow."""
MEMORY_MB = 900
"""Of one worker process at its fullest: 340 to begin with, and less than 1 for each of the 550 workflows that it keeps."""
BILL = Bill(prompt_tokens=1000, completion_tokens=50)
ANSWERS: dict[str, dict[str, Any]] = {
    "requirements": {"summary": "read it", "requirements": ["read it"]},
    "survey": {"summary": "small", "markdown": "# Small\n", "findings": []},
    "analysis": {"summary": "read", "markdown": "# Read\n", "findings": []},
    "judge": {"verdict": "approve", "confidence": 0.9, "reasons": ["it was read"]},
}


class Holding(rehearsal.Provider):
    """Every agent is done in one call; agents at one kind of work get their answers only once `gate` is open."""

    def __init__(self, held: str) -> None:
        super().__init__(Rehearsal(first_byte_s=0.05))
        self.gate = threading.Event()
        self._held = held

    def rule_for(self, asked: Asked) -> Rule:
        return Rule(say=Saying(calls=(Said(name="finish", arguments=ANSWERS[_work(asked)]),)), bill=BILL)

    def before_answer(self, number: int, asked: Asked) -> None:
        if _work(asked) == self._held:
            self.gate.wait(240)


def _work(asked: Asked) -> str:
    return next(work for work in ANSWERS if f'"work": "{work}"' in asked.messages[1]["content"])


class Load:
    """Projects with equally many analysis tasks, which begin when all plans are approved at once."""

    def __init__(self, stack: Running, client: Client, projects: int, tasks: int) -> None:
        self._client = client
        self._repository = str(make_repository(stack.folder / "repository", {"big.txt": "x\n" * 100}))
        self._tasks = [
            {"id": f"t{n}", "kind": "analysis", "role": ROLES[n // len(BEGINNERS)], "instructions": "Read."}
            for n in range(tasks)
        ]
        self._names = [f"load-{n}" for n in range(projects)]
        self._open: list[WorkflowHandle[Any, Any]] = []
        self.tasks = [f"project/{name}/sprint/1/task/{task['id']}" for name in self._names for task in self._tasks]

    async def begin(self) -> None:
        """Start the projects, and approve their plans once all of them wait for it."""
        for name in self._names:
            brief = {
                "goal": "Read big.txt", "repository": self._repository, "project_id": name, "tasks": self._tasks,
                "max_parallel": len(self._tasks), "max_sprints": 1, "budget_usd": "100",
            }  # fmt: skip
            self._open.append(
                await self._client.start_workflow("Project", brief, id=f"project/{name}", task_queue="syndic")
            )
        await until(self._counted('SyndicAwaiting="plan" AND ExecutionStatus="Running"', len(self._names)), "all plans")
        for handle in self._open:
            [plan] = (await handle.query("approvals"))["open"]
            await handle.signal("decide", {"approval": plan["id"], "decision": "approve", "by": "test"})

    async def all_started(self) -> None:
        """Until every task's workflow is open."""
        query = 'WorkflowType="AgentTask" AND ExecutionStatus="Running"'
        await until(self._counted(query, len(self.tasks)), f"{len(self.tasks)} tasks in flight")

    async def finish(self) -> list[dict[str, Any]]:
        """The reports of all tasks."""
        reports = [await handle.result() for handle in self._open]
        return [task for report in reports for task in report["tasks"]]

    def _counted(self, query: str, number: int) -> Callable[[], Any]:
        async def count() -> bool:
            return (await self._client.count_workflows(query)).count >= number

        return count


async def until(is_so: Callable[[], Any], what: str, within_s: float = 240.0) -> None:
    deadline = time.monotonic() + within_s
    while not await is_so():
        assert time.monotonic() < deadline, f"{what}: not seen within {within_s:.0f} s"
        await asyncio.sleep(0.2)


async def connected(stack: Running) -> Client:
    return await Client.connect(stack.addresses["temporal"], namespace=stack.addresses["namespace"])


async def test_fifty_agents_are_at_work_at_once_in_one_project(tmp_path: Path) -> None:
    provider = Holding("analysis")
    with serving(provider) as url, running(tmp_path, settings(url, provider)) as stack:
        worker = stack.start_worker()
        stack.make_current()
        load = Load(stack, client := await connected(stack), projects=1, tasks=SLOTS)
        with watching([worker.pid]) as memory:
            await load.begin()

            async def all_ask() -> bool:
                return provider.stats()["in_flight"] == SLOTS

            await until(all_ask, f"{SLOTS} agents with a call on its way", 60)
            provider.gate.set()
            reports = await load.finish()
        found = await slots(client, load.tasks)
        peak = memory_mb(worker.pid, "VmHWM")
    say(found, memory, [peak])
    assert {report["state"] for report in reports} == {"reported"}
    assert len(found) == SLOTS * (1 + JUDGES)
    at_work = [slot for slot in found if slot.work == "analysis"]
    assert most_at_once(at_work) == len({slot.agent for slot in at_work}) == SLOTS
    assert {slot.attempt for slot in found} == {1}, "a worker was given up though nothing was killed"
    assert peak < MEMORY_MB


async def test_a_thousand_tasks_in_flight_over_fifty_projects_all_finish_and_none_waits_far_longer(
    tmp_path: Path,
) -> None:
    provider = Holding("judge")  # no task can end before all are there
    with serving(provider) as url, running(tmp_path, settings(url, provider, FEW_SLOTS)) as stack:
        workers = [stack.start_worker(), stack.start_worker()]
        stack.make_current()
        load = Load(stack, client := await connected(stack), PROJECTS, MANY // PROJECTS)
        with watching([worker.pid for worker in workers]) as memory:
            await load.begin()
            await load.all_started()
            provider.gate.set()
            reports = await load.finish()
        found = await slots(client, load.tasks)
        peaks = [memory_mb(worker.pid, "VmHWM") for worker in workers]
    say(found, memory, peaks)
    waits = [slot.waited for slot in found]
    assert len(reports) == len(load.tasks)
    assert {report["state"] for report in reports} == {"reported"}
    assert len(found) == len(load.tasks) * (1 + JUDGES)
    assert p99(waits) <= 3 * statistics.median(waits)
    assert max(_by_project(found).values()) <= 2 * statistics.median(waits), "a project waits longer than the others"
    assert {slot.attempt for slot in found} == {1}, "a worker was given up though nothing was killed"
    assert max(peaks) < MEMORY_MB


def settings(url: str, provider: rehearsal.Provider, slots: int = SLOTS) -> dict[str, str]:
    return {**exports(url, provider.rehearsal), "SYNDIC_AGENT_SLOTS": str(slots)}


def _by_project(found: list[Slot]) -> dict[str, float]:
    """Median wait of each."""
    waits: dict[str, list[float]] = defaultdict(list)
    for slot in found:
        waits[slot.project].append(slot.waited)
    return {project: statistics.median(values) for project, values in waits.items()}


def say(found: list[Slot], memory: dict[int, list[float]], peaks: list[float]) -> None:
    """The figures, shown by `pytest -s` and with a failure."""
    medians = _by_project(found).values()
    took = max(slot.ended for slot in found) - min(slot.scheduled for slot in found)
    lines = [
        f"waits of all {spread([slot.waited for slot in found])}",
        *(
            f"of {work} {spread([slot.waited for slot in found if slot.work == work])}"
            for work in ("analysis", "judge")
        ),
        f"median waits of projects: {min(medians):.2f} to {max(medians):.2f} s",
        f"{most_at_once(found)} slots at most, {took:.0f} s, attempts {max(slot.attempt for slot in found)}",
    ]
    for (pid, values), peak in zip(memory.items(), peaks, strict=True):
        quarters = [round(values[len(values) * part // 4 - (part == 4)]) for part in range(5)]
        lines.append(f"worker {pid}: at most {peak:.0f} MB; by quarters of the time {quarters} MB")
    sys.stdout.write("\n".join(["", *lines, ""]))
