"""Commands that a brief hangs before and after a plan's confirmation: run like gates, on a copy that is thrown away."""

from __future__ import annotations

import asyncio
from pathlib import Path

from temporalio import activity

from activities.failures import scrub, translated
from activities.gating import Gatekeeper, load_baseline
from activities.heartbeat import beating
from activities.hook_contracts import HookActivities, HookSaid, RunHook
from agents.gates import run_gate
from agents.git import GitStore
from agents.runner import AgentDeps
from agents.target import GateKind, GateSpec

PLAN_FILE = ".syndic/plan.json"
"""Where a hook finds the plan, from the folder it runs in."""

WORDS = 1_500
"""Characters of a hook's output that people are shown."""


class Hooks(HookActivities):
    """A hook may be run again when a worker dies with it; what it changes in its copy is nobody's."""

    def __init__(self, deps: AgentDeps) -> None:
        self._deps = deps

    @activity.defn(name="run_hook")
    async def run_hook(self, request: RunHook) -> HookSaid:
        """Run it; a hook that does not end in time, or cannot be started, has failed."""
        async with beating():
            with translated():
                return await self._run(request)

    async def _run(self, request: RunHook) -> HookSaid:
        deps = self._deps
        baseline = await load_baseline(deps, request.baseline)
        with deps.layout.scratch(request.project, "hook") as scratch:
            tree = scratch / "tree"
            await GitStore(deps.layout.repository(request.project)).export(request.commit, tree)
            environment = await Gatekeeper(deps, request.project).environment(baseline, tree)
            await asyncio.to_thread(_write, tree / PLAN_FILE, await deps.store.get_artifact(request.plan.digest))
            argv = (*request.argv, PLAN_FILE)
            spec = GateSpec(name=request.name, kind=GateKind.COMMAND, argv=argv, timeout_s=request.timeout_s)
            result = await run_gate(
                spec, tree=tree, environment=environment, sandbox=deps.sandbox, scratch=scratch / "work"
            )
        ended = "" if result.exit_code is not None else f"it did not end within {request.timeout_s} s or other limits"
        return HookSaid(passed=result.passed, words=scrub(result.tail[-WORDS:].strip()) or ended)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
