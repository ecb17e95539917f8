"""Where programs of the target run: confined, or not at all unless the person insists."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from agents.bubblewrap import Bubblewrap, base_variables, interpreter_paths, registry_variables
from agents.disk import check_room
from agents.errors import SandboxMissingError
from agents.execution import Completed, Limits, all_pids, execute, limited

__all__ = [
    "Bubblewrap",
    "Completed",
    "Limits",
    "Refusing",
    "Sandbox",
    "Unconfined",
    "find_sandbox",
    "interpreter_paths",
]


class Sandbox(Protocol):
    """Runs a program of the target repository."""

    @property
    def name(self) -> str:
        """What reports show."""
        ...

    async def run(
        self, argv: Sequence[str], *, cwd: Path, writable: Sequence[Path] = (), readable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None, network: bool = False, limits: Limits | None = None,
    ) -> Completed:  # fmt: skip
        """Run `argv` without a shell.

        Args:
            argv: Program and arguments. A program named by its absolute path is visible, with the environment it lies in.
            cwd: Working directory, visible read-only unless it lies in `writable`.
            writable: Folders it may change.
            readable: Files and folders it may see besides the toolchain: /usr and the Python installation of our own.
            env: Additions to an otherwise fixed environment.
            network: Reach package registries by HTTP, with the person's settings for them; for setting up an environment
                only. Servers of this machine stay out of reach.
            limits: Time, output, memory, processes.

        Raises:
            SandboxMissingError: Programs cannot be confined here.
            DiskFullError: It failed, and there is no room left where it may write.
        """
        ...


class Unconfined:
    """Runs programs with the person's own rights; only for `SYNDIC_UNSAFE_COMMANDS=1`. Environment and limits are the same."""

    name = "none (SYNDIC_UNSAFE_COMMANDS=1)"

    async def run(
        self, argv: Sequence[str], *, cwd: Path, writable: Sequence[Path] = (), readable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None, network: bool = False, limits: Limits | None = None,
    ) -> Completed:  # fmt: skip
        """See `Sandbox.run`; paths and network are not restricted."""
        limits = limits or Limits()
        with tempfile.TemporaryDirectory(prefix="syndic-home-", ignore_cleanup_errors=True) as home:
            variables = base_variables(home, home) | (registry_variables() if network else {}) | dict(env or {})
            done = await execute(limited(argv, limits), cwd=cwd, env=variables, limits=limits, members=_session_members)
        if done.exit_code != 0:
            check_room(writable)
        return done


class Refusing:
    """Runs nothing and says why."""

    name = "none"

    def __init__(self, reason: str) -> None:
        self.reason = reason

    async def run(
        self, argv: Sequence[str], *, cwd: Path, writable: Sequence[Path] = (), readable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None, network: bool = False, limits: Limits | None = None,
    ) -> Completed:  # fmt: skip
        """Raise SandboxMissingError."""
        raise SandboxMissingError(self.reason)


async def find_sandbox(unsafe: bool = False, *, executable: str = "bwrap") -> Sandbox:
    """The best sandbox of this machine: bubblewrap where it works; else none that runs anything, unless `unsafe`.

    That bubblewrap is installed does not mean that it works: containers often forbid user namespaces, so it is tried.
    """
    reason = await _why_not(executable)
    if reason is None:
        return Bubblewrap(executable)
    return Unconfined() if unsafe else Refusing(reason)


async def _why_not(executable: str) -> str | None:
    if shutil.which(executable) is None:
        return "bubblewrap (`bwrap`) is not installed"
    tried = await Bubblewrap(executable).run(["true"], cwd=Path("/usr"), limits=Limits(timeout_s=10))
    if tried.exit_code == 0:
        return None
    return f"bubblewrap does not work here: {tried.stderr.strip()[-300:] or 'it did not end in 10 s'}"


def _session_members(leader: int) -> Iterable[int]:
    return [pid for pid in all_pids() if _session(pid) == leader]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
