"""One part kept running, with a shell script for a server."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from workers.settings import plain_environment
from workers.stack import child as supervised
from workers.stack.child import Child
from workers.stack.errors import PartFailedError
from workers.stack.processes import Command


class Script:
    """A part that runs `sh -c`, and is ready when its file exists."""

    name = "script"

    def __init__(self, folder: Path, text: str) -> None:
        self._sign = folder / "ready"
        self._text = text
        self.moved = 0

    @property
    def ports(self) -> dict[str, int]:
        return {"main": self.moved}

    async def prepare(self) -> None:
        self._sign.unlink(missing_ok=True)

    def clear_stale(self) -> None: ...

    def command(self) -> Command:
        environment = {**plain_environment(), "SIGN": str(self._sign), "MOVED": str(self.moved)}
        return Command(("/bin/sh", "-c", self._text), environment, grace_s=0.2, ready_within_s=20)

    async def is_ready(self) -> bool:
        return self._sign.exists()

    def move_ports(self) -> bool:
        self.moved += 1
        return True


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "LONGEST_PAUSE_S", 0.01)


def made(folder: Path, text: str, said: list[str]) -> tuple[Child, Script]:
    part = Script(folder, text)
    return Child(part, folder / "log", said.append, lambda: None), part


async def test_a_part_that_never_starts_is_given_up_with_the_end_of_its_log(tmp_path: Path) -> None:
    child, _ = made(tmp_path, "echo the reason >&2; exit 3", [])
    with pytest.raises(PartFailedError, match=r"script ended at once, 5 times[\s\S]*the reason"):
        await child.start()


async def test_a_port_taken_meanwhile_is_exchanged(tmp_path: Path) -> None:
    text = '[ $MOVED = 2 ] || { echo "bind: Address already in use"; exit 1; }; touch "$SIGN"; exec sleep 60'
    child, part = made(tmp_path, text, [])
    await child.start()
    assert part.moved == 2
    await child.stop()


async def test_a_port_taken_at_the_last_attempt_is_exchanged_too(tmp_path: Path) -> None:
    text = """
    echo >> "$SIGN.tries"
    [ $(wc -l < "$SIGN.tries") -ge 5 ] || { echo "a lock is still held"; exit 1; }
    [ $MOVED = 1 ] || { echo "bind: Address already in use"; exit 1; }
    touch "$SIGN"; exec sleep 60
    """
    child, part = made(tmp_path, text, [])
    await child.start()
    assert part.moved == 1
    await child.stop()


async def test_a_part_that_finds_every_port_taken_is_given_up(tmp_path: Path) -> None:
    child, part = made(tmp_path, 'echo "bind: Address already in use"; exit 1', [])
    with pytest.raises(PartFailedError, match="Its port was taken"):
        await child.start()
    assert part.moved == supervised.MOST_MOVES


async def test_a_part_that_dies_soon_after_each_start_is_given_up(tmp_path: Path) -> None:
    said: list[str] = []
    child, _ = made(tmp_path, 'touch "$SIGN"; sleep 0.05; exit 7', said)
    await child.start()
    with pytest.raises(PartFailedError, match="died 9 times in a row"):
        await child.watch()
    assert "script ended with status 7; starting it again" in said


async def test_a_part_that_ignores_its_signal_is_killed_with_its_children(tmp_path: Path) -> None:
    text = 'trap "" TERM; sleep 600 & echo $! > "$SIGN.child"; touch "$SIGN"; wait'
    child, _ = made(tmp_path, text, [])
    await child.start()
    watching = asyncio.create_task(child.watch())
    grandchild = int((tmp_path / "ready.child").read_text())
    os.kill(grandchild, 0)
    await child.stop()
    await watching
    assert child.record.process is None
    async with asyncio.timeout(10):
        while _runs(grandchild):
            await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def test_a_stop_during_a_restart_leaves_nothing(tmp_path: Path) -> None:
    child, _ = made(tmp_path, 'touch "$SIGN"; exec sleep 600', [])
    await child.start()
    watching = asyncio.create_task(child.watch())
    process = child.record.process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    await child.stop()
    await asyncio.wait_for(watching, 10)
    assert child.record.process is None
