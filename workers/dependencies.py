"""Opens and closes what a worker process holds: database pool, Redis, sandbox, model gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from redis.asyncio import Redis

from agents.bus import Relay
from agents.extensions import load_graphs, load_tools
from agents.feed import Feed
from agents.health import SharedHealth
from agents.layout import Layout
from agents.model_choice import SharedChoices
from agents.model_keys import EnvironmentKeys, KeySource, VaultAccess
from agents.models import Models
from agents.recording import Recorder
from agents.replaying import Replayer, read_recording
from agents.runner import AgentDeps
from agents.sandbox import find_sandbox
from ledger.clock import utc_now
from ledger.journal import GroupCommit
from ledger.postgres import PostgresStore
from workers.database import open_store
from workers.late_gateway import LateGateway
from workers.settings import Settings, secret_values
from workers.stack.addresses import Addresses
from workers.unfinished import Unfinished, noting

if TYPE_CHECKING:
    from agents.gateway import Gateway

AFTER_THINKING = timedelta(seconds=30)
"""A run that waits for its last model stops first, and puts it on the record; with more models left the next one is asked."""

CHOICES_FRESH = timedelta(milliseconds=100)
"""A person sees no difference, and runs ask Redis ten times a second at most."""


@dataclass(frozen=True)
class Dependencies:
    """What activities are made with."""

    settings: Settings
    store: PostgresStore
    feed: Feed
    agents: AgentDeps
    unfinished: Unfinished
    """An interceptor of every worker of the process."""


@asynccontextmanager
async def open_dependencies(settings: Settings, addresses: Addresses, worker: str) -> AsyncIterator[Dependencies]:
    """Everything a worker needs, closed in reverse order.

    Raises:
        RecordingError: There is nothing to replay.
    """
    async with AsyncExitStack() as stack:
        # First, because it waits: the import of the model library would begin meanwhile and hold up the rest.
        sandbox = await find_sandbox(settings.unsafe_commands)
        store = await stack.enter_async_context(open_store(addresses.database_url, settings.database_connections))
        redis = Redis.from_url(addresses.redis_url)
        stack.push_async_callback(redis.aclose)
        feed = Feed(redis)
        stack.push_async_callback(feed.settle)
        journal = GroupCommit(store)
        stack.push_async_callback(journal.aclose)
        kept = settings.recording
        if kept is not None and kept.mode == "replay":
            recording = read_recording(kept.path)
            settings = settings.model_copy(update={"models": recording.chains})
            models: Models = Replayer(recording, str(kept.path))
            choices = None
        else:
            choices = SharedChoices(redis, CHOICES_FRESH)
            models = _ask_models(settings, redis, choices, stack)
        stopping = asyncio.Event()
        relay = asyncio.create_task(Relay(store, redis).run(stopping))
        stack.push_async_callback(_finish, relay, stopping)
        yield Dependencies(
            settings=settings,
            store=store,
            feed=feed,
            agents=AgentDeps(
                store=store,
                journal=journal,
                gateway=models,
                feed=feed,
                sandbox=sandbox,
                layout=Layout(settings.state_dir),
                worker=worker,
                clock=utc_now,
                tools=load_tools(),
                graphs=load_graphs(),
                choices=choices,
            ),
            unfinished=stack.enter_context(noting(settings.state_dir)),
        )


def _ask_models(settings: Settings, redis: Redis, choices: SharedChoices, stack: AsyncExitStack) -> Models:
    """Models by way of their providers, recorded where the settings say so."""
    keys, health = _keys(settings), SharedHealth(redis)

    def make() -> Gateway:
        from agents.gateway import Gateway  # imports the model library

        return Gateway(
            keys,
            prices={model: price.rates() for model, price in settings.prices.items()},
            health=health,
            timeout=timedelta(seconds=settings.thinking_s) + AFTER_THINKING,
            saw=choices.saw,
            stream=settings.stream,
        )

    gateway = LateGateway(make)
    stack.push_async_callback(gateway.close)
    if settings.recording is None:
        return gateway
    recorder = Recorder(gateway, settings.recording.path, settings.models, secret_values(settings))
    stack.callback(recorder.close)
    return recorder


async def _finish(task: asyncio.Task[None], stopping: asyncio.Event) -> None:
    stopping.set()
    await task


def _keys(settings: Settings) -> KeySource:
    """Vault where it is set, and then nothing else; the environment otherwise."""
    if settings.vault_addr is None:
        return EnvironmentKeys()
    from agents.vault import VaultAddress, VaultKeys  # imports Vault's client

    address = VaultAddress(url=settings.vault_addr, path=settings.vault_path)
    token = settings.vault_token.get_secret_value() if settings.vault_token else ""
    return VaultAccess(VaultKeys(address, token))
