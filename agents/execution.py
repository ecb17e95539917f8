"""One program, run to its end or to its limits, with nothing of it left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.processes import CHUNK, Pipe, Program, start

_WATCH_S = 0.2
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LIMITER = 'ulimit -c 0; ulimit -d "$1" 2>/dev/null; ulimit -f "$2" 2>/dev/null; shift 2; exec "$@"'


@dataclass(frozen=True)
class Limits:
    """What a program may use. Memory bounds each process and all of them together; `file_mb` bounds one file."""

    timeout_s: float = 60.0
    output_bytes: int = 200_000
    """Kept of each of stdout and stderr: the first and the last half."""
    memory_mb: int = 4096
    processes: int = 512
    file_mb: int = 2048


@dataclass(frozen=True)
class Completed:
    """How a program ended. `exit_code` is None when it was stopped for time, memory or number of processes."""

    exit_code: int | None
    stdout: str
    stderr: str
    timed_out: bool
    truncated: bool
    duration_s: float
    exceeded: str | None = None
    """`memory` or `processes` when it was stopped for that."""


Members = Callable[[int], Iterable[int]]
"""Process ids that belong to the program started as the given one."""


def limited(argv: Sequence[str], limits: Limits) -> list[str]:
    """`argv` behind a shell that sets resource limits and replaces itself; no word of `argv` is interpreted."""
    data_kib, file_blocks = limits.memory_mb * 1024, limits.file_mb * 2048
    return ["/bin/sh", "-c", _LIMITER, "sh", str(data_kib), str(file_blocks), *argv]


async def execute(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], limits: Limits, members: Members,
    pass_fds: Sequence[int] = (),
) -> Completed:  # fmt: skip
    """Run a program in a session of its own; when this coroutine is cancelled, the program is killed first.

    Raises:
        FileNotFoundError: There is no such program or folder.
    """
    started = time.monotonic()
    process = start(
        *argv, cwd=cwd, env=dict(env), pass_fds=tuple(pass_fds),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    captures = (_Capture(limits.output_bytes), _Capture(limits.output_bytes))
    reading = [
        asyncio.create_task(capture.drain(pipe))
        for capture, pipe in zip(captures, (process.stdout, process.stderr), strict=True)
    ]
    watching = asyncio.create_task(_watch(process.pid, limits, members))
    timed_out = False
    try:
        async with asyncio.timeout(limits.timeout_s):
            ending = asyncio.create_task(process.wait())
            await asyncio.wait({ending, watching}, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        timed_out = True
    finally:
        exceeded = watching.result() if watching.done() and not watching.cancelled() else None
        watching.cancel()
        await asyncio.shield(_end(process, reading, members))
    stopped = timed_out or exceeded is not None
    return Completed(
        exit_code=None if stopped else process.returncode,
        stdout=captures[0].text(),
        stderr=captures[1].text(),
        timed_out=timed_out,
        truncated=any(capture.dropped for capture in captures),
        duration_s=time.monotonic() - started,
        exceeded=exceeded,
    )


async def _end(process: Program, reading: list[asyncio.Task[None]], members: Members) -> None:
    """Kill whatever is left of the program and take in what it had written."""
    for pid in members(process.pid):
        _kill(pid)
    process.kill_session()
    await process.wait()
    _, late = await asyncio.wait(reading, timeout=2)
    for task in late:
        task.cancel()  # a process that escaped holds the pipe; its output is not waited for
    await asyncio.gather(*reading, return_exceptions=True)
    process.close()


async def _watch(pid: int, limits: Limits, members: Members) -> str:
    """Return once the program has too many processes or too much memory; `RLIMIT_NPROC` does not bind a real root."""
    while True:
        await asyncio.sleep(_WATCH_S)
        pids = list(members(pid))
        if len(pids) > limits.processes:
            return "processes"
        if sum(map(_resident_bytes, pids)) > limits.memory_mb * 2**20:
            return "memory"


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def all_pids() -> list[int]:
    """Every process id of this machine; empty where there is no /proc."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


class _Capture:
    """The first and the last bytes of a stream."""

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._head = bytearray()
        self._tail = bytearray()
        self.dropped = 0

    async def drain(self, pipe: Pipe) -> None:
        while chunk := await pipe.read(CHUNK):
            room = self._half - len(self._head)
            self._head += chunk[:room]
            self._tail += chunk[room:]
            if (surplus := len(self._tail) - self._half) > 0:
                del self._tail[:surplus]
                self.dropped += surplus

    def text(self) -> str:
        head, tail = (bytes(part).decode("utf-8", "replace") for part in (self._head, self._tail))
        if not self.dropped:
            return (bytes(self._head) + bytes(self._tail)).decode("utf-8", "replace")
        return f"{head}\n[{self.dropped} bytes left out]\n{tail}"
