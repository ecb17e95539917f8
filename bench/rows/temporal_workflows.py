"""The workflows of the rows that use Temporal without Syndic. Lean: the sandbox runs this module again for each workflow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from temporalio.langgraph import graph

LIMIT = timedelta(minutes=5)


@workflow.defn
class OneActivity:
    """One activity does the whole task."""

    @workflow.run
    async def run(self, activity: str) -> list[dict[str, Any]]:
        return await workflow.execute_activity(
            activity, workflow.info().workflow_id, start_to_close_timeout=LIMIT, result_type=list[dict[str, Any]]
        )


@workflow.defn
class NodeByNode:
    """Each node of the graph is an activity."""

    @workflow.run
    async def run(self, begin: dict[str, Any]) -> list[dict[str, Any]]:
        return (await graph("task").compile().ainvoke({"messages": [begin]}))["messages"]
