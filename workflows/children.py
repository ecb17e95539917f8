"""Child workflows that have just started: they are told what was said meanwhile."""

from __future__ import annotations

from typing import Any

from temporalio.exceptions import FailureError, is_cancelled_exception
from temporalio.workflow import ChildWorkflowHandle

from ledger.vocabulary import Brief
from workflows.contracts import Control, SprintSpec, TaskSpec
from workflows.controls import AutonomyChange
from workflows.lifecycle import Lifecycle


async def adopt(life: Lifecycle, name: str, child: ChildWorkflowHandle[Any, Any], spec: SprintSpec | TaskSpec) -> None:
    """Take a child in. What changed since its spec was written never reached it, for it was no child yet."""
    life.children[name] = child
    for signal, message in _news(life, spec):
        try:
            await child.signal(signal, message)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            return  # it has ended already


def _news(life: Lifecycle, spec: SprintSpec | TaskSpec) -> list[tuple[str, Brief]]:
    news: list[tuple[str, Brief]] = []
    if (life.autonomy, life.mode) != (spec.autonomy, spec.mode):
        news.append(("set_autonomy", AutonomyChange(autonomy=life.autonomy, mode=life.mode, by=life.workflow_id)))
    if life.paused != spec.paused:
        news.append(("pause" if life.paused else "resume", Control(by=life.workflow_id, reason="as all the work")))
    return news
