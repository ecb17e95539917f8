"""The floor of a decision: a workflow that starts an activity when a signal arrives. It holds nothing else."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

QUEUE = "bench-signal"


@activity.defn
async def noop() -> None:
    """What the signal lets begin."""


@workflow.defn
class RawSignal:
    """Waits for the signal `go`, then begins the next step."""

    def __init__(self) -> None:
        self._told = False

    @workflow.signal
    def go(self, message: dict[str, str]) -> None:
        self._told = bool(message)

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._told)
        await workflow.execute_activity(noop, start_to_close_timeout=timedelta(seconds=10))
