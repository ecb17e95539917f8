"""A thousand projects wait for a person at once: one listing shows them, one command releases them."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.workflows.recorded import Books
from tests.workflows.world import World, eventually, serving, working

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(1200),
    pytest.mark.asyncio(loop_scope="module"),
]

PROJECTS = int(os.environ.get("SYNDIC_TEST_PROJECTS", "1000"))
ANSWER_S = 2.0
MEMORY_MB = 600
"""What the workers, which live in the test's own process, may grow by."""
SYNDIC = str(Path(sys.executable).with_name("syndic"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with serving() as server, working(server.client, "many") as world:
        yield world


async def syndic(world: World, folder: Path, *words: str) -> tuple[str, str, float]:
    """What a command prints, and how many seconds it takes as a process of its own."""
    env = {
        **os.environ, "TEMPORAL_ADDRESS": world.address, "SYNDIC_STATE_DIR": str(folder),
        "SYNDIC_DATABASE_URL": "postgresql://127.0.0.1:1/none", "SYNDIC_REDIS_URL": "redis://127.0.0.1:1/0",
    }  # fmt: skip
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        SYNDIC, *words, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told, said = await process.communicate()
    return told.decode(), said.decode(), time.monotonic() - began


def memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def start_all(world: World) -> None:
    """So many at a time as the worker keeps in its memory: more would be read anew at each of their steps."""
    gate, books = asyncio.Semaphore(40), Books(world.script)

    async def start(number: int) -> None:
        async with gate:
            project = World(world.client, world.script, f"many{number}")
            await project.start(autonomy="milestone")
            await eventually(lambda: books.bodies(project.id, "approval_requested"))

    await asyncio.gather(*(start(number) for number in range(PROJECTS)))


async def waiting(world: World) -> int:
    return (await world.client.count_workflows('SyndicAwaiting="plan" AND ExecutionStatus="Running"')).count


async def test_a_thousand_projects_are_listed_in_two_seconds_and_released_by_one_command(
    world: World, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    before = memory_mb()
    await start_all(world)
    async with asyncio.timeout(600):
        while await waiting(world) < PROJECTS:
            await asyncio.sleep(0.5)
    took: list[float] = []
    for _ in range(3):
        told, said, seconds = await syndic(world, tmp_path, "inbox", "--json")
        assert len(json.loads(told)) == PROJECTS, said
        took.append(seconds)
    assert min(took) < ANSWER_S, took
    told, said, seconds = await syndic(world, tmp_path, "approve", "--all", "--kind", "plan", "--wait", "--json")
    released = json.loads(told)
    assert (released["requests"], released["released"], released["kept"]) == (PROJECTS, PROJECTS, []), said
    grown = memory_mb() - before
    record_property("figures", f"inbox {took} s, batch {seconds:.1f} s, workers grew by {grown:.0f} MB")
    assert grown < MEMORY_MB
