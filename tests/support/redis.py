"""A real Redis for tests and measurements: own folder, free loopback port, to be killed and started again at will."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.support.processes import die_with_parent

START_DEADLINE_S = 20.0


class RedisServer:
    """A redis-server that keeps an append-only file and comes back on the same port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, retry=None, socket_timeout=5)

    def start(self) -> None:
        """Returns when it answers.

        Raises:
            RuntimeError: There is no redis-server, or it does not start.
        """
        program = Path(sys.executable).parent / "redis-server"
        found = str(program) if program.exists() else shutil.which("redis-server")
        if found is None:
            raise RuntimeError("there is no redis-server (dependency group `local`)")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", ""]
        self._process = subprocess.Popen(
            [found, *options, "--appendonly", "yes"], stdout=subprocess.DEVNULL, preexec_fn=die_with_parent
        )
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.RedisError:
                time.sleep(0.02)
        raise RuntimeError("redis-server does not start")

    def kill(self) -> None:
        """As a power cut for the process: no word to it before."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """Start one and yield its URL."""
    server = RedisServer(folder)
    server.start()
    try:
        yield server.url
    finally:
        server.kill()
