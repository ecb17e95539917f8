"""A full disk is the machine's trouble, not the repository's and not the agent's: work stops there and goes on later."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable
from pathlib import Path

from agents.errors import DiskFullError

LEAST_ROOM_BYTES = 1_000_000
"""With less than this left, what failed may have failed for want of room."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_WORDS = ("No space left on device", "Disk quota exceeded", "Out of diskspace")


def is_full(error: OSError) -> bool:
    """Whether an error says that there was no room; `shutil` gathers several of them into one."""
    return error.errno in _FULL or says_full(str(error))


def says_full(text: str) -> bool:
    """Whether a program says so, in the C locale."""
    return any(words in text for words in _WORDS)


def has_room(folder: Path) -> bool:
    """Whether what failed there can have failed for another reason than want of room."""
    return not folder.exists() or shutil.disk_usage(folder).free >= LEAST_ROOM_BYTES


def check_room(folders: Iterable[Path]) -> None:
    """To be asked when something failed there.

    Raises:
        DiskFullError: Hardly any room is left, so that the failure means nothing.
    """
    for folder in folders:
        if not has_room(folder):
            raise DiskFullError(str(folder))
