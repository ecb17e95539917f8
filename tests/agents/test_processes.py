"""Starting programs under cancellation."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from agents.processes import start


async def test_a_start_cancelled_in_the_same_moment_ends_at_once_and_leaves_no_process(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    script = f"import os, time; open({str(marker)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    task = asyncio.create_task(start("python3", "-c", script))
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=10)
    assert done
    assert task.cancelled()
    async with asyncio.timeout(10):
        while marker.exists() and _lives(int(marker.read_text() or 0)):
            await asyncio.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return pid != 0
