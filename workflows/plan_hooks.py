"""Hooks of a plan: what a brief lets run before and after its confirmation, and whether that lets it pass."""

from __future__ import annotations

from collections.abc import Sequence

from activities.hook_contracts import HookActivities, HookSaid, RunHook
from ledger.events import HookRun
from ledger.vocabulary import ArtifactRef
from workflows import briefs, messages, options
from workflows.lifecycle import Lifecycle
from workflows.planning import Ground
from workflows.specs import HookBrief


class PlanHooks:
    """Runs the hooks of one project."""

    def __init__(self, life: Lifecycle, ground: Ground) -> None:
        self._life = life
        self._ground = ground

    async def run(self, when: str, hooks: Sequence[HookBrief], plan: ArtifactRef) -> str:
        """Run them one after the other, all of them; the words of those that block and failed, empty where the plan may pass."""
        failed: list[str] = []
        for hook in hooks:
            said = await self._one(when, hook, plan)
            if not said.passed and hook.blocking:
                failed.append(f"hook {hook.name} failed: {said.words or 'it said nothing'}")
        return messages.bounded("; ".join(failed))

    async def _one(self, when: str, hook: HookBrief, plan: ArtifactRef) -> HookSaid:
        argv = briefs.argv_of(f"hook {hook.name!r}", hook.run)
        request = RunHook(
            project=self._life.project,
            commit=self._ground.commit,
            baseline=self._ground.target.baseline,
            name=hook.name,
            argv=argv,
            timeout_s=hook.timeout_s,
            plan=plan,
        )
        said: HookSaid = await self._life.call(
            HookActivities.run_hook, request, options.TOOL, f"hook {hook.name} ({when.replace('_', ' ')})"
        )
        event = HookRun(
            when=when, name=hook.name, argv=argv, passed=said.passed, blocking=hook.blocking, words=said.words
        )
        self._life.note(event, f"hook {hook.name} {'passed' if said.passed else 'failed'}")
        return said
