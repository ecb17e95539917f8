"""One git command, on both event loops that Syndic runs on: the standard one and that of workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from agents import git_command
from agents.git_command import git
from agents.processes import Program, start

NewLoop = Callable[[], asyncio.AbstractEventLoop]
both_loops = pytest.mark.parametrize(
    "new_event_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
MORE_THAN_A_PIPE_HOLDS = b"x" * 1_000_000


@both_loops
@pytest.mark.parametrize("given", [b"", b"a line\n", MORE_THAN_A_PIPE_HOLDS], ids=["nothing", "little", "much"])
def test_a_command_that_has_ended_before_it_is_given_anything(
    tmp_path: Path, new_event_loop: NewLoop, given: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_and_let_it_end(*argv: str, **options: Any) -> Program:
        program = start(*argv, **options)
        with contextlib.suppress(ChildProcessError):  # it was waited for already
            os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        return program

    monkeypatch.setattr(git_command, "start", start_and_let_it_end)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(git(tmp_path, "version", stdin=given)).text.startswith("git version")


@both_loops
def test_a_command_reads_all_that_it_is_given(tmp_path: Path, new_event_loop: NewLoop) -> None:
    async def size() -> str:
        await git(tmp_path, "init", "--bare", "--quiet")
        name = (await git(tmp_path, "hash-object", "-w", "--stdin", stdin=MORE_THAN_A_PIPE_HOLDS)).text.strip()
        return (await git(tmp_path, "cat-file", "-s", name)).text

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert int(runner.run(size())) == len(MORE_THAN_A_PIPE_HOLDS)
