"""Programs of this worker: how they are started, given something, waited for and ended.

Not by the event loop's own means. uvloop starts a program by copying the whole process, twenty milliseconds for a worker of 400 MB
where `subprocess` takes one and a half; it closes a pipe that it was handed twice, by number, and the second time the number may
belong to a file that another thread has just opened (MagicStack/uvloop#763); and on Python 3.11 asyncio can hang for good when it
is cancelled while it starts a program.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from threading import Thread
from typing import IO, Any, cast

CHUNK = 65_536
"""Bytes that are read at once: what a pipe holds on Linux."""


class Pipe:
    """Our end of a pipe, for one reader or one writer. The event loop tells when it is ready and never owns it."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._number = pipe.fileno()
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] | None = None
        os.set_blocking(self._number, False)

    async def read(self, most: int = -1) -> bytes:
        """Up to `most` bytes, all to the end where it is negative; nothing at the end, or once it is closed."""
        if most >= 0:
            return await self._some(most)
        chunks: list[bytes] = []
        while chunk := await self._some(CHUNK):
            chunks.append(chunk)
        return b"".join(chunks)

    async def write(self, data: bytes) -> None:
        """All of `data`, as far as the other side takes it before one of both ends is closed."""
        left = memoryview(data)
        while left and not self._pipe.closed:
            try:
                left = left[os.write(self._number, left) :]
            except BlockingIOError:
                await self._wait(self._loop.add_writer, self._loop.remove_writer)
            except BrokenPipeError:
                return

    def close(self) -> None:
        """Whoever waits for it waits no more."""
        if self._pipe.closed:
            return
        if self._ready is not None:
            self._loop.remove_reader(self._number)
            self._loop.remove_writer(self._number)
            self._be_ready()
        self._pipe.close()

    async def _some(self, most: int) -> bytes:
        while not self._pipe.closed:
            try:
                chunk = os.read(self._number, most)
            except BlockingIOError:
                await self._wait(self._loop.add_reader, self._loop.remove_reader)
            else:
                await asyncio.sleep(0)  # a program that writes without a pause holds nobody else up
                return chunk
        return b""

    async def _wait(self, watch: Callable[..., object], forget: Callable[[int], object]) -> None:
        self._ready = self._loop.create_future()
        watch(self._number, self._be_ready)
        try:
            await self._ready
        finally:
            self._ready = None
            if not self._pipe.closed:  # else its number may be somebody else's
                forget(self._number)

    def _be_ready(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)


class Program:
    """A program in a session of its own, with the part of `asyncio.subprocess.Process` that is needed here."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self.stdin, self.stdout, self.stderr = (
            None if pipe is None else Pipe(pipe) for pipe in (popen.stdin, popen.stdout, popen.stderr)
        )
        Thread(target=self._reap, name=f"waits for {popen.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """None until its end is known here; a negative number is the signal that ended it."""
        return self._ended.result() if self._ended.done() else None

    async def feed(self, data: bytes) -> None:
        """Give it all of `data` on standard input, and the end of it. One that has ended, or does not read, gets no more.

        Its exit code tells whether that is an error.
        """
        if self.stdin is None:
            return
        try:
            await self.stdin.write(data)
        finally:
            self.stdin.close()

    async def communicate(self, data: bytes = b"") -> tuple[bytes, bytes]:
        """Feed it, take in what it writes on standard output and standard error, and wait for its end."""
        _, output, errors = await asyncio.gather(self.feed(data), _all_of(self.stdout), _all_of(self.stderr))
        await self.wait()
        self.close()
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
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()

    def _reap(self) -> None:
        code = self._popen.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self._loop.call_soon_threadsafe(self._ended.set_result, code)


async def _all_of(pipe: Pipe | None) -> bytes:
    return b"" if pipe is None else await pipe.read()


def start(*argv: str, **options: Any) -> Program:
    """`subprocess.Popen` in a session of its own.

    Args:
        argv: The program and its arguments.
        options: Those of `Popen`.

    Raises:
        FileNotFoundError: There is no such program or folder.
    """
    popen = subprocess.Popen(argv, bufsize=0, start_new_session=True, **options)
    return Program(cast("subprocess.Popen[bytes]", popen))
