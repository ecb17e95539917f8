"""What a command opens to talk to a running stack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from temporalio.client import Client, Interceptor

from workers.client import connect
from workers.settings import Settings, load_settings
from workers.stack.addresses import Addresses, resolve

if TYPE_CHECKING:
    from agents.feed import Feed


@dataclass(frozen=True)
class Session:
    """A connected client and where everything is."""

    addresses: Addresses
    client: Client


async def open_session() -> Session:
    """Find the stack and connect. What the command then starts or signals begins a trace where a collector is set.

    Raises:
        WorkersError: There is none, or it does not answer; the text names the remedy.
    """
    settings = load_settings()
    addresses = resolve(settings)
    return Session(addresses, await connect(addresses, interceptors=_interceptors(settings)))


def _interceptors(settings: Settings) -> Sequence[Interceptor]:
    if settings.otlp_endpoint is None:
        return ()
    from workers.telemetry import Telemetry

    return Telemetry(settings.otlp_endpoint, "syndic").interceptors()


@asynccontextmanager
async def open_feed(addresses: Addresses) -> AsyncIterator[Feed]:
    """The live feed; reading it decides nothing."""
    from redis.asyncio import Redis

    from agents.feed import Feed

    redis = Redis.from_url(addresses.redis_url)
    try:
        yield Feed(redis)
    finally:
        await redis.aclose()
