"""What workflows may ask of the commands that a brief hangs before and after a plan's confirmation. As `activities.contracts`."""

from __future__ import annotations

from temporalio import activity

from ledger.vocabulary import ArtifactRef, Record


class RunHook(Record):
    """Run a command of the target on a copy of the base commit, in the sandbox, as a gate is run."""

    project: str
    commit: str
    baseline: ArtifactRef
    name: str
    argv: tuple[str, ...]
    """The path of the plan as a JSON file is appended."""
    timeout_s: int
    plan: ArtifactRef


class HookSaid(Record):
    passed: bool
    words: str
    """The end of what it printed."""


class HookActivities:
    """Served on `syndic-tools`."""

    @activity.defn(name="run_hook")
    async def run_hook(self, request: RunHook) -> HookSaid:
        raise NotImplementedError
