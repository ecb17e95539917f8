"""Worker Deployment Versions: what this build is called, and how it becomes the current one."""

from __future__ import annotations

import asyncio
import hashlib
import re
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import structlog
from temporalio.api.deployment.v1 import WorkerDeploymentVersion as VersionMessage
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentVersionRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode

from agents.finishing import pause
from workers.errors import WorkersError
from workers.queues import QUEUES

PACKAGES = ("workers", "workflows", "activities", "agents", "ledger")
DEPLOYMENT = "syndic"

log = structlog.get_logger(__name__)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_BUILD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")


class DeploymentError(WorkersError):
    """The version could not be made current."""


class VersionNameError(WorkersError):
    """A deployment's name or a build id cannot be used."""

    exit_code = 2


def deployment_version(deployment: str, build: str) -> WorkerDeploymentVersion:
    """The version of that name.

    Raises:
        VersionNameError: the server would refuse it, and a worker of that name would poll in vain without a word.
    """
    for what, text, allowed, marks in (
        ("deployment", deployment, _NAME, "- _"),
        ("build id", build, _BUILD, ". - _ +"),
    ):
        if not allowed.fullmatch(text):
            raise VersionNameError(
                f"{what} {text[:40]!r} cannot be used: write up to 100 letters, digits and {marks}, the first a letter or digit"
            )
    return WorkerDeploymentVersion(deployment_name=deployment, build_id=build)


def build_id() -> str:
    """Version and a digest of the source, so that two different sources never share a build id."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent.parent
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in {".py", ".sql"}:
                digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{version('syndic')}-{digest.hexdigest()[:10]}"


async def set_current_version(
    client: Client, deployment: str, build: str, *, within: timedelta = timedelta(seconds=60)
) -> None:
    """Make a build the deployment's current version as soon as the server knows pollers of it on every task queue.

    Without a current version nothing is dispatched to versioned workers; with one that lacks a queue, work for that queue
    would wait for ever.

    Raises:
        DeploymentError: not all pollers of that build appeared in time.
    """
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace, deployment_name=deployment, build_id=build, identity="syndic"
    )
    deadline = asyncio.get_running_loop().time() + within.total_seconds()
    while True:
        try:
            missing = set(QUEUES) - await _polled_queues(client, deployment, build)
            if not missing:
                await client.workflow_service.set_worker_deployment_current_version(request)
                log.info("deployment_version_current", deployment=deployment, build_id=build)
                return
            reason = f"nobody polls {', '.join(sorted(missing))}"
        except RPCError as error:
            if not _is_worth_waiting_for(error):
                raise DeploymentError(f"{deployment}:{build} cannot become current: {error}") from error
            reason = str(error)
        if asyncio.get_running_loop().time() > deadline:
            raise DeploymentError(f"not all workers of {deployment}:{build} poll: {reason}")
        await pause(0.1)


async def _polled_queues(client: Client, deployment: str, build: str) -> set[str]:
    found = await client.workflow_service.describe_worker_deployment_version(
        DescribeWorkerDeploymentVersionRequest(
            namespace=client.namespace,
            deployment_version=VersionMessage(deployment_name=deployment, build_id=build),
        )
    )
    return {queue.name for queue in found.worker_deployment_version_info.task_queue_infos}


def _is_worth_waiting_for(error: RPCError) -> bool:
    return error.status in {
        RPCStatusCode.NOT_FOUND,
        RPCStatusCode.FAILED_PRECONDITION,
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.RESOURCE_EXHAUSTED,
    }
