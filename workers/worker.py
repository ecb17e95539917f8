"""One worker process: the queues it serves, its deployment version, its graceful end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

from agents.models import Models
from workers.client import connect
from workers.dependencies import Dependencies, open_dependencies
from workers.memory import settle_memory
from workers.reconciler import reconciling
from workers.registry import Served, served
from workers.sandbox import new_workflow_runner
from workers.settings import Settings
from workers.stack.addresses import resolve
from workers.telemetry import Telemetry
from workflows.options import WORKFLOW_TASKS

SHUTDOWN_GRACE = timedelta(seconds=20)
"""A model call in flight may finish and be journaled; a program of the target is killed."""

STICKY_QUEUE_S = timedelta(seconds=5)
"""How long a workflow task waits for the worker that has the workflow in memory (the default is 10 s). After a death others wait so
long at most. Less would take workflows away from busy workers, to be read anew from their histories, which makes them busier."""

HEARTBEAT_EVERY = timedelta(seconds=1)
"""The default holds heartbeats back to 80 % of their time-out, and a cancellation is heard with a heartbeat's answer."""

log = structlog.get_logger(__name__)


class WorkerProcess:
    """Serves queues until `stop` is called."""

    def __init__(self, settings: Settings, queues: Sequence[str], version: WorkerDeploymentVersion) -> None:
        self._settings = settings
        self._queues = tuple(queues)
        self._version = version
        self._stop = asyncio.Event()
        self.identity = f"{socket.gethostname()}:{os.getpid()}"

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Connect, serve, and return after a graceful shutdown.

        Raises:
            WorkersError: Temporal does not answer.
        """
        telemetry = Telemetry(self._settings.otlp_endpoint, "syndic-worker", self.identity, measured=True)
        addresses = resolve(self._settings)
        try:
            client = await connect(addresses, interceptors=telemetry.interceptors(), identity=self.identity)
            async with (
                open_dependencies(self._settings, addresses, self.identity) as dependencies,
                reconciling(dependencies.store),
            ):
                workers = [self._worker(client, part, dependencies) for part in served(self._queues, dependencies)]
                await self._serve(workers, dependencies.agents.gateway)
        finally:
            telemetry.close()

    async def _serve(self, workers: Sequence[Worker], models: Models) -> None:
        """Run them side by side until one fails or all are asked to stop; they drain together, within one grace."""
        settling = asyncio.create_task(self._settle(models))
        runs = [asyncio.create_task(worker.run()) for worker in workers]
        stop = asyncio.create_task(self._stop.wait())
        log.info("worker_started", queues=self._queues, build_id=self._version.build_id, identity=self.identity)
        await asyncio.wait([*runs, stop], return_when=asyncio.FIRST_COMPLETED)
        log.info("worker_stopping", identity=self.identity)
        stop.cancel()
        await asyncio.gather(*(worker.shutdown() for worker in workers))
        await asyncio.gather(settling, *runs)

    async def _settle(self, models: Models) -> None:
        """The last imports go on beside the first work; a worker that cannot ask models is of no use."""
        try:
            await models.ready()
        except Exception:
            self.stop()
            raise
        settle_memory()

    def _worker(self, client: Client, part: Served, dependencies: Dependencies) -> Worker:
        return Worker(
            client,
            task_queue=part.queue,
            workflows=part.workflows,
            activities=part.activities,
            interceptors=[dependencies.unfinished],
            workflow_runner=new_workflow_runner(),
            deployment_config=WorkerDeploymentConfig(
                version=self._version,
                use_worker_versioning=True,
                default_versioning_behavior=VersioningBehavior.PINNED,
            ),
            graceful_shutdown_timeout=SHUTDOWN_GRACE,
            max_heartbeat_throttle_interval=HEARTBEAT_EVERY,
            sticky_queue_schedule_to_start_timeout=STICKY_QUEUE_S,
            max_concurrent_activities=dependencies.settings.slots(part.queue),
            max_cached_workflows=dependencies.settings.cached_workflows,
            max_concurrent_workflow_tasks=WORKFLOW_TASKS,
        )
