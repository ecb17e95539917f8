"""One worker process: the queues it serves, its deployment version, its graceful end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

from workers.client import connect
from workers.dependencies import Dependencies, open_dependencies
from workers.registry import Served, served
from workers.sandbox import new_workflow_runner
from workers.settings import Settings
from workers.stack.addresses import resolve
from workers.telemetry import Telemetry

SHUTDOWN_GRACE = timedelta(seconds=20)
"""A model call in flight may finish and be journaled; a program of the target is killed."""

STICKY_QUEUE_S = timedelta(seconds=1)
"""A dead worker's workflow tasks go to another after this long (the default is 10 s)."""

log = structlog.get_logger(__name__)


class WorkerProcess:
    """Serves queues until `stop` is called."""

    def __init__(self, settings: Settings, queues: Sequence[str], deployment: str, build_id: str) -> None:
        self._settings = settings
        self._queues = tuple(queues)
        self._version = WorkerDeploymentVersion(deployment_name=deployment, build_id=build_id)
        self._stop = asyncio.Event()
        self.identity = f"{socket.gethostname()}:{os.getpid()}"

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Connect, serve, and return after a graceful shutdown."""
        telemetry = Telemetry(self._settings.otlp_endpoint, "syndic-worker")
        addresses = resolve(self._settings)
        try:
            async with AsyncExitStack() as stack:
                client = await connect(addresses, interceptors=telemetry.interceptors(), identity=self.identity)
                dependencies = await stack.enter_async_context(
                    open_dependencies(self._settings, addresses, self.identity, self._queues)
                )
                for part in served(self._queues, dependencies):
                    await stack.enter_async_context(self._worker(client, part, dependencies))
                log.info("worker_started", queues=self._queues, build_id=self._version.build_id, identity=self.identity)
                await self._stop.wait()
                log.info("worker_stopping", identity=self.identity)
        finally:
            telemetry.close()

    def _worker(self, client: Client, part: Served, dependencies: Dependencies) -> Worker:
        return Worker(
            client,
            task_queue=part.queue,
            workflows=part.workflows,
            activities=part.activities,
            workflow_runner=new_workflow_runner(),
            deployment_config=WorkerDeploymentConfig(
                version=self._version,
                use_worker_versioning=True,
                default_versioning_behavior=VersioningBehavior.PINNED,
            ),
            graceful_shutdown_timeout=SHUTDOWN_GRACE,
            sticky_queue_schedule_to_start_timeout=STICKY_QUEUE_S,
            max_concurrent_activities=dependencies.settings.slots(part.queue),
        )
