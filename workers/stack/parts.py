"""What the supervisor asks of each part of the stack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from workers.stack.processes import Command


class Part(Protocol):
    """A program that the supervisor keeps running."""

    name: str

    @property
    def ports(self) -> dict[str, int]:
        """The ports it listens on, by what for; they are remembered across restarts."""
        ...

    async def prepare(self) -> None:
        """Make what must exist before the first start (a cluster, a configuration file). Safe to run again."""
        ...

    def clear_stale(self) -> None:
        """Remove what a killed process left that would keep a new one from starting. Only called when none runs."""
        ...

    def command(self) -> Command: ...

    async def is_ready(self) -> bool:
        """Whether it answers; asked again and again until it does."""
        ...

    def move_ports(self) -> bool:
        """Take other ports because one was taken meanwhile; False where ports are in use by clients already."""
        ...


Report = Callable[[str], None]
"""Takes one line for the person who watches."""


def folder(state_dir: Path, name: str) -> Path:
    """A part's own folder under the state folder."""
    path = state_dir / name
    path.mkdir(mode=0o700, exist_ok=True)
    return path
