"""The worker process that `syndic up` starts, and its place as the current version of the worker deployment."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from workers.client import connect
from workers.deployment import DEPLOYMENT, DeploymentError, build_id, set_current_version
from workers.settings import worker_environment
from workers.stack.addresses import Addresses
from workers.stack.errors import StackError
from workers.stack.processes import Command
from workflows.options import AGENTS_QUEUE, TOOLS_QUEUE, WORKFLOW_QUEUE

QUEUES: Final = (WORKFLOW_QUEUE, AGENTS_QUEUE, TOOLS_QUEUE)
READY_WITHIN_S: Final = 90
"""Imports take seconds, and longer where the machine is busy."""
SETTLES_WITHIN: Final = timedelta(seconds=20)
"""From the first poll until the server knows the deployment's version."""


class WorkerPart:
    """The part `worker`: ready when its build is the one that new work goes to."""

    name = "worker"

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._build = build_id()
        self._since = datetime.now(UTC)
        self._client: Client | None = None

    @property
    def ports(self) -> dict[str, int]:
        return {}

    async def prepare(self) -> None:
        """Nothing: a worker keeps no state of its own."""

    def clear_stale(self) -> None:
        """Nothing: the next one gives back what it had begun, and its worktrees are rebuilt."""

    def command(self) -> Command:
        self._since = datetime.now(UTC)
        argv = (sys.executable, "-m", "workers._entry", "worker", "--queues", ",".join(QUEUES))
        version = ("--deployment", DEPLOYMENT, "--build-id", self._build)
        return Command(
            argv=(*argv, *version),
            environment=worker_environment(self._addresses.exports()),
            grace_s=30,  # longer than the worker's own grace, so that calls in flight are journaled
            ready_within_s=READY_WITHIN_S,
            cwd=self._addresses.state_dir,
        )

    async def is_ready(self) -> bool:
        if self._client is None:
            self._client = await connect(self._addresses, identity="syndic-up")
        if not await _polls(self._client, self._since):
            return False
        try:
            await set_current_version(self._client, DEPLOYMENT, self._build, within=SETTLES_WITHIN)
        except DeploymentError as error:
            raise StackError(f"the worker started, and does not serve: {error}") from error
        return True

    def move_ports(self) -> bool:
        return False


async def _polls(client: Client, since: datetime) -> bool:
    """Whether a worker has asked for workflow tasks since then; an earlier worker's build may be current already."""
    found = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=WORKFLOW_QUEUE),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
    )
    return any(poller.last_access_time.ToDatetime(tzinfo=UTC) >= since for poller in found.pollers)
