"""Row: DBOS on Postgres, the task as one workflow with a step for each model turn and each tool step."""

from __future__ import annotations

from typing import Any

import psycopg
from dbos import DBOS, SetWorkflowID

from bench.rows.serving import serve
from bench.rows.task import MODEL, TOOL_STEPS, TURNS, Message, check, first


@DBOS.step()
async def think(turn: int) -> Message:
    return await MODEL.answer(turn)


@DBOS.step()
async def act() -> Message:
    return await MODEL.look()


@DBOS.workflow()
async def task() -> list[Message]:
    messages = [first()]
    for turn in range(TURNS):
        messages.append(await think(turn))
        if turn < TOOL_STEPS:
            messages.append(await act())
    return messages


class DbosSteps:
    async def open(self, addresses: dict[str, str]) -> None:
        self._database = addresses["database"]
        DBOS(config={"name": "bench", "system_database_url": self._database, "run_admin_server": False,
                     "log_level": "WARNING"})  # fmt: skip
        DBOS.launch()

    async def prepare(self, group: str, tasks: int) -> None:
        """Nothing."""

    async def run(self, group: str, number: int) -> None:
        with SetWorkflowID(f"{group}-{number}"):
            handle = await DBOS.start_workflow_async(task)
        check(await handle.get_result())

    async def kept(self, group: str) -> int:
        async with await psycopg.AsyncConnection.connect(self._database) as connection:
            query = "SELECT count(*) FROM dbos.operation_outputs WHERE workflow_uuid LIKE %s"
            row = await (await connection.execute(query, (f"{group}-%",))).fetchone()
            return row[0] if row else 0

    def extra(self) -> dict[str, Any]:
        return {}


if __name__ == "__main__":
    serve(DbosSteps())
