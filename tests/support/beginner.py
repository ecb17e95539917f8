"""A worker process that begins every activity and ends none: `python -m tests.support.beginner ADDRESS STATE_DIR`.

It starts a program of its own, which lives on and must not hold the lock on its list for it; its number is in the file PROGRAM.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.worker import Worker

from tests.support.processes import die_with_parent

QUEUE = "begun"
PROGRAM = "program"


@workflow.defn
class Waiting:
    """Waits for one activity, whose attempts have as long as the test says before a heartbeat is missed."""

    @workflow.run
    async def run(self, heartbeat_s: float) -> int:
        return await workflow.execute_activity(
            "begin",
            result_type=int,
            task_queue=QUEUE,
            start_to_close_timeout=timedelta(hours=1),
            heartbeat_timeout=timedelta(seconds=heartbeat_s),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
        )


@activity.defn(name="begin")
async def hang() -> int:
    await asyncio.Event().wait()
    return 0


async def main(address: str, state_dir: Path) -> None:
    from workers.unfinished import noting

    client = await Client.connect(address)
    with noting(state_dir) as unfinished:
        program = await asyncio.create_subprocess_exec("sleep", "600")
        (state_dir / PROGRAM).write_text(str(program.pid))
        await Worker(client, task_queue=QUEUE, activities=[hang], interceptors=[unfinished]).run()


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
