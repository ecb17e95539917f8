"""The activities that a worker process has begun, on a list that outlives it, and the lists of processes that are gone.

Each process holds an advisory lock on its list for as long as it lives. The kernel drops the lock when the last thread of the
process has ended, however that came about, and keeps it for one that is stopped or stuck: whoever gets the lock knows what a
missing heartbeat only suggests. The lock says something about processes under the same kernel alone (containers of one machine
included), so that lists carry the kernel's boot id, and those of other machines that share the folder are left alone. Should a
network file system forget a lock, then a living process is taken for dead, and loses its leases as after late heartbeats.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

FOLDER: Final = "workers"
SUFFIX: Final = ".begun"
DRAFT: Final = ".draft"
SLOT: Final = 4096
"""Bytes for one activity: a page, which is written as a whole or not at all."""
LINGER_S: Final = 1.0
"""The server hears of an activity's end a moment after it; until then the activity is unfinished."""
KEPT: Final = timedelta(days=7)
"""Lists of earlier boots, and of other machines, that nobody has written to for so long."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

log = structlog.get_logger(__name__)


class Begun(BaseModel):
    """One attempt of an activity. The server's token for it names the attempt too, so that it can hit no later one."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    workflow: str
    run: str
    activity: str
    attempt: int
    token: bytes


class Unfinished(Interceptor):
    """Writes down each activity of this process while it runs."""

    def __init__(self, descriptor: int | None) -> None:
        """`descriptor` is the list, or None where none can be kept: then missing heartbeats tell, as they always do."""
        self._list = descriptor
        self._free: list[int] = []
        self._slots = 0

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Noting(next, self)

    def begin(self, begun: Begun) -> int | None:
        """Note an attempt; returns its place on the list."""
        line = begun.model_dump_json().encode() + b"\n"
        if self._list is None or len(line) > SLOT:
            return None
        if not self._free:
            self._free.append(self._slots)
            self._slots += 1
        place = self._free.pop()
        return place if self._write(place, line) else None

    def end(self, place: int) -> None:
        """Strike it off again."""
        self._write(place, b"\n")
        self._free.append(place)

    def close(self) -> None:
        """Let go of the list; what is struck off later needs no striking."""
        if self._list is not None:
            os.close(self._list)
            self._list = None

    def _write(self, place: int, line: bytes) -> bool:
        if self._list is None:
            return False
        try:
            os.pwrite(self._list, line, place * SLOT)
        except OSError as error:  # a full disk: the list is a help, and no reason to stop
            log.warning("activity_not_noted", error=str(error))
            return False
        return True


class _Noting(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, unfinished: Unfinished) -> None:
        super().__init__(next)
        self._unfinished = unfinished

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        begun = Begun(
            workflow=info.workflow_id or "", run=info.workflow_run_id or "", activity=info.activity_type,
            attempt=info.attempt, token=info.task_token,
        )  # fmt: skip
        place = self._unfinished.begin(begun)
        try:
            return await super().execute_activity(input)
        finally:
            if place is not None:
                asyncio.get_running_loop().call_later(LINGER_S, self._unfinished.end, place)


@contextmanager
def noting(state_dir: Path) -> Iterator[Unfinished]:
    """This process's list, for as long as the block runs; only a process that does not come to its end leaves one behind."""
    path = _path(state_dir)
    descriptor = _create(path) if path else None
    unfinished = Unfinished(descriptor)
    try:
        yield unfinished
    finally:
        unfinished.close()
        if path and descriptor is not None:
            path.unlink(missing_ok=True)


@contextmanager
def left_behind(path: Path) -> Iterator[list[Begun]]:
    """What is on a list, for nobody else meanwhile; nothing where its process lives. The list is gone after the block.

    Raises:
        OSError: The file cannot be read or locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield []
            return
        yield _parsed(file.read())
        path.unlink(missing_ok=True)


def lists_of_this_boot(state_dir: Path) -> list[Path]:
    """Lists of processes that run, or ran, under this kernel. Others that are old go."""
    boot = _boot_id()
    here: list[Path] = []
    for path in sorted((state_dir / FOLDER).glob(f"*{SUFFIX}*")):
        if boot and path.suffix == SUFFIX and path.name.startswith(boot):
            here.append(path)
        else:
            _clear(path)
    return here


def _clear(path: Path) -> None:
    with suppress(OSError):  # another worker may do the same
        if path.stat().st_mtime < time.time() - KEPT.total_seconds():
            path.unlink()


def _parsed(content: bytes) -> list[Begun]:
    found: list[Begun] = []
    for start in range(0, len(content), SLOT):
        line = content[start : start + SLOT].partition(b"\n")[0].strip(b"\0")
        try:
            found += [Begun.model_validate_json(line)] if line else []
        except ValidationError as error:
            log.warning("note_unreadable", errors=error.error_count())
    return found


def _create(path: Path) -> int | None:
    """The list, locked before anybody else can find it under its name."""
    draft = path.with_suffix(SUFFIX + DRAFT)
    descriptor = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not inherited by programs that are started (PEP 446): one that lives on must hold no lock for its parent.
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.rename(path)
    except OSError as error:
        log.warning("activities_not_noted", folder=str(path.parent), error=str(error))
        if descriptor is not None:
            os.close(descriptor)
        return None
    return descriptor


def _path(state_dir: Path) -> Path | None:
    boot = _boot_id()
    return state_dir / FOLDER / f"{boot}-{os.getpid()}-{token_hex(4)}{SUFFIX}" if boot else None


def _boot_id() -> str | None:
    """None where the kernel has none (macOS): nothing is noted there, and nothing found."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip() or None
    except OSError:
        return None
