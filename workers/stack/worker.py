"""The worker process that `syndic up` starts, and its place as the current version of the worker deployment."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Final

from workers.client import connect
from workers.deployment import DEPLOYMENT, DeploymentError, build_id, set_current_version
from workers.settings import worker_environment
from workers.stack.addresses import Addresses
from workers.stack.errors import StackError
from workers.stack.processes import Command

QUEUES: Final = "syndic,syndic-agents,syndic-tools"
READY_WITHIN: Final = timedelta(seconds=90)
"""Imports take seconds, and longer where the machine is busy."""


class WorkerPart:
    """The part `worker`: ready when its build is the one that new work goes to."""

    name = "worker"

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._build = build_id()

    @property
    def ports(self) -> dict[str, int]:
        return {}

    async def prepare(self) -> None:
        """Nothing: a worker keeps no state of its own."""

    def clear_stale(self) -> None:
        """Nothing: its leases run out, its worktrees are rebuilt."""

    def command(self) -> Command:
        argv = (sys.executable, "-m", "workers._entry", "worker", "--queues", QUEUES)
        version = ("--deployment", DEPLOYMENT, "--build-id", self._build)
        return Command(
            argv=(*argv, *version),
            environment=worker_environment(self._addresses.exports()),
            grace_s=30,  # longer than the worker's own grace, so that calls in flight are journaled
            ready_within_s=READY_WITHIN.total_seconds() + 5,
            cwd=self._addresses.state_dir,
        )

    async def is_ready(self) -> bool:
        client = await connect(self._addresses, identity="syndic-up")
        try:
            await set_current_version(client, DEPLOYMENT, self._build, within=READY_WITHIN)
        except DeploymentError as error:
            raise StackError(f"the worker started, and does not serve: {error}") from error
        return True

    def move_ports(self) -> bool:
        return False
