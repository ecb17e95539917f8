"""Scripted lineages and hooks, as `tests.workflows.script` has the rest."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from temporalio import activity

from activities.hook_contracts import HookActivities, HookSaid, RunHook
from activities.lineage_contracts import (
    GivenUp,
    GiveUpTask,
    LineageActivities,
    ReadRun,
    RewindRun,
    Rewound,
    RunSoFar,
)
from tests.workflows.script import Script


class Lineages(LineageActivities):
    """Every run has `script.steps` steps so far."""

    def __init__(self, script: Script) -> None:
        self._script = script

    @activity.defn(name="read_run")
    async def read_run(self, request: ReadRun) -> RunSoFar:
        self._script.calls.append(("read_run", request))
        steps = self._script.steps
        return RunSoFar(thread=request.thread, steps=steps, model_calls=1, cost_usd=Decimal("0.01"), tokens=10)

    @activity.defn(name="rewind_run")
    async def rewind_run(self, request: RewindRun) -> Rewound:
        self._script.calls.append(("rewind_run", request))
        return Rewound(refusal=self._script.rewind_refusal, commit="served")

    @activity.defn(name="give_up_task")
    async def give_up_task(self, request: GiveUpTask) -> GivenUp:
        self._script.calls.append(("give_up_task", request))
        return GivenUp(commit="last", kept=f"refs/syndic/given-up/{request.branch}")


class Hooks(HookActivities):
    """Hooks pass unless `script.hooks` has words for them, which are said one after the other."""

    def __init__(self, script: Script) -> None:
        self._script = script

    @activity.defn(name="run_hook")
    async def run_hook(self, request: RunHook) -> HookSaid:
        self._script.calls.append(("run_hook", request))
        words: list[Any] = self._script.hooks[request.name]
        return HookSaid(passed=not words, words=words.pop(0) if words else "fine")
