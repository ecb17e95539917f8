"""What happens in the demo besides the team's own work: a decision is given, and the worker is killed in mid-flight."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agents.finishing import pause
from agents.processes import start
from ledger.rows import Entry
from workers.board import REFRESH_SECONDS, Snapshot, View, Watcher, answer_line
from workers.console import CommandError
from workers.database import open_store
from workers.demo.evidence import Journal, all_entries, model_steps
from workers.demo.machinery import Machinery
from workers.demo.proof import TASK_ROLES
from workers.inbox import inbox
from workers.session import Session
from workers.settings import plain_environment
from workflows.answering import Waiting
from workflows.reports import ProjectReport

if TYPE_CHECKING:
    from ledger.postgres import PostgresStore

PATIENCE_S = 20.0
"""How long a person on a terminal may think before the demo answers itself."""
BUSY = 2
LOOK_SECONDS = 0.1
GIVE_UP_S = 180.0


@dataclass
class Story:
    """Follows one project, answers what it asks and kills its worker once."""

    session: Session
    machinery: Machinery
    view: View
    project: str
    interactive: bool
    """Somebody may be there to answer."""
    answered: dict[str, str] = field(default_factory=dict[str, str])
    """Request id -> the command line that answered it."""
    before_kill: Journal = field(default_factory=Journal)
    """Model calls that were journaled when the worker was killed."""
    interrupted: frozenset[str] = frozenset()
    """Threads of the runs that the kill interrupted."""

    async def run(self, watcher: Watcher) -> ProjectReport:
        """Follow to the end.

        Raises:
            CommandError: The project ended without a report, or nothing moved for minutes.
        """
        async with open_store(self.session.addresses.database_url) as store:
            killing = asyncio.create_task(self._kill_when_busy(store), name="demo-kill")
            try:
                return await self._follow(watcher, killing)
            finally:
                killing.cancel()
                await asyncio.gather(killing, return_exceptions=True)

    async def _follow(self, watcher: Watcher, killing: asyncio.Task[None]) -> ProjectReport:
        deadline = asyncio.get_running_loop().time() + GIVE_UP_S
        while asyncio.get_running_loop().time() < deadline:
            snapshot = await watcher.snapshot()
            self.view.show(snapshot)
            if snapshot.report is not None:
                return snapshot.report
            await self._answer(snapshot)
            if killing.done():
                killing.result()
            await pause(REFRESH_SECONDS)
        raise CommandError(
            f"the project did not end within {GIVE_UP_S:.0f} s; the worker's log is {self.machinery.log}"
        )

    def narrate(self, text: str) -> None:
        """Say what the demo itself does."""
        self.view.say(f"== {text}", style="bold magenta")

    async def _answer(self, snapshot: Snapshot) -> None:
        for request in snapshot.requests:
            if request.id not in self.answered:
                self.answered[request.id] = answer_line(self.session, request)
                await self._decide(request, self.answered[request.id])

    async def _decide(self, request: Waiting, line: str) -> None:
        self.narrate(f"The team waits for a decision: {request.summary}")
        self.narrate(f"digest of what is shown: {request.digest}")
        self.narrate("This line answers it, and nothing else of ours is needed:")
        self.view.say(f"   {line}", style="green")
        if not self.interactive:
            self.narrate("Nobody is at the terminal, so the demo runs that very line.")
        elif not await self._wait_for_a_person(request):
            return
        await run_line(line)

    async def _wait_for_a_person(self, request: Waiting) -> bool:
        """Whether the demo has to send the answer itself."""
        self.narrate(f"Run it in another terminal, or press Enter; after {PATIENCE_S:.0f} s the demo runs it.")
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S), entered() as line:
                while not line.is_set():
                    await pause(REFRESH_SECONDS)
                    waiting = await inbox(self.session.client, self.project)
                    if request.id not in {other.id for other in waiting}:
                        self.narrate("Answered by somebody else.")
                        return False
        return True

    async def _kill_when_busy(self, store: PostgresStore) -> None:
        """SIGKILL the worker while two agents are in the middle of tasks; once more where one of them had just finished."""
        while not self.interrupted:
            await until_busy(store, self.project)
            pid = await self.machinery.kill_worker()
            working = at_work(await all_entries(store, self.project))
            self.before_kill = await model_steps(store, self.project)
            if len(working) >= BUSY:
                self.interrupted = working
            self.narrate(f"{len(working)} agents are at work: worker process {pid} was just killed with SIGKILL.")
            self.narrate(f"Model calls in the journal: {len(self.before_kill)}.")
            await self.machinery.start_worker(self.session.addresses)
            await self._compare(store)

    async def _compare(self, store: PostgresStore) -> None:
        now = await model_steps(store, self.project)
        same = sum(now.get(key) == step for key, step in self.before_kill.items())
        self.narrate(
            f"Worker process {self.machinery.worker_pid} has taken over: {same} of {len(self.before_kill)} calls stand unchanged,"
        )
        self.narrate("the runs go on from the journal and pay for none of them again.")


async def until_busy(store: PostgresStore, project: str) -> None:
    """Wait until two agents have each done a step of a task and not yet finished."""
    entries: list[Entry] = []
    while len(at_work(entries)) < BUSY:
        await pause(LOOK_SECONDS)
        entries += await store.entries(project, after=len(entries))


def at_work(entries: Sequence[Entry]) -> frozenset[str]:
    """Threads of engineers and analysts at tasks that have used a tool and not ended, as the ledger has it."""
    open_runs: dict[str, bool] = {}
    for entry in entries:
        thread = str(entry.body.get("thread"))
        if entry.kind == "run_started" and entry.body["role"] in TASK_ROLES and "/s0/" not in thread:
            open_runs[thread] = entry.body["served"] > 1
        elif entry.kind == "step_recorded" and entry.body["step"] == "tool" and thread in open_runs:
            open_runs[thread] = True
        elif entry.kind == "run_finished":
            open_runs.pop(thread, None)
    return frozenset(thread for thread, has_begun in open_runs.items() if has_begun)


@asynccontextmanager
async def entered() -> AsyncIterator[asyncio.Event]:
    """An event that is set when the person presses Enter."""
    pressed, loop = asyncio.Event(), asyncio.get_running_loop()

    def read() -> None:
        sys.stdin.readline()
        pressed.set()

    loop.add_reader(sys.stdin.fileno(), read)
    try:
        yield pressed
    finally:
        loop.remove_reader(sys.stdin.fileno())


async def run_line(line: str) -> None:
    """Run a printed command line as a shell would find it, with our own `temporal` first on the PATH.

    Raises:
        CommandError: It failed.
    """
    plain = plain_environment()
    path = f"{Path(sys.executable).parent}{os.pathsep}{plain.get('PATH', os.defpath)}"
    process = start(
        *("/bin/sh", "-c", line),
        env={**plain, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise CommandError(f"the command line failed: {output.decode(errors='replace').strip()}")
