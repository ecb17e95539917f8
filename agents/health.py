"""The circuits of providers and models, shared by all workers through Redis; a worker that cannot reach it goes by its own.

One round trip before a call, none after a call that succeeded where nothing was wrong before.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, WatchError

from agents.breaker import Circuit, failed

log = structlog.get_logger(__name__)

T = TypeVar("T")
Now = Callable[[], float]

PROBE_S = 60.0
"""How long others wait for the one that probes; a prober that died costs this much once."""
PROBE_WAIT_S = 2.0
"""After which a caller looks again whether the probe has decided."""
FORGOTTEN_S = 3600
"""A circuit that nobody touched for this long counts as closed."""
REDIS_S = 1.0
QUIET_S = 5.0
"""After a failure Redis is not asked for this long, so that a dead one costs no call its time."""
TRIES = 20


@dataclass(frozen=True)
class Leave:
    """Whether a call may be made. `troubled` are the names that a success clears."""

    wait_s: float = 0.0
    reason: str = ""
    troubled: tuple[str, ...] = ()

    @property
    def granted(self) -> bool:
        return self.wait_s <= 0


class Health(Protocol):
    """Asked before each call to a model, told after it."""

    async def leave(self, names: Sequence[str]) -> Leave:
        """May a call that depends on all these names be made? Where one rests the answer says for how long."""
        ...

    async def succeeded(self, leave: Leave) -> None: ...

    async def failed(self, name: str, reason: str, rest_s: float | None = None) -> None: ...

    async def circuits(self) -> dict[str, Circuit]:
        """Every name that is or was in trouble."""
        ...


class LocalHealth:
    """The circuits of one process."""

    def __init__(self, now: Now = time.time) -> None:
        self._now = now
        self._circuits: dict[str, Circuit] = {}
        self._probes: dict[str, float] = {}

    async def leave(self, names: Sequence[str]) -> Leave:
        now = self._now()
        circuits = {name: self._circuits[name] for name in names if name in self._circuits}
        if (resting := _resting(circuits, now)) is not None:
            return resting
        for name in _probing(circuits, now):
            if self._probes.get(name, 0.0) > now:
                return Leave(PROBE_WAIT_S, f"{name} is being probed")
            self._probes[name] = now + PROBE_S
        return Leave(troubled=tuple(circuits))

    async def succeeded(self, leave: Leave) -> None:
        for name in leave.troubled:
            self._circuits.pop(name, None)
            self._probes.pop(name, None)

    async def failed(self, name: str, reason: str, rest_s: float | None = None) -> None:
        self._circuits[name] = failed(self._circuits.get(name, Circuit()), self._now(), reason, rest_s)
        self._probes.pop(name, None)

    async def circuits(self) -> dict[str, Circuit]:
        return dict(self._circuits)


class SharedHealth:
    """The circuits of all workers that use one Redis."""

    def __init__(self, redis: Redis, now: Now = time.time) -> None:
        self._redis = redis
        self._now = now
        self._own = LocalHealth(now)
        self._quiet_until = 0.0

    async def leave(self, names: Sequence[str]) -> Leave:
        shared = await self._try(lambda: self._shared_leave(names))
        return shared if shared is not None else await self._own.leave(names)

    async def succeeded(self, leave: Leave) -> None:
        await self._own.succeeded(leave)
        if leave.troubled:
            await self._try(lambda: self._clear(leave.troubled))

    async def failed(self, name: str, reason: str, rest_s: float | None = None) -> None:
        await self._own.failed(name, reason, rest_s)
        await self._try(lambda: self._shared_failed(name, reason, rest_s))

    async def circuits(self) -> dict[str, Circuit]:
        """Raises RedisError."""
        keys = [key async for key in self._redis.scan_iter(match=_key("*"))]
        names = [_text(key).removeprefix(_key("")) for key in keys]
        return await self._read(sorted(names))

    async def _read(self, names: Sequence[str]) -> dict[str, Circuit]:
        if not names:
            return {}
        values = await self._redis.mget([_key(name) for name in names])
        return {name: _circuit(value) for name, value in zip(names, values, strict=True) if value is not None}

    async def _shared_leave(self, names: Sequence[str]) -> Leave:
        circuits, now = await self._read(names), self._now()
        if (resting := _resting(circuits, now)) is not None:
            return resting
        for name in _probing(circuits, now):
            if not await self._redis.set(_probe(name), "1", nx=True, px=int(PROBE_S * 1000)):
                return Leave(PROBE_WAIT_S, f"{name} is being probed")
        return Leave(troubled=tuple(circuits))

    async def _clear(self, names: Sequence[str]) -> bool:
        await self._redis.delete(*map(_key, names), *map(_probe, names))
        return True

    async def _shared_failed(self, name: str, reason: str, rest_s: float | None) -> bool:
        for _ in range(TRIES):
            async with self._redis.pipeline(transaction=True) as pipe:
                await pipe.watch(_key(name))
                before = _circuit(await pipe.get(_key(name)))
                after = failed(before, self._now(), reason, rest_s)
                pipe.multi()
                pipe.set(_key(name), json.dumps(asdict(after)), ex=FORGOTTEN_S)
                pipe.delete(_probe(name))
                try:
                    await pipe.execute()
                except WatchError:
                    continue
            if after.trips > before.trips:
                log.warning("circuit_opened", name=name, rest_s=round(after.wait_s(self._now()), 1), reason=reason)
            return True
        return False  # so many others wrote in these moments that the failure is known without this one

    async def _try(self, work: Callable[[], Awaitable[T]]) -> T | None:
        if time.monotonic() < self._quiet_until:
            return None
        try:
            async with asyncio.timeout(REDIS_S):
                return await work()
        except (RedisError, OSError) as error:  # a time-out is an OSError
            self._quiet_until = time.monotonic() + QUIET_S
            log.warning("model_health_not_shared", error=str(error)[:200] or type(error).__name__)
            return None


def _resting(circuits: dict[str, Circuit], now: float) -> Leave | None:
    waits = {name: circuit.wait_s(now) for name, circuit in circuits.items()}
    longest = max(waits, key=waits.__getitem__, default=None)
    if longest is None or waits[longest] <= 0:
        return None
    return Leave(waits[longest], f"{longest} rests after: {circuits[longest].reason}")


def _probing(circuits: dict[str, Circuit], now: float) -> list[str]:
    return [name for name, circuit in circuits.items() if circuit.needs_probe(now)]


def _key(name: str) -> str:
    # The braces keep all of them on one node of a Redis cluster, which MGET and DEL of several need.
    return f"syndic:{{models}}:circuit:{name}"


def _probe(name: str) -> str:
    return f"syndic:{{models}}:probe:{name}"


def _circuit(value: bytes | str | None) -> Circuit:
    return Circuit() if value is None else Circuit(**json.loads(value))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
