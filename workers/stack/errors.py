"""What can go wrong with the embedded stack. Each text names the remedy."""

from __future__ import annotations

import errno
from pathlib import Path

from workers.errors import WorkersError

HINTS = {
    "No space left on device": "The disk is full: free space, or choose another folder with SYNDIC_STATE_DIR.",
    "Address already in use": "Its port was taken by another program meanwhile; run `syndic up` again.",
    "Permission denied": "This user may not write there: correct the owner, or choose another SYNDIC_STATE_DIR.",
    "Read-only file system": "The folder is read-only: choose another one with SYNDIC_STATE_DIR.",
    "password authentication failed": "credentials.json is not the one that its data was made with: restore it.",
    "Cannot allocate memory": "The machine is out of memory.",
}
"""Piece of a server's log -> what a person can do about it."""


class StackError(WorkersError):
    """The embedded stack cannot run."""


class StackHeldError(StackError):
    """Another `syndic up` runs on this state folder."""


class NotRunningError(StackError):
    """No stack runs."""


class PartFailedError(StackError):
    """A server of the stack ended or never answered."""

    def __init__(self, part: str, what: str, log: Path, tail: str) -> None:
        hint = next((hint for text, hint in HINTS.items() if text in tail), f"Its log is {log}.")
        last = "\n".join(f"  | {line}" for line in tail.splitlines()[-5:])
        super().__init__(f"{part} {what}. {hint}\n{last}".rstrip())


def state_error(path: Path, error: OSError) -> StackError:
    """The same error in words that help, for whatever the file system refused under the state folder."""
    reasons = {
        errno.ENOSPC: "the disk is full; free space, or set SYNDIC_STATE_DIR to a folder on another disk",
        errno.EDQUOT: "the disk quota is used up; free space, or set SYNDIC_STATE_DIR to a folder on another disk",
        errno.EACCES: "no permission; correct the folder's owner, or set SYNDIC_STATE_DIR to a folder of your own",
        errno.EPERM: "no permission; correct the folder's owner, or set SYNDIC_STATE_DIR to a folder of your own",
        errno.EROFS: "the file system is read-only; set SYNDIC_STATE_DIR to a folder that can be written",
        errno.ENOTDIR: "a file is in the way; set SYNDIC_STATE_DIR to a folder",
        errno.EEXIST: "a file is in the way; set SYNDIC_STATE_DIR to a folder",
    }
    reason = reasons.get(error.errno or 0, error.strerror or str(error))
    return StackError(f"the state folder cannot be used: {error.filename or path}: {reason}")
