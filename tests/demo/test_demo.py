"""`syndic demo` as a newcomer without a terminal runs it: real processes, no key; and what it leaves behind: nothing."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SYNDIC = Path(sys.executable).with_name("syndic")
FIELDS = {
    "project_id", "state", "tasks_merged", "tasks_total", "approvals", "repairs", "model_calls", "cost_usd",
    "ledger_entries", "ledger_verified", "branch",
}  # fmt: skip


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A short folder for everything that is temporary, since sockets lie in it; it must be empty in the end."""
    folder = Path(f"/tmp/sd{os.getpid()}")
    folder.mkdir()
    yield folder
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def start(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [SYNDIC, "demo", *arguments],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def processes_in(folder: Path) -> list[str]:
    """Living processes that work in the folder or were started with a path of it."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = os.readlink(process / "cwd")
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in where or str(folder) in command:
            found.append(f"{process.name}: {command}")
    return found


def test_the_demo_shows_everything_and_leaves_nothing(temporary: Path) -> None:
    process = start(temporary)
    output, errors = process.communicate(timeout=220)
    assert process.returncode == 0, output[-4000:] + errors
    last = json.loads(output.splitlines()[-1])
    assert set(last) == FIELDS
    assert (last["state"], last["ledger_verified"], last["cost_usd"]) == ("done", True, 0)
    assert last["tasks_merged"] >= 3
    assert last["repairs"] >= 1
    assert "temporal workflow signal" in output
    assert "MISSING" not in output
    assert list(temporary.iterdir()) == []
    assert processes_in(temporary) == []


@pytest.mark.chaos
def test_ctrl_c_in_the_middle_leaves_nothing(temporary: Path) -> None:
    process = start(temporary)
    assert process.stdout is not None
    for line in process.stdout:
        if "Anybody can ask" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert list(temporary.iterdir()) == []
    assert processes_in(temporary) == []


@pytest.mark.chaos
def test_a_killed_demo_takes_its_servers_and_worker_along(temporary: Path) -> None:
    process = start(temporary)
    assert process.stdout is not None
    for line in process.stdout:
        if "Anybody can ask" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while processes_in(temporary) and time.monotonic() < deadline:
        select.select([], [], [], 0.1)
    assert processes_in(temporary) == []
