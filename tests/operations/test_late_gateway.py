"""Models that a worker opens beside its first work: who asks waits, the loop does not, and a failure ends the worker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import fields
from typing import Any, cast

import pytest

from agents.assignments import Work
from agents.gateway import Gateway
from agents.model_keys import EnvironmentKeys
from agents.models import Bound, ModelRequest
from agents.roles import OFFLINE_MODEL
from agents.runner import AgentDeps, run_agent
from agents.runs import AgentRun
from ledger.vocabulary import Role
from workers.deployment import deployment_version
from workers.late_gateway import LateGateway
from workers.settings import Settings
from workers.worker import WorkerProcess

ASKED = ModelRequest(purpose="judge", messages=({"role": "user", "content": "tidy up"},))
CHAIN = (OFFLINE_MODEL,)


class Door:
    """Opens a gateway when it is told to."""

    def __init__(self) -> None:
        self.told = threading.Event()

    def make(self) -> Gateway:
        assert self.told.wait(30)
        return Gateway(EnvironmentKeys())


@pytest.fixture
async def door() -> AsyncIterator[tuple[Door, LateGateway]]:
    door = Door()
    late = LateGateway(door.make)
    yield door, late
    door.told.set()
    await late.close()


async def test_whoever_asks_waits_and_the_loop_goes_on(door: tuple[Door, LateGateway]) -> None:
    opener, late = door
    asked = asyncio.create_task(late.complete(ASKED, CHAIN))
    ready = asyncio.create_task(late.ready())
    await asyncio.wait([asked, ready], timeout=0.05)
    assert not asked.done()
    assert not ready.done()
    opener.told.set()
    await ready
    assert late.bound(ASKED, CHAIN) == Bound()
    assert (await asked).model == OFFLINE_MODEL


async def test_one_who_gives_up_waiting_stops_nobody_else(door: tuple[Door, LateGateway]) -> None:
    opener, late = door
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await late.ready()
    opener.told.set()
    await late.ready()


async def test_a_gateway_that_nobody_waited_for_is_closed_once_it_is_open() -> None:
    door = Door()
    late = LateGateway(door.make)
    closing = asyncio.create_task(late.close())
    await asyncio.wait([closing], timeout=0.05)
    assert not closing.done()
    door.told.set()
    await closing


def _broken() -> Gateway:
    raise ImportError("no module named tokens")


async def test_a_run_whose_models_cannot_be_opened_touches_nothing() -> None:
    late = LateGateway(_broken)
    nothing: dict[str, Any] = {field.name: cast(Any, None) for field in fields(AgentDeps)}
    request = AgentRun(
        project="p", sprint=0, task="requirements", lineage="product_owner-1", role=Role.PRODUCT_OWNER,
        agent="p.product_owner.ada", work=Work.REQUIREMENTS, goal="tidy up", chain=CHAIN, budget_scope="p",
    )  # fmt: skip
    with pytest.raises(ImportError, match="tokens"):
        await run_agent(
            request,
            AgentDeps(**{**nothing, "gateway": late}),
            stopping=asyncio.Event(),
            beat=lambda *_: None,
            holder="h",
        )
    await late.close()


async def test_a_worker_that_cannot_ask_models_ends_and_says_why() -> None:
    late = LateGateway(_broken)
    worker = WorkerProcess(Settings(), ("syndic",), deployment_version("syndic", "b"))
    async with asyncio.timeout(10):
        with pytest.raises(ImportError, match="tokens"):
            await worker._serve([], late)
    await late.close()
