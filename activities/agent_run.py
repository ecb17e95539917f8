"""Runs one agent to its next outcome: heartbeats, cancellation and shutdown around `agents.runner`."""

from __future__ import annotations

import asyncio

from temporalio import activity

from activities.contracts import AgentActivities
from activities.failures import TEXT_LIMIT, translated, worker_stopping
from activities.heartbeat import beating
from activities.soft_limit import soft_limit_notices
from agents.runner import AgentDeps, run_agent
from agents.runs import AgentOutcome, AgentRun
from ledger.rows import Budget
from ledger.vocabulary import OutcomeKind


class AgentRuns(AgentActivities):
    """The activity `agent_run`, for every kind of agent."""

    def __init__(self, deps: AgentDeps) -> None:
        self._deps = deps

    @activity.defn(name="agent_run")
    async def agent_run(self, request: AgentRun) -> AgentOutcome:
        """Run until the agent finishes, needs somebody, or must stop.

        On cancellation and on worker shutdown no new step starts; the call in flight finishes and is journaled. The
        journal makes a later attempt go on from there.
        """
        stopping = _Stopping()
        position: list[object] = [-1, "starting"]
        budgets: list[Budget] = []

        def beat(ordinal: int, state: str) -> None:
            position[:] = [ordinal, state]

        info = activity.info()
        # The same for each attempt: the next one takes the lease over at once, and its epoch fences the one before.
        holder = f"{info.workflow_run_id}/{info.activity_id}"
        work = run_agent(request, self._deps, stopping=stopping, beat=beat, holder=holder, spent=budgets.extend)
        async with beating(lambda: position):
            with translated():
                outcome = await _finish_in_order(asyncio.create_task(work), stopping)
        if outcome.kind is OutcomeKind.PAUSED and activity.is_worker_shutdown():
            raise worker_stopping()
        notices = await soft_limit_notices(budgets, self._deps.feed)
        return without_long_text(outcome.model_copy(update={"notices": notices}))


def without_long_text(outcome: AgentOutcome) -> AgentOutcome:
    """Cut a report's text, which workflows do not read, out of what goes into a history; the artifact holds the whole."""
    text = outcome.result.get("markdown")
    if outcome.artifact is None or not isinstance(text, str) or len(text) <= TEXT_LIMIT:
        return outcome
    cut = f"{text[:TEXT_LIMIT]}… ({len(text)} characters in artifact {outcome.artifact.digest})"
    return outcome.model_copy(update={"result": {**outcome.result, "markdown": cut}})


class _Stopping:
    """No new step starts once the activity is cancelled or its worker shuts down."""

    def __init__(self) -> None:
        self._asked = False

    def set(self) -> None:
        self._asked = True

    def is_set(self) -> bool:
        return self._asked or activity.is_worker_shutdown()


async def _finish_in_order(run: asyncio.Task[AgentOutcome], stopping: _Stopping) -> AgentOutcome:
    """Wait for the run; a cancellation first lets its step in flight end."""
    try:
        return await asyncio.shield(run)
    except asyncio.CancelledError:
        stopping.set()
        if not run.done():
            await asyncio.wait([run])
        raise
