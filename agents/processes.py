"""Programs of this worker: how they are started, given something, waited for and ended.

Not by the event loop's own means. uvloop starts a program by copying the whole process, twenty milliseconds for a worker of 400 MB
where `subprocess` takes one and a half; and on Python 3.11 asyncio can hang for good when it is cancelled while it starts one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from threading import Thread
from typing import IO, Any, cast


class Program:
    """A program in a session of its own, with the part of `asyncio.subprocess.Process` that is needed here."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._pipes: list[asyncio.BaseTransport] = []
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        Thread(target=self._reap, name=f"waits for {popen.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """None until its end is known here; a negative number is the signal that ended it."""
        return self._ended.result() if self._ended.done() else None

    async def connect(self) -> None:
        """Take its pipes into the event loop."""
        if self._popen.stdin is not None:
            transport, protocol = await self._loop.connect_write_pipe(_Pipe, self._popen.stdin)
            self._pipes.append(transport)
            self.stdin = asyncio.StreamWriter(transport, protocol, None, self._loop)
        if self._popen.stdout is not None:
            self.stdout = await self._reader(self._popen.stdout)
        if self._popen.stderr is not None:
            self.stderr = await self._reader(self._popen.stderr)

    async def feed(self, data: bytes) -> None:
        """Give it all of `data` on standard input, and the end of it. One that has ended, or does not read, gets no more."""
        if self.stdin is None or self.stdin.is_closing():  # uvloop takes nothing for a closed pipe, not even to lose it
            return
        try:
            self.stdin.write(data)
            await self.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return  # its exit code tells whether that is an error
        finally:
            self.stdin.close()

    async def communicate(self, data: bytes = b"") -> tuple[bytes, bytes]:
        """Feed it, take in what it writes on standard output and standard error, and wait for its end."""
        _, output, errors = await asyncio.gather(self.feed(data), _all_of(self.stdout), _all_of(self.stderr))
        await self.wait()
        return output, errors

    async def wait(self) -> int:
        """The exit code."""
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        """The program only, not what it has started. Nothing where it has ended."""
        self._popen.kill()

    def kill_session(self) -> None:
        """The program and what it has started, as far as that has not left its session."""
        if self._popen.returncode is None:  # once it was reaped, its number may be somebody else's
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill what is left of it, wait for its end and close its pipes."""
        self.kill_session()
        await self.wait()
        self.close()

    def close(self) -> None:
        """Let go of its pipes, one that another program still holds among them."""
        for pipe in self._pipes:
            pipe.close()

    async def _reader(self, pipe: IO[bytes]) -> asyncio.StreamReader:
        transport, protocol = await self._loop.connect_read_pipe(_Pipe, pipe)
        self._pipes.append(transport)
        return protocol.reader

    def _reap(self) -> None:
        code = self._popen.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self._loop.call_soon_threadsafe(self._ended.set_result, code)


class _Pipe(asyncio.StreamReaderProtocol):
    """The protocol of streams, which also has the flow control that a writer needs."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        super().__init__(self.reader)

    def eof_received(self) -> bool:
        super().eof_received()
        return False  # else uvloop leaves the pipe open


async def _all_of(pipe: asyncio.StreamReader | None) -> bytes:
    return b"" if pipe is None else await pipe.read()


def _spawn(argv: tuple[str, ...], options: dict[str, Any]) -> subprocess.Popen[bytes]:
    return cast("subprocess.Popen[bytes]", subprocess.Popen(argv, bufsize=0, start_new_session=True, **options))


async def start(*argv: str, **options: Any) -> Program:
    """`subprocess.Popen` in a session of its own. A caller who is cancelled meanwhile leaves no program behind.

    Args:
        argv: The program and its arguments.
        options: Those of `Popen`; pipes are taken into the event loop.

    Raises:
        FileNotFoundError: There is no such program or folder.
    """
    program = Program(_spawn(argv, options))
    connecting = asyncio.ensure_future(program.connect())
    try:
        await asyncio.shield(connecting)
    except BaseException:
        await asyncio.wait([connecting])  # a pipe that is half in the loop of uvloop would be closed twice
        await program.end()
        raise
    return program
