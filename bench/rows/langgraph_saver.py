"""Row: LangGraph with AsyncPostgresSaver, no workflow engine. A dead process needs somebody else to start it again."""

from __future__ import annotations

from typing import Any

from bench.rows.graph import build
from bench.rows.saver import checkpoints, open_saver
from bench.rows.serving import serve
from bench.rows.task import check, first


class LangGraphSaver:
    async def open(self, addresses: dict[str, str]) -> None:
        self._pool, saver = await open_saver(addresses["database"])
        self._graph = build().compile(checkpointer=saver)

    async def prepare(self, group: str, tasks: int) -> None:
        """Nothing."""

    async def run(self, group: str, number: int) -> None:
        config: Any = {"configurable": {"thread_id": f"{group}-{number}"}}
        check((await self._graph.ainvoke({"messages": [first()]}, config))["messages"])

    async def kept(self, group: str) -> int:
        return await checkpoints(self._pool, group)

    def extra(self) -> dict[str, Any]:
        return {}


if __name__ == "__main__":
    serve(LangGraphSaver())
