"""Child workflows that have just started: they are told what was said meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from temporalio.exceptions import FailureError
from temporalio.workflow import ChildWorkflowHandle

from ledger.vocabulary import Brief
from workflows.controls import AutonomyChange, Control
from workflows.lifecycle import Lifecycle
from workflows.specs import SprintSpec, TaskSpec

Child = TypeVar("Child", bound=ChildWorkflowHandle[Any, Any])
Result = TypeVar("Result")


async def begin(life: Lifecycle, start: Coroutine[Any, Any, Child]) -> Child:
    """Start a child, and let others know as long as that is under way."""
    life.beginning += 1
    try:
        return await start
    finally:
        life.beginning -= 1


async def ended(child: ChildWorkflowHandle[Any, Result]) -> Result:
    """What it reports, for work that goes on beside it."""
    return await child


async def adopt(life: Lifecycle, name: str, child: ChildWorkflowHandle[Any, Any], spec: SprintSpec | TaskSpec) -> None:
    """Take a child in. What changed since its spec was written never reached it, for it was no child yet."""
    life.children[name] = child
    for signal, message in _news(life, spec):
        try:
            # Shielded: the SDK holds a cancellation back until the signal has arrived, and drops it then.
            await asyncio.shield(child.signal(signal, message))
        except asyncio.CancelledError:
            child.cancel()  # whoever awaits it now hears of it in order
            return
        except FailureError:
            return  # it has ended already


def _news(life: Lifecycle, spec: SprintSpec | TaskSpec) -> list[tuple[str, Brief]]:
    news: list[tuple[str, Brief]] = []
    if (life.autonomy, life.mode) != (spec.autonomy, spec.mode):
        news.append(("set_autonomy", AutonomyChange(autonomy=life.autonomy, mode=life.mode, by=life.workflow_id)))
    if life.paused != spec.paused:
        news.append(("pause" if life.paused else "resume", Control(by=life.workflow_id, reason="as all the work")))
    return news
