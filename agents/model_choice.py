"""Which models a role asks, changed while workers run: kept in Redis, read before each call, journaled by runs as an input.

A choice may send part of the runs to a new model first, the canary, which is withdrawn by itself when too many of its calls
fail. Without Redis, and without a choice, runs ask the chain that they were given.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Protocol, TypeVar

import structlog
from pydantic import Field, ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError, WatchError

from agents.roles import MODEL_CLASSES
from ledger.shared import Shared
from ledger.vocabulary import Record

log = structlog.get_logger(__name__)

T = TypeVar("T")

DEFAULT = "default"
KEY = "syndic:{models}:choices"
REDIS_S = 1.0
QUIET_S = 5.0
TRIES = 20


class Canary(Record):
    """A model on trial: it is asked first by `percent` of the runs."""

    model: str
    percent: int = Field(ge=1, le=100)
    max_error_rate: float = Field(default=0.2, gt=0, lt=1)
    """Above this share of failed calls it is withdrawn."""
    after_calls: int = Field(default=10, ge=1)
    """No rate is taken of fewer."""


class Choice(Record):
    """What one role, class or `default` asks, first choice first."""

    chain: tuple[str, ...] = Field(min_length=1)
    canary: Canary | None = None
    withdrawn: str | None = None
    """Why the last canary was rolled back."""


class Choices(Protocol):
    """Asked before each call, told after it."""

    async def chain(self, role: str, thread: str) -> tuple[str, ...] | None:
        """The models for a run; None leaves it at the chain it was given."""
        ...

    async def saw(self, model: str, ok: bool) -> None:
        """A call to a model ended."""
        ...


def chain_of(choices: Mapping[str, Choice], role: str, thread: str) -> tuple[str, ...] | None:
    """The models that a run of a role asks. The same thread always belongs to the same part of the runs."""
    choice = choices.get(role) or choices.get(DEFAULT)
    if choice is None:
        return None
    chain = tuple(model for name in choice.chain for model in _models(choices, name, thread))
    return _with_canary(choice, chain, thread)


def _models(choices: Mapping[str, Choice], name: str, thread: str) -> tuple[str, ...]:
    named = choices.get(name) if name in MODEL_CLASSES else None
    return (name,) if named is None else _with_canary(named, named.chain, thread)


def _with_canary(choice: Choice, chain: tuple[str, ...], thread: str) -> tuple[str, ...]:
    canary = choice.canary
    if canary is None or _hundredth(thread, canary.model) >= canary.percent:
        return chain
    return (canary.model, *(model for model in chain if model != canary.model))


def _hundredth(thread: str, model: str) -> int:
    return int.from_bytes(sha256(f"{model}\n{thread}".encode()).digest()[:8], "big") % 100


class SharedChoices:
    """The choices of all workers that use one Redis."""

    def __init__(self, redis: Redis, fresh: timedelta = timedelta()) -> None:
        """`fresh` is how long a reading is good for; a choice takes effect that much later."""
        self._redis = redis
        self._fresh_s = fresh.total_seconds()
        self._read_until = 0.0
        self._read = Shared(self.all)
        self._known: dict[str, Choice] = {}
        self._quiet_until = 0.0

    async def chain(self, role: str, thread: str) -> tuple[str, ...] | None:
        if time.monotonic() >= self._read_until:
            known = await self._try(self._read)
            if known is not None:
                self._known = known
                self._read_until = time.monotonic() + self._fresh_s
        return chain_of(self._known, role, thread)

    async def saw(self, model: str, ok: bool) -> None:
        for name, choice in self._known.items():
            if choice.canary is not None and choice.canary.model == model:
                await self._try(lambda name=name, canary=choice.canary: self._count(name, canary, ok))

    async def all(self) -> dict[str, Choice]:
        """Every choice by name. One that this build cannot read is left out and logged. Raises RedisError."""
        rows: dict[bytes | str, bytes | str] = await self._redis.hgetall(KEY)  # pyright: ignore[reportGeneralTypeIssues] redis types it as sync or async
        found: dict[str, Choice] = {}
        for name, text in rows.items():
            try:
                found[_text(name)] = Choice.model_validate_json(text)
            except ValidationError:
                log.warning("model_choice_unreadable", name=_text(name))
        return found

    async def put(self, name: str, choice: Choice) -> None:
        """Make a choice; a canary begins with a clean record. Raises RedisError."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(KEY, name, choice.model_dump_json())
            pipe.delete(_record(name))
            await pipe.execute()

    async def drop(self, name: str) -> bool:
        """Take a choice back; False where there was none. Raises RedisError."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hdel(KEY, name)
            pipe.delete(_record(name))
            return bool((await pipe.execute())[0])

    async def _count(self, name: str, canary: Canary, ok: bool) -> bool:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hincrby(_record(name), "calls", 1)
            pipe.hincrby(_record(name), "errors", 0 if ok else 1)
            calls, errors = await pipe.execute()
        if calls >= canary.after_calls and errors / calls > canary.max_error_rate:
            await self._withdraw(name, canary, f"{errors} of {calls} calls failed")
        return True

    async def _withdraw(self, name: str, canary: Canary, why: str) -> None:
        for _ in range(TRIES):
            async with self._redis.pipeline(transaction=True) as pipe:
                await pipe.watch(KEY)
                text = await pipe.hget(KEY, name)  # pyright: ignore[reportGeneralTypeIssues] as above
                choice = None if text is None else Choice.model_validate_json(text)
                if choice is None or choice.canary != canary:
                    return  # another worker was first, or a person chose anew
                after = choice.model_copy(update={"canary": None, "withdrawn": f"{canary.model}: {why}"})
                pipe.multi()
                pipe.hset(KEY, name, after.model_dump_json())
                try:
                    await pipe.execute()
                except WatchError:
                    continue
            log.warning("canary_withdrawn", name=name, model=canary.model, reason=why)
            return

    async def _try(self, work: Callable[[], Awaitable[T]]) -> T | None:
        if time.monotonic() < self._quiet_until:
            return None
        try:
            async with asyncio.timeout(REDIS_S):
                return await work()
        except (RedisError, OSError) as error:  # a time-out is an OSError
            self._quiet_until = time.monotonic() + QUIET_S
            log.warning("model_choices_not_read", error=str(error)[:200] or type(error).__name__)
            return None


def _record(name: str) -> str:
    return f"syndic:{{models}}:canary:{name}"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
