"""Shared by the tests of agents."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError


async def eventually(condition: Callable[[], Awaitable[bool] | bool], deadline_s: float = 10.0) -> None:
    """Wait for a condition with a deadline."""
    async with asyncio.timeout(deadline_s):
        while True:
            found = condition()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real redis-server on a free loopback port."""
    program = Path(sys.executable).parent / "redis-server"
    found = str(program) if program.exists() else shutil.which("redis-server")
    if found is None:
        pytest.skip("there is no redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    command = [
        found,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(folder),
        "--save",
        "",
        "--daemonize",
        "no",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]}) as process:
        yield port
        process.terminate()


@pytest.fixture
async def redis(redis_port: int) -> AsyncIterator[Redis]:
    """An empty Redis."""
    client = Redis(port=redis_port)

    async def answers() -> bool:
        try:
            return await client.ping()
        except (RedisError, OSError):
            return False

    await eventually(answers)
    await client.flushall()
    yield client
    await client.aclose()
