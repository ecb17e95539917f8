"""The workflow of Syndic's row: one agent run and nothing else. Lean: the sandbox runs this module again for each workflow."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.contracts import AgentActivities
    from agents.runs import AgentOutcome, AgentRun
    from workflows import options
    from workflows.calls import perform


@workflow.defn
class OneRun:
    """One agent run, on the queue of this workflow."""

    @workflow.run
    async def run(self, request: AgentRun) -> AgentOutcome:
        where = {**options.AGENT_RUN, "task_queue": workflow.info().task_queue}
        return await perform(AgentActivities.agent_run, request, where, "one run")  # pyright: ignore[reportArgumentType]
