"""The state folder: that it can be written, and that one supervisor holds it."""

from __future__ import annotations

import fcntl
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError

from workers.stack.addresses import Addresses, read_record
from workers.stack.errors import StackError, StackHeldError, state_error
from workers.stack.processes import ProcessId, is_alive

LOCK_NAME: Final = "stack.lock"
LEAST_FREE_BYTES: Final = 200_000_000
"""A new Postgres cluster takes 45 MB, its write-ahead log 16 MB more, Temporal's history the rest."""


class Holder(BaseModel):
    """Who holds the lock; the content of the lock file."""

    process: ProcessId
    since: datetime


class StateLock:
    """An advisory lock that the kernel drops with its holder, however that one ends."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._path = state_dir / LOCK_NAME
        self._descriptor: int | None = None

    def acquire(self, process: ProcessId) -> None:
        """Take the lock for this process.

        Raises:
            StackHeldError: names who holds it, since when and at which addresses.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StackHeldError(self._held_text()) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, Holder(process=process, since=datetime.now(UTC)).model_dump_json().encode())
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def _held_text(self) -> str:
        holder, record = read_holder(self._state_dir), read_record(self._state_dir)
        who = f"process {holder.process.pid} since {holder.since:%Y-%m-%d %H:%M:%S} UTC" if holder else "a process"
        addresses = record.addresses if record else None
        return (
            f"the stack on {self._state_dir} is already up: held by {who}{_at(addresses)}. "
            "Use it (`syndic env`), stop it (`syndic down`), or set SYNDIC_STATE_DIR to another folder."
        )


def read_holder(state_dir: Path) -> Holder | None:
    """The living process that holds the folder, ready or not."""
    try:
        holder = Holder.model_validate_json((state_dir / LOCK_NAME).read_bytes())
    except (OSError, ValidationError):
        return None
    return holder if is_alive(holder.process) else None


def _at(addresses: Addresses | None) -> str:
    if addresses is None:
        return ", still starting"
    return f", Temporal at {addresses.temporal}, Web UI at {addresses.web_ui}"


def prepare_state_dir(state_dir: Path) -> None:
    """Create the folder for its owner alone, and see that it can be written and has room.

    Raises:
        StackError: says what is in the way.
    """
    probe = state_dir / f".probe.{os.getpid()}"
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.write_bytes(b"probe")
        probe.unlink()
        (state_dir / "logs").mkdir(mode=0o700, exist_ok=True)
        free = shutil.disk_usage(state_dir).free
    except OSError as error:
        raise state_error(state_dir, error) from error
    if free < LEAST_FREE_BYTES:
        raise StackError(
            f"the disk is full: {state_dir} has {free // 1_000_000} MB free, the stack needs "
            f"{LEAST_FREE_BYTES // 1_000_000} MB. Free space, or set SYNDIC_STATE_DIR to a folder on another disk."
        )
