"""The demo's own processes: a stack in a temporary folder and a worker that gets killed. Nothing of it stays."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from agents.finishing import pause
from agents.processes import Program
from agents.sandbox import Refusing, find_sandbox
from workers.client import connect
from workers.console import CommandError
from workers.session import Session
from workers.settings import OWN_PROFILE, Settings, load_settings
from workers.stack import Addresses
from workers.stack.processes import ProcessId, end, identify, is_alive, launch, tail, until
from workers.stack.supervisor import Stack
from workers.stack.worker import WorkerPart

PR_SET_CHILD_SUBREAPER = 36
WORKER_GRACE_S = 20
GONE_WITHIN_S = 10
POLL_S = 0.05


@dataclass
class Machinery:
    """Starts, kills and stops.

    Args:
        state_dir: A folder of the demo's own.
        unsafe: Let programs of the target run without a sandbox.
        environment: What leads the worker to models of the demo's own; none of the person's keys is used with it.
    """

    state_dir: Path
    unsafe: bool
    report: Callable[[str], None]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    _stack: Stack | None = field(init=False, default=None)
    _watching: asyncio.Task[None] | None = field(init=False, default=None)
    _part: WorkerPart | None = field(init=False, default=None)
    _worker: ProcessId | None = field(init=False, default=None)
    _process: Program | None = field(init=False, default=None)

    @property
    def worker_pid(self) -> int:
        return self._worker.pid if self._worker else 0

    async def start(self) -> Session:
        """Start the servers, away from any that the person has, and connect."""
        adopt_orphans()
        self._stack = Stack(own_settings(self.state_dir), worker=False, profile=None, report=self.report)
        addresses = await self._stack.start()
        self._watching = asyncio.create_task(self._stack.watch(), name="demo-stack")
        return Session(addresses, await connect(addresses))

    async def start_worker(self, addresses: Addresses) -> None:
        """Start a worker and wait until new work goes to it.

        Raises:
            CommandError: It ended instead; the text holds the end of its log.
        """
        self._part = part = self._part or WorkerPart(addresses)  # one build id, whatever happens to the source
        command = part.command()
        dropped = {"SYNDIC_MODELS", *(("VAULT_ADDR",) if self.environment else ())}
        kept = {name: value for name, value in command.environment.items() if name not in dropped}
        kept |= self.environment
        kept |= {"SYNDIC_UNSAFE_COMMANDS": "1"} if self.unsafe else {}
        self._process = launch(replace(command, environment=kept), self.log)
        self._worker = identify(self._process.pid)
        ready = asyncio.create_task(_until_ready(part))
        ended = asyncio.create_task(self._process.wait())
        await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            raise CommandError(f"the worker ended with status {self._process.returncode}:\n{tail(self.log)}")
        ended.cancel()
        await ready

    @property
    def log(self) -> Path:
        return self.state_dir / "logs" / "worker.log"

    async def kill_worker(self) -> int:
        """SIGKILL the worker; returns its process id."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()
        return self._process.pid

    async def stop(self) -> None:
        """Stop the worker, then the servers."""
        if self._worker is not None and is_alive(self._worker):
            await end(self._worker, signal.SIGTERM, WORKER_GRACE_S)
        if self._process is not None:
            await self._process.wait()
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        if self._stack is not None:
            await self._stack.stop()

    async def leftovers(self) -> list[int]:
        """Processes of ours that are still there after a while; must be empty."""
        await until(lambda: not children(), GONE_WITHIN_S)
        return children()


async def _until_ready(part: WorkerPart) -> None:
    while not await part.is_ready():
        await pause(POLL_S)


def own_settings(state_dir: Path) -> Settings:
    """Settings that lead to no server of the person's and to no model that costs money."""
    unset = dict.fromkeys(("temporal_address", "temporal_namespace", "database_url", "owner_database_url", "redis_url"))
    own = {**unset, "state_dir": state_dir, "temporal_profile": OWN_PROFILE, "models": {}}
    return load_settings().model_copy(update=own)


async def sandbox_name() -> tuple[str, str]:
    """The sandbox programs will run in, and why where there is none."""
    found = await find_sandbox()
    return (found.name, found.reason) if isinstance(found, Refusing) else (found.name, "")


async def stay_up(state_dir: Path) -> None:
    """Leave a whole stack running on the folder, apart from this process.

    Raises:
        CommandError: It did not start.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "workers._entry", "up", "--detach", "--json", "--profile", ""),
        env={**_without_servers(), "SYNDIC_STATE_DIR": str(state_dir), "PYTHONSAFEPATH": "1"},
        cwd=state_dir,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, error = await process.communicate()
    if process.returncode:
        raise CommandError(f"the stack could not be kept up: {error.decode(errors='replace').strip()}")


def _without_servers() -> dict[str, str]:
    ours = ("TEMPORAL_", "SYNDIC_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that none can get lost. Linux only."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> list[int]:
    """Living child processes of this one. Remains of adopted ones are cleared away. Empty where there is no /proc."""
    found: list[int] = []
    for listed in Path("/proc/self/task").glob("*/children"):
        for pid in map(int, listed.read_text().split()):
            if identify(pid) is not None:
                found.append(pid)
            else:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
    return sorted(found)
