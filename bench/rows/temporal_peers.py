"""Rows on Temporal without Syndic: `raw` (the floor), `saver` (the graph in one activity), `nodes` (temporalio-langgraph)."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Any

from langgraph.graph.state import CompiledStateGraph
from temporalio import activity
from temporalio.client import Client
from temporalio.langgraph import LangGraphPlugin
from temporalio.worker import Worker

from bench.rows.graph import build
from bench.rows.saver import checkpoints, open_saver
from bench.rows.serving import serve
from bench.rows.task import Message, check, first, plainly
from bench.rows.temporal_workflows import NodeByNode, OneActivity


class TemporalPeer:
    """One of the three, by name; worker and client share the process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue = f"bench-{name}"
        self._graph: CompiledStateGraph[Any, Any, Any, Any] | None = None

    async def open(self, addresses: dict[str, str]) -> None:
        self._client = await Client.connect(addresses["temporal"], namespace=addresses["namespace"])
        self._pool, saver = await open_saver(addresses["database"])
        self._graph = build().compile(checkpointer=saver)
        nodes = build({"execute_in": "activity", "start_to_close_timeout": timedelta(minutes=5)})
        worker = Worker(
            self._client,
            task_queue=self._queue,
            workflows=[NodeByNode] if self._name == "nodes" else [OneActivity],
            activities=[] if self._name == "nodes" else [self.raw, self.saver],
            plugins=[LangGraphPlugin(graphs={"task": nodes})] if self._name == "nodes" else [],
        )
        self._working = asyncio.create_task(worker.run())

    @activity.defn
    async def raw(self, name: str) -> list[Message]:
        return await plainly()

    @activity.defn
    async def saver(self, name: str) -> list[Message]:
        assert self._graph is not None
        return (await self._graph.ainvoke({"messages": [first()]}, {"configurable": {"thread_id": name}}))["messages"]

    async def prepare(self, group: str, tasks: int) -> None:
        """Nothing."""

    async def run(self, group: str, number: int) -> None:
        work, argument = (NodeByNode.run, first()) if self._name == "nodes" else (OneActivity.run, self._name)
        check(await self._client.execute_workflow(work, argument, id=f"{group}-{number}", task_queue=self._queue))

    async def kept(self, group: str) -> int:
        if self._name == "saver":
            return await checkpoints(self._pool, group)
        handle = self._client.get_workflow_handle(f"{group}-0")
        return len([event async for event in handle.fetch_history_events()])

    def extra(self) -> dict[str, Any]:
        return {}


if __name__ == "__main__":
    serve(TemporalPeer(sys.argv[1]))
