"""One part kept running: started until it answers, started again when it dies, stopped for good at the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agents.processes import Program
from workers.stack.addresses import PartRecord
from workers.stack.errors import PartFailedError, StackError
from workers.stack.parts import Part, Report
from workers.stack.processes import Command, ProcessId, end, identify, kill_group, launch, tail

ATTEMPTS: Final = 5
"""Starts in a row before it is given up: a killed Postgres's last backends need a moment to go."""
MOST_MOVES: Final = 5
"""How often its ports are exchanged; one that is taken after that is a start that failed."""
MOST_RESTARTS: Final = 8
"""Deaths in a row, each soon after the start, before the whole stack gives up."""
SOON_S: Final = 30
LONGEST_PAUSE_S: Final = 5.0
READY_POLL_S: Final = 0.05
PORT_TAKEN: Final = "address already in use"


class Child:
    """A running part. `changed` is called whenever its record has changed."""

    def __init__(self, part: Part, log: Path, report: Report, changed: Callable[[], None]) -> None:
        self.part = part
        self._log = log
        self._report = report
        self._changed = changed
        self._process: Program | None = None
        self._identity: ProcessId | None = None
        self._command: Command | None = None
        self._restarts = 0
        self._stopping = False
        self._launching = asyncio.Lock()

    @property
    def record(self) -> PartRecord:
        return PartRecord(
            source="started",
            process=self._identity,
            ports=self.part.ports,
            log=str(self._log),
            restarts=self._restarts,
        )

    async def start(self) -> None:
        """Start it for the first time; ports that were taken meanwhile are exchanged.

        Raises:
            PartFailedError: it keeps dying, or never answers.
        """
        await self.part.prepare()
        failures = moves = 0
        while (output := await self._try()) is not None:
            if PORT_TAKEN in output.lower() and moves < MOST_MOVES and self.part.move_ports():
                moves += 1
                await self.part.prepare()
                continue
            failures += 1
            if failures == ATTEMPTS:
                what = f"ended at once, {failures + moves} times"
                raise PartFailedError(self.part.name, what, self._log, output)
            await asyncio.sleep(_pause_s(failures))

    async def watch(self) -> None:
        """Return when it was stopped; until then start it again whenever it dies.

        Raises:
            PartFailedError: it dies soon after each start.
        """
        failures = 0
        while self._process is not None:
            started = asyncio.get_running_loop().time()
            code = await self._process.wait()
            if self._stopping:
                return
            failures = failures + 1 if asyncio.get_running_loop().time() - started < SOON_S else 1
            if failures > MOST_RESTARTS:
                raise PartFailedError(self.part.name, f"died {failures} times in a row", self._log, tail(self._log))
            self._report(f"{self.part.name} {_how(code)}; starting it again")
            await self._restart(failures)

    async def _restart(self, failures: int) -> None:
        await asyncio.sleep(_pause_s(failures))
        self._restarts += 1
        try:
            if not self._stopping and await self._try() is None and not self._stopping:
                self._report(f"{self.part.name} is back")
        except StackError as error:
            self._report(str(error))
            if self._identity is not None:
                await end(self._identity, signal.SIGKILL, 0)

    async def stop(self, *, at_once: bool = False) -> None:
        """End it and what it left in its process group."""
        self._stopping = True
        async with self._launching:
            pass  # a start that is under way becomes visible, no other follows
        if self._process is None or self._command is None:
            return
        if self._process.returncode is None and self._identity is not None:
            await end(self._identity, self._command.stop_signal, 0 if at_once else self._command.grace_s)
        await self._process.wait()
        kill_group(self._process.pid)
        self._identity = None

    async def _try(self) -> str | None:
        """Start it once: None when it answers, its output where it died before."""
        self.part.clear_stale()
        offset = self._log.stat().st_size if self._log.exists() else 0
        async with self._launching:
            if self._stopping:
                return None
            self._command = self.part.command()
            self._process = process = launch(self._command, self._log)
            self._identity = identify(process.pid)
        self._changed()
        dead = asyncio.create_task(process.wait())
        ready = asyncio.create_task(self._until_ready(self._command.ready_within_s))
        try:
            await asyncio.wait({dead, ready}, return_when=asyncio.FIRST_COMPLETED)
            if dead.done():
                return tail(self._log, offset) or _how(dead.result())
            await ready
        finally:
            for task in (dead, ready):
                task.cancel()
            await asyncio.gather(dead, ready, return_exceptions=True)
        return None

    async def _until_ready(self, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not await self.part.is_ready():
                    await asyncio.sleep(READY_POLL_S)
        except TimeoutError:
            what = f"does not answer after {within_s:.0f} s"
            raise PartFailedError(self.part.name, what, self._log, tail(self._log)) from None


def _pause_s(failures: int) -> float:
    return min(0.1 * 2 ** (failures - 1), LONGEST_PAUSE_S)


def _how(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
