"""Children that have just started, and a parent that is stopped in that moment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, cast

from ledger.vocabulary import Autonomy, Mode
from workflows.children import adopt, begin
from workflows.lifecycle import Lifecycle
from workflows.specs import SprintSpec
from workflows.stopping import dropped


class Parent:
    """What `adopt` reads of a workflow: paused since the child's spec was written."""

    workflow_id = "project/p"
    autonomy, mode, paused = Autonomy.MILESTONE, Mode.AUTO, True

    def __init__(self) -> None:
        self.children: dict[str, Any] = {}
        self.beginning = 0


class Child:
    """A handle whose signal is on its way until the server has it."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.cancelled = False
        self.arrived = asyncio.Event()

    async def signal(self, name: str, message: object) -> None:
        self.told.append(name)
        await self.arrived.wait()

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Spec:
    """How the parent stood when the child's spec was written."""

    autonomy: Autonomy = Autonomy.MILESTONE
    mode: Mode = Mode.AUTO
    paused: bool = False


SPEC = cast(SprintSpec, Spec())


async def test_a_child_is_told_what_changed_while_it_started() -> None:
    parent, child = Parent(), Child()
    child.arrived.set()
    await adopt(cast(Lifecycle, parent), "sprint", cast(Any, child), SPEC)
    assert child.told == ["pause"]
    assert parent.children == {"sprint": child}
    assert not child.cancelled


async def test_a_parent_that_is_cancelled_while_news_is_on_its_way_cancels_the_child_and_goes_on_to_await_it() -> None:
    parent, child = Parent(), Child()
    adopting = asyncio.create_task(adopt(cast(Lifecycle, parent), "sprint", cast(Any, child), SPEC))
    while not child.told:
        await asyncio.sleep(0)
    adopting.cancel()
    await adopting
    assert child.cancelled


async def test_a_start_that_is_under_way_is_known_until_it_has_ended_however_that_is() -> None:
    parent = Parent()

    async def refused() -> Any:
        assert parent.beginning == 1
        raise LookupError("no such workflow")

    try:
        await begin(cast(Lifecycle, parent), refused())
    except LookupError:
        assert parent.beginning == 0


async def test_work_that_is_dropped_from_memory_waits_for_nothing() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            if not dropped():
                await asyncio.sleep(0)
                ended.append("in order")

    forgotten = work()
    forgotten.send(None)
    forgotten.close()
    assert ended == []
    stopped = asyncio.create_task(work())
    await asyncio.sleep(0)
    stopped.cancel()
    await asyncio.wait([stopped])
    assert ended == ["in order"]
