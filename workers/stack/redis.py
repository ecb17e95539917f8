"""Embedded Redis: append-only file, password, loopback."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import redis.asyncio
from redis.exceptions import RedisError

from workers.settings import plain_environment
from workers.stack import binaries
from workers.stack.addresses import write_private
from workers.stack.credentials import Credentials
from workers.stack.errors import StackError
from workers.stack.parts import Report, folder
from workers.stack.ports import HOST, choose
from workers.stack.processes import Command, tail

USUAL_PORT: Final = 6379
APPEND_FILE: Final = "appendonly.aof"
DAMAGED: Final = re.compile(r"Bad file format reading the append only file|Unrecoverable error reading the append only")


class Redis:
    """The part `redis`. What it delivers is in Postgres, so a damaged file is put aside and delivery starts again."""

    name = "redis"

    def __init__(self, state_dir: Path, credentials: Credentials, remembered: dict[str, int], report: Report) -> None:
        self._folder = folder(state_dir, "redis")
        self._log = state_dir / "logs" / "redis.log"
        self._password = credentials.redis
        self._report = report
        self._port = choose(remembered.get("redis"), USUAL_PORT)
        self._program = binaries.required(binaries.redis(), "Redis", "SYNDIC_REDIS_URL")

    @property
    def ports(self) -> dict[str, int]:
        return {"redis": self._port}

    @property
    def url(self) -> str:
        return f"redis://:{self._password.get_secret_value()}@{HOST}:{self._port}/0"

    async def prepare(self) -> None:
        """Write the configuration: a password among the arguments would show in the list of processes."""
        lines = (
            f"bind {HOST}",
            f"port {self._port}",
            f"requirepass {self._password.get_secret_value()}",
            f'dir "{self._folder}"',
            "appendonly yes",
            f"appendfilename {APPEND_FILE}",
            "appendfsync everysec",
            "aof-load-truncated yes",
            'save ""',
            "daemonize no",
            "loglevel notice",
        )
        write_private(self._folder / "redis.conf", "\n".join(lines) + "\n")

    def clear_stale(self) -> None:
        """Put a damaged append-only file aside (a cut tail is no damage: Redis repairs that itself)."""
        current = self._folder / APPEND_FILE
        if current.exists() and DAMAGED.search(tail(self._log, size=1500)):
            aside = current.with_name(f"{APPEND_FILE}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}")
            current.rename(aside)
            self._report(f"redis: its file was damaged and is now {aside}; messages are delivered again from Postgres")

    def command(self) -> Command:
        return Command((str(self._program), str(self._folder / "redis.conf")), plain_environment())

    async def is_ready(self) -> bool:
        try:
            await _ping(self.url)
        except (RedisError, OSError):
            return False
        return True

    def move_ports(self) -> bool:
        self._port = choose()
        return True


async def check_redis(url: str) -> None:
    """See that a configured Redis answers.

    Raises:
        StackError: it does not; the text holds no password.
    """
    try:
        await _ping(url)
    except (RedisError, OSError) as error:
        parts = urlsplit(url)
        raise StackError(
            f"SYNDIC_REDIS_URL is set, and Redis at {parts.hostname or parts.path}:{parts.port or USUAL_PORT} does not "
            f"answer: {error}. Start it, correct the address, or unset the variable to use the embedded Redis."
        ) from None


async def _ping(url: str) -> None:
    client = redis.asyncio.from_url(url, socket_connect_timeout=2, socket_timeout=5)
    try:
        await client.ping()
    finally:
        await client.aclose()
