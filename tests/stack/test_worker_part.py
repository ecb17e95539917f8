"""`syndic up` with its worker: versioned, current, and replaced when it is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest
from temporalio.client import Client

from tests.stack.conftest import Shell, finish, wait_for
from workers.deployment import build_id


async def test_the_worker_is_the_current_version_and_a_killed_one_is_replaced(shell: Shell) -> None:
    process, addresses = shell.up("--worker")
    client = await Client.connect(addresses.temporal, namespace=addresses.namespace)
    deployment = await client.workflow_service.describe_worker_deployment(
        DescribeWorkerDeploymentRequest(namespace="default", deployment_name="syndic")
    )
    current = deployment.worker_deployment_info.routing_config.current_deployment_version
    assert (current.deployment_name, current.build_id) == ("syndic", build_id())

    killed = shell.pid("worker")
    environment = Path(f"/proc/{killed}/environ").read_bytes()
    assert b"PYTHONSAFEPATH=1" in environment
    assert (addresses.owner_database_url or "?").encode() not in environment
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: shell.pid("worker") != killed, "another worker")
    shell.remember()
    status, said = finish(process)
    assert status == 0
    assert "worker was killed by signal 9; starting it again" in said
