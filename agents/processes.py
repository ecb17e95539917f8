"""Starting programs so that a cancellation in that very moment neither hangs nor leaves one behind."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from typing import Any


async def start(*argv: str, **options: Any) -> Process:
    """`asyncio.create_subprocess_exec`, which on Python 3.11 can hang for good when it is cancelled while it starts.

    The start is brought to its end; what was started for a caller that no longer wants it is killed.
    """
    creation = asyncio.ensure_future(asyncio.create_subprocess_exec(*argv, **options))
    try:
        return await asyncio.shield(creation)
    except asyncio.CancelledError:
        process = await creation
        if process.returncode is None:
            process.kill()
        await process.wait()
        raise
