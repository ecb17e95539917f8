"""Starting programs so that a cancellation in that very moment neither hangs nor leaves one behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from typing import Any


async def start(*argv: str, **options: Any) -> Process:
    """`asyncio.create_subprocess_exec` in a session of its own.

    On Python 3.11 it can hang for good when it is cancelled while it starts, so the start is brought to its end, and what was
    started for a caller that no longer wants it is killed with everything that it has started so far.
    """
    creation = asyncio.ensure_future(asyncio.create_subprocess_exec(*argv, start_new_session=True, **options))
    try:
        return await asyncio.shield(creation)
    except asyncio.CancelledError:
        process = await creation
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
