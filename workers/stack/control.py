"""Running, detaching and stopping a stack from the command line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from workers.settings import Settings, inherited_environment
from workers.stack.addresses import Addresses, read_record
from workers.stack.errors import StackError
from workers.stack.processes import ProcessId, end, is_alive, open_log, tail, until
from workers.stack.state import prepare_state_dir, read_holder
from workers.stack.supervisor import STOP_ORDER, Stack

STOP_WITHIN_S: Final = 60
"""The worker's grace, then seconds for each server."""


async def run_until_stopped(stack: Stack, on_ready: Callable[[Addresses], None]) -> None:
    """Keep a stack up until SIGINT, SIGTERM or SIGHUP; a second signal kills what does not end in time.

    Raises:
        StackError: it could not start, or a part died too often.
    """
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            stack.hurry()
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    signalled = asyncio.create_task(stopping.wait())
    started = asyncio.create_task(stack.start())
    await asyncio.wait({signalled, started}, return_when=asyncio.FIRST_COMPLETED)
    if not started.done():
        started.cancel()
        await asyncio.gather(started, return_exceptions=True)
        return
    try:
        on_ready(await started)
        watching = asyncio.create_task(stack.watch())
        await asyncio.wait({signalled, watching}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            await watching
    finally:
        signalled.cancel()
        await stack.stop()


async def detach(settings: Settings, options: Sequence[str]) -> str:
    """Start a supervisor that outlives this process; returns its line of JSON when the stack is ready.

    Raises:
        StackError: it ended before; the text is what it said.
    """
    prepare_state_dir(settings.state_dir)
    log = settings.state_dir / "logs" / "up.log"
    offset = log.stat().st_size if log.exists() else 0
    with open_log(log) as errors:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "workers._entry", "up", "--json", *options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**inherited_environment(), "PYTHONSAFEPATH": "1"},
            cwd=settings.state_dir,
            start_new_session=True,
        )
    assert started.stdout is not None
    line = await started.stdout.readline()
    if line.startswith(b"{"):
        return line.decode().strip()
    await started.wait()
    said = tail(log, offset).removeprefix("error: ")
    raise StackError(said or f"the supervisor ended with status {started.returncode}; its log is {log}")


async def take_down(state_dir: Path) -> list[str]:
    """Stop the stack on a state folder and wait until every process of it has gone; returns what was stopped.

    Raises:
        StackError: something is still there after a minute.
    """
    record, holder = read_record(state_dir), read_holder(state_dir)
    stopped: list[str] = []
    if holder is not None:
        stopped.append("supervisor")
        await _ask(holder.process)
        if is_alive(holder.process):
            raise StackError(f"process {holder.process.pid} does not end; see {state_dir / 'logs'}")
    for name in STOP_ORDER:
        part = record.parts.get(name) if record else None
        if part is None or part.process is None:
            continue
        if holder is None and is_alive(part.process):
            stopped.append(name)
        await end(part.process, signal.SIGINT if name == "postgres" else signal.SIGTERM, 10)
    return stopped


async def _ask(process: ProcessId) -> None:
    os.kill(process.pid, signal.SIGTERM)
    if not await until(lambda: not is_alive(process), STOP_WITHIN_S):
        os.kill(process.pid, signal.SIGTERM)  # the second one means: at once
        await until(lambda: not is_alive(process), 15)
