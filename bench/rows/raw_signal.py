"""The floor of a decision: a workflow that takes the next step when a signal arrives. It holds nothing else."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

QUEUE = "bench-signal"


@activity.defn
async def noop() -> None:
    """What the signal lets begin, where that is an activity."""


@workflow.defn
class RawChild:
    """What the signal lets begin, where that is a child workflow."""

    @workflow.run
    async def run(self) -> None:
        return


@workflow.defn
class RawSignal:
    """Waits for the signal `go`, then begins the next step: a child workflow, as a sprint is one, or an activity."""

    def __init__(self) -> None:
        self._told = False

    @workflow.signal
    def go(self, message: dict[str, str]) -> None:
        self._told = bool(message)

    @workflow.run
    async def run(self, with_child: bool) -> None:
        await workflow.wait_condition(lambda: self._told)
        if with_child:
            await workflow.execute_child_workflow(RawChild.run)
        else:
            await workflow.execute_activity(noop, start_to_close_timeout=timedelta(seconds=10))
