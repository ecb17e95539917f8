"""What tests of steering share: tasks that wait until they are let go, edits sent and answered."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from agents.assignments import Work
from agents.runs import AgentOutcome, AgentRun
from ledger.vocabulary import TaskState, sprint_workflow_id, task_workflow_id
from tests.workflows.world import World, eventually
from workflows.approval_models import DecisionEffect


class Held:
    """Agents of changes that wait at their work, by task, until they are let go; a stopped one begins anew."""

    def __init__(self, world: World, *tasks: str) -> None:
        self.world = world
        self._may_go: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        for task in tasks:
            world.script.agents[(Work.CHANGE, task)] = self._wait

    async def _wait(self, run: AgentRun) -> AgentOutcome:
        await asyncio.wait_for(self._may_go[run.task].wait(), 30)
        return self.world.script.usual(run)

    def let_go(self, *tasks: str) -> None:
        for task in tasks:
            self._may_go[task].set()

    async def at_work(self, task: str, times: int = 1) -> AgentRun:
        """The newest run of a task, once there were so many."""
        await eventually(lambda: len(self.world.script.runs(Work.CHANGE, task)) >= times)
        return self.world.script.runs(Work.CHANGE, task)[-1]


def sprint(world: World, number: int = 1) -> str:
    return sprint_workflow_id(world.project, number)


def task(world: World, name: str) -> str:
    return task_workflow_id(world.project, 1, name)


async def edit(world: World, workflow_id: str, **content: Any) -> DecisionEffect:
    """Send an edit and return what the workflow says to it."""
    payload = {"by": "pat", **content}
    return await world.handle(workflow_id).execute_update("edit_now", payload, result_type=DecisionEffect)


async def say(world: World, workflow_id: str, **content: Any) -> DecisionEffect:
    """The same for feedback."""
    payload = {"by": "pat", "text": "mind the tests", **content}
    return await world.handle(workflow_id).execute_update("feedback_now", payload, result_type=DecisionEffect)


async def states(world: World, number: int = 1) -> dict[str, str]:
    """Task -> state in a running sprint."""
    return {view.id: view.state.value for view in (await world.board(sprint(world, number))).tasks}


async def until(world: World, name: str, state: TaskState) -> None:
    """Wait until a task of the first sprint stands so."""

    async def stands() -> bool:
        return (await states(world)).get(name) == state.value

    await eventually(stands)


def applied(effect: DecisionEffect) -> bool:
    return effect.refusal is None and effect.effect is not None
