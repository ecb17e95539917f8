"""A worker that starts gives back what dead ones on its machine had begun, so that nothing waits for their heartbeats.

The server then has an attempt done again by the activity's own retry policy, on whichever worker is free. It is told the
token of the attempt, which counts for no later one: where the server has given the activity to another worker already, it
answers that there is no such attempt, and nothing happens. Whatever else goes wrong leaves an activity to its time-out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import structlog
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetStickyTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.failures import worker_gone
from workers.client import connect
from workers.errors import WorkersError
from workers.stack.addresses import Addresses
from workers.unfinished import Begun, left_behind, lists_of_this_boot

ANSWER_WITHIN = timedelta(seconds=5)
"""For one call: a start waits no longer for a server that is away, and activities would have timed out by then."""

log = structlog.get_logger(__name__)


async def give_back(state_dir: Path, addresses: Addresses) -> int:
    """Give back the activities of processes that died on this machine; returns how many the server took."""
    taken = 0
    for path in lists_of_this_boot(state_dir):
        try:
            with left_behind(path) as begun:
                if begun:
                    taken += await _given_back(await connect(addresses), begun)
        except FileNotFoundError:
            continue  # another worker that starts was faster
        except (OSError, WorkersError) as error:
            log.warning("activities_not_given_back", list=path.name, error=str(error)[:200])
    return taken


async def _given_back(client: Client, begun: Sequence[Begun]) -> int:
    answers = await asyncio.gather(*(_returned(client, attempt) for attempt in begun))
    log.info("activities_given_back", begun=len(begun), taken=sum(answers))
    return sum(answers)


async def _returned(client: Client, begun: Begun) -> bool:
    """Whether the attempt was still at work as far as the server knew."""
    try:
        await client.get_async_activity_handle(task_token=begun.token).fail(worker_gone(), rpc_timeout=ANSWER_WITHIN)
        await _let_go(client, begun)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False  # it has ended, or is somebody else's by now
        log.warning(
            "activity_not_given_back", workflow=begun.workflow, activity=begun.activity, attempt=begun.attempt,
            error=str(error)[:200],
        )  # fmt: skip
        return False
    return True


async def _let_go(client: Client, begun: Begun) -> None:
    """The workflow's next task goes to whoever is free; else the server offers it to the dead process for a while."""
    execution = WorkflowExecution(workflow_id=begun.workflow, run_id=begun.run)
    await client.workflow_service.reset_sticky_task_queue(
        ResetStickyTaskQueueRequest(namespace=client.namespace, execution=execution), retry=True, timeout=ANSWER_WITHIN
    )
