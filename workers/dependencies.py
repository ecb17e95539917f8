"""Opens and closes what a worker process holds: database pool, Redis, sandbox, model gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from redis.asyncio import Redis

from agents.bus import Relay
from agents.feed import Feed
from agents.layout import Layout
from agents.runner import AgentDeps
from agents.sandbox import find_sandbox
from ledger.journal import GroupCommit
from ledger.postgres import PostgresStore, open_pool
from workers.settings import Settings

if TYPE_CHECKING:
    from workers.stack import Addresses


@dataclass(frozen=True)
class Dependencies:
    """What activities are made with."""

    settings: Settings
    store: PostgresStore
    feed: Feed
    agents: AgentDeps


@asynccontextmanager
async def open_dependencies(
    settings: Settings, addresses: Addresses, worker: str, queues: Sequence[str]
) -> AsyncIterator[Dependencies]:
    """Everything the queues need, closed in reverse order.

    The model library is imported here, before the worker polls: a run must not wait three seconds for an import while its
    lease is ticking.
    """
    from agents.gateway import Gateway

    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(addresses.database_url, size=settings.database_connections))
        store = PostgresStore(pool, _now)
        redis = Redis.from_url(addresses.redis_url)
        stack.push_async_callback(redis.aclose)
        feed = Feed(redis)
        journal = GroupCommit(store)
        stack.push_async_callback(journal.aclose)
        relay = asyncio.create_task(Relay(store, redis).run())
        stack.push_async_callback(_cancel, relay)
        yield Dependencies(
            settings=settings,
            store=store,
            feed=feed,
            agents=AgentDeps(
                store=store,
                journal=journal,
                gateway=Gateway(settings.keys()),
                feed=feed,
                sandbox=await find_sandbox(settings.unsafe_commands),
                layout=Layout(settings.state_dir),
                worker=worker,
                clock=_now,
            ),
        )


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _now() -> datetime:
    return datetime.now(UTC)
