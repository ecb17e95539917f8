"""Programs run confined, in a copy, within their limits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agents.errors import SandboxMissingError
from agents.sandbox import Refusing
from agents.tools.programs import TOOLS

(RUN,) = TOOLS


async def test_a_program_runs_in_the_targets_environment_with_its_modules(make_context: Any, use: Any, fill: Any):
    fill({"src/thing.py": "NAME = 'thing'\n", "data.txt": "1"})
    code = "import thing, sys; print(thing.NAME, open('data.txt').read(), sys.prefix)"
    result, content = await use(RUN, make_context(source_roots=("src",)), argv=["python", "-c", code])
    assert result.ok
    assert content["exit_code"] == 0
    assert content["stdout"].split()[:2] == ["thing", "1"]


async def test_what_a_program_writes_never_reaches_the_worktree(tree: Path, make_context: Any, use: Any, fill: Any):
    fill({"a.txt": "old", "s/b.txt": "old"})
    (tree / "link").symlink_to("a.txt")
    code = (
        "import shutil; open('a.txt','a').write('new'); open('link','a').write('x'); shutil.rmtree('s'); open('c','w')"
    )
    _, content = await use(RUN, make_context(), argv=["python", "-c", code])
    assert content["exit_code"] == 0, content
    assert (tree / "a.txt").read_text() == "old"
    assert (tree / "s/b.txt").exists()
    assert not (tree / "c").exists()
    assert list(make_context().scratch.iterdir()) == []


async def test_other_programs_shells_and_paths_are_refused(make_context: Any, use: Any):
    for argv in (["bash", "-c", "true"], ["/usr/bin/python"], ["../python"]):
        result, content = await use(RUN, make_context(), argv=argv)
        assert not result.ok
        assert "allowed are" in content["hint"]


async def test_nothing_is_a_shell(make_context: Any, use: Any):
    _, content = await use(
        RUN, make_context(), argv=["python", "-c", "import sys; print(sys.argv[1:])", "$(id)", "; id"]
    )
    assert content["stdout"].strip() == "['$(id)', '; id']"


async def test_time_and_output_are_bounded(make_context: Any, use: Any):
    code = "print('x' * 500_000, 'the end', flush=True)\nwhile True: pass"
    _, content = await use(RUN, make_context(), argv=["python", "-c", code], timeout_s=2)
    assert content["timed_out"]
    assert content["exit_code"] is None
    assert content["truncated"]
    assert content["stdout"].rstrip().endswith("the end")


async def test_output_full_of_escapes_still_fits(make_context: Any, use: Any):
    code = "import sys; print('\\x00\\x01' * 50_000); print('\"' * 50_000, file=sys.stderr)"
    _, content = await use(RUN, make_context(), argv=["python", "-c", code])
    assert content["truncated"]


async def test_state_sockets_and_network_are_absent(make_context: Any, use: Any):
    code = (
        "import os, socket; print(os.path.exists('/root/.bashrc'), sorted(os.environ))\n"
        "socket.create_connection(('1.1.1.1', 53), 2)"
    )
    _, content = await use(RUN, make_context(), argv=["python", "-c", code])
    assert content["stdout"].startswith("False")
    assert not any(word in content["stdout"] for word in ("KEY", "TOKEN", "SYNDIC"))
    assert "unreachable" in content["stderr"]


async def test_a_program_that_is_not_installed_is_an_answer(make_context: Any, use: Any):
    result, _ = await use(RUN, make_context(programs=frozenset({"nosuch"})), argv=["nosuch"])
    assert not result.ok


async def test_cancelling_ends_the_program_and_removes_the_copy(make_context: Any, use: Any, fill: Any):
    fill({"a.txt": "x"})
    context = make_context()
    running = asyncio.create_task(use(RUN, context, argv=["python", "-c", "while True: pass"]))
    async with asyncio.timeout(10):
        while not (context.scratch.is_dir() and any(context.scratch.iterdir())):
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert list(context.scratch.iterdir()) == []


async def test_without_a_sandbox_nothing_runs(make_context: Any, use: Any):
    with pytest.raises(SandboxMissingError):
        await use(RUN, make_context(sandbox=Refusing("there is none")), argv=["python", "-V"])
