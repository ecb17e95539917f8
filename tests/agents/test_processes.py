"""Programs on both event loops that Syndic runs on: the standard one and that of workers."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, cast

import pytest
import uvloop

from agents.processes import Program, start

PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
MORE_THAN_A_PIPE_HOLDS = b"x" * 1_000_000


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> asyncio.Runner:
    return asyncio.Runner(loop_factory=request.param)


def python(script: str) -> tuple[str, ...]:
    return sys.executable, "-I", "-S", "-c", script


def test_what_it_is_given_and_what_it_writes_arrive_whole(runner: asyncio.Runner) -> None:
    async def echo() -> tuple[bytes, bytes, int | None]:
        script = (
            "import sys; data = sys.stdin.buffer.read(); sys.stderr.write('read'); sys.stdout.buffer.write(data * 2)"
        )
        program = start(*python(script), **PIPES)
        output, errors = await program.communicate(MORE_THAN_A_PIPE_HOLDS)
        return output, errors, program.returncode

    with runner:
        assert runner.run(echo()) == (MORE_THAN_A_PIPE_HOLDS * 2, b"read", 0)


def test_one_that_does_not_read_gets_no_more(runner: asyncio.Runner) -> None:
    async def give() -> tuple[bytes, bytes, int | None]:
        program = start(*python("import os; os.close(0); print('done'); raise SystemExit(3)"), **PIPES)
        return *(await program.communicate(MORE_THAN_A_PIPE_HOLDS)), program.returncode

    with runner:
        assert runner.run(give()) == (b"done\n", b"", 3)


def test_one_that_has_ended_takes_nothing(runner: asyncio.Runner) -> None:
    async def give() -> bytes:
        program = start(*python("print('done')"), **PIPES)
        await program.wait()
        output, _ = await program.communicate(b"too late")
        return output

    with runner:
        assert runner.run(give()) == b"done\n"


def test_its_end_takes_what_it_has_started_with_it(runner: asyncio.Runner) -> None:
    script = (
        "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        "print(child.pid, flush=True); time.sleep(60)"
    )

    async def end() -> tuple[int, int | None]:
        program = start(*python(script), **PIPES)
        assert program.stdout is not None
        child = int(await program.stdout.read(100))
        assert program.returncode is None
        await program.end()
        await _gone(child)
        return program.pid, program.returncode

    with runner:
        pid, code = runner.run(end())
    assert code == -signal.SIGKILL
    assert not _lives(pid)


def test_a_pipe_that_an_escaped_program_holds_is_let_go(runner: asyncio.Runner) -> None:
    script = (
        "import subprocess, sys; print(subprocess.Popen("
        "[sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True).pid, flush=True)"
    )

    async def end() -> int:
        program = start(*python(script), **PIPES)
        assert program.stdout is not None
        escaped = int(await program.stdout.read(100))
        await program.end()
        assert await program.stdout.read() == b""
        return escaped

    with runner:
        os.kill(runner.run(end()), signal.SIGKILL)


def test_one_that_writes_without_a_pause_holds_nobody_up(runner: asyncio.Runner) -> None:
    async def read() -> bytes:
        program = start(*python("import os\nwhile True: os.write(1, bytes(65536))"), **PIPES)
        assert program.stdout is not None
        reading = asyncio.create_task(program.stdout.read())
        async with asyncio.timeout(20):
            for _ in range(100):
                await asyncio.sleep(0)
        await program.end()
        return await reading

    with runner:
        assert not runner.run(read()).strip(b"\0")


def test_a_pipe_is_closed_once(runner: asyncio.Runner) -> None:
    """Closed again by its number, it would take a file away from whoever has opened one meanwhile."""
    were_open: list[bool] = []

    class Watched(io.FileIO):
        def close(self) -> None:
            if not self.closed:
                were_open.append(Path(f"/proc/self/fd/{self.fileno()}").exists())
            super().close()

    def watched(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        with pipe:
            return cast("IO[bytes]", Watched(os.dup(pipe.fileno()), pipe.mode))

    popen = subprocess.Popen(python("print(input())"), bufsize=0, **PIPES)

    async def run() -> bytes:
        popen.stdin, popen.stdout, popen.stderr = map(watched, (popen.stdin, popen.stdout, popen.stderr))
        program = Program(popen)
        output, _ = await program.communicate(b"x")
        await program.end()
        return output

    with runner:
        assert runner.run(run()) == b"x\n"
    assert were_open == [True] * 3


def test_there_is_no_such_program(runner: asyncio.Runner) -> None:
    async def begin() -> None:
        start("no-such-program", **PIPES)

    with runner, pytest.raises(FileNotFoundError, match="no-such-program"):
        runner.run(begin())


@pytest.mark.parametrize("moment", range(4))
def test_a_caller_who_is_cancelled_while_it_starts_leaves_no_process(
    runner: asyncio.Runner, moment: int, tmp_path: Path
) -> None:
    marker = tmp_path / "pid"
    script = f"import os, time; open({str(marker)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    async def wanted() -> Program:
        program = start(*python(script), **PIPES)
        try:
            await program.wait()
        finally:
            await program.end()
        return program

    async def cancel() -> None:
        task = asyncio.create_task(wanted())
        for _ in range(moment):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=10)
        assert done
        assert task.cancelled()
        if marker.exists() and (text := marker.read_text()):
            await _gone(int(text))

    with runner:
        runner.run(cancel())


async def _gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while _lives(pid):
            await asyncio.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
