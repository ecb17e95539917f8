"""Processes: telling one from another that got its number, starting with a leash, stopping for good."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from pydantic import BaseModel, ConfigDict

from agents.processes import Program, start

GUARD: Final = Path(__file__).with_name("_guard.py")
LOG_LIMIT_BYTES: Final = 10_000_000
POLL_S: Final = 0.02


class ProcessId(BaseModel):
    """A process for sure: numbers are used again, a number together with its start is not."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: str


@dataclass(frozen=True)
class Command:
    """How to start one program."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    stop_signal: signal.Signals = signal.SIGTERM
    """Asks it to end in good order."""
    death_signal: signal.Signals = signal.SIGTERM
    """What it gets when its supervisor is killed."""
    user: tuple[int, int] | None = None
    """Another user and group id to run as."""
    grace_s: float = 15
    """How long a good end may take before it is killed."""
    ready_within_s: float = 30
    cwd: Path = field(default=Path("/"))


def identify(pid: int) -> ProcessId | None:
    """The process with that number, None where there is none or only its remains (a zombie)."""
    started = _start_mark(pid)
    return ProcessId(pid=pid, started=started) if started else None


def is_alive(process: ProcessId) -> bool:
    return identify(process.pid) == process


def _start_mark(pid: int) -> str | None:
    if not sys.platform.startswith("linux"):
        asked = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        state, _, started = asked.stdout.strip().partition(" ")
        return None if not state or state.startswith("Z") else started.strip()
    try:
        # the name in parentheses may hold spaces; state is the first field after it, start time the twentieth
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else fields[19]


def launch(command: Command, log: Path) -> Program:
    """Start a program in a session of its own, on a leash, its output going to the log."""
    user = "-" if command.user is None else f"{command.user[0]}:{command.user[1]}"
    guard = (sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), str(int(command.death_signal)), user)
    with open_log(log) as output:
        return start(
            *guard,
            *command.argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(command.environment),
            cwd=command.cwd,
        )


def open_log(log: Path) -> IO[bytes]:
    """Append; what has grown past the limit is put aside once."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))
    return log.open("ab")


def tail(log: Path, since: int = 0, size: int = 4000) -> str:
    """The end of a log, at most `size` bytes and nothing before the offset `since`."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(min(since, end), end - size))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""


async def end(process: ProcessId, stop_signal: signal.Signals, grace_s: float) -> None:
    """Stop a process that need not be our child: ask, wait, then kill its whole process group."""
    if is_alive(process):
        _send(process.pid, stop_signal)
        await until(lambda: not is_alive(process), grace_s)
    if is_alive(process):
        _send_group(process.pid, signal.SIGKILL)
        _send(process.pid, signal.SIGKILL)
        await until(lambda: not is_alive(process), 5)


def kill_group(leader: int) -> None:
    """Kill what a program that has ended left in its process group."""
    _send_group(leader, signal.SIGKILL)


async def until(condition: Callable[[], bool], within_s: float) -> bool:
    """Wait for a condition that has no event to wait on; False when the time is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not condition():
        if loop.time() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _send_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return
