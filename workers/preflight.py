"""What a worker needs is looked at before the seconds of imports that a worker takes, and before it takes any work."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.service import RPCError, RPCStatusCode

from ledger.postgres import check_schema
from workers.client import connect
from workers.errors import WorkersError
from workers.settings import Settings
from workers.stack.addresses import Addresses, resolve
from workers.succession import give_back

ANSWER_WITHIN_S = 10


class ServerMissingError(WorkersError):
    """A server that every worker needs does not answer, or lacks what it should have."""


async def prepare(settings: Settings) -> None:
    """See that the servers are there, and give back what workers that died on this machine had begun.

    Before the imports: while they go on, the server waits out what it leaves between two attempts.

    Raises:
        WorkersError: As `check_servers`.
        LedgerError: As `check_servers`.
    """
    addresses = resolve(settings)
    await check_servers(addresses)
    await give_back(settings.state_dir, addresses)


async def check_servers(addresses: Addresses) -> None:
    """See that Temporal with its namespace, Postgres with this build's schema, and Redis are there.

    Raises:
        WorkersError: Temporal or Redis is not; the text names the variable to look at, and holds no password.
        LedgerError: Postgres does not answer, or its schema is not this build's.
    """
    await _check_namespace(addresses)
    await check_schema(addresses.database_url)
    await _check_redis(addresses.redis_url)


async def _check_namespace(addresses: Addresses) -> None:
    """A worker of a namespace that does not exist fails later, in words that help nobody."""
    client = await connect(addresses)
    try:
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise ServerMissingError(
            f"Temporal at {addresses.temporal} has no namespace {client.namespace}; correct TEMPORAL_NAMESPACE, or "
            "create it with `temporal operator namespace create`"
        ) from error


async def _check_redis(url: str) -> None:
    parts = urlsplit(url)
    place = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
    redis = Redis.from_url(url)
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await redis.ping()
    except (RedisError, OSError) as error:
        raise ServerMissingError(
            f"Redis at {place} does not answer ({str(error).rstrip('.') or type(error).__name__}); start it, or correct "
            "SYNDIC_REDIS_URL"
        ) from None
    finally:
        await redis.aclose()
