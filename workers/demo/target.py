"""The repository that the demo works on: a copy of `examples/neglected` with a history, and a way out that is no way out."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from agents.processes import start
from workers.console import CommandError

ESCAPE = "docs/handbook.md"
"""A symbolic link that leads out of the repository. It is made here, because archives of our source cannot hold it."""

_AUTHOR = ("-c", "user.name=A. Newcomer", "-c", "user.email=newcomer@example.org", "-c", "commit.gpgsign=false")


@dataclass(frozen=True)
class Target:
    """A person's repository as the demo made it."""

    repository: Path
    commit: str


def example() -> Path:
    """Where the example lies: in the installed package, or next to it in a checkout.

    Raises:
        CommandError: It is not there.
    """
    here = Path(__file__).resolve()
    for place in (here.with_name("neglected"), here.parents[2] / "examples" / "neglected"):
        if (place / "pyproject.toml").is_file():
            return place
    raise CommandError("the demo's example package is missing; install Syndic again")


async def make_target(folder: Path) -> Target:
    """Copy the example into `folder` and put it under git."""
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache", ".venv")
    await asyncio.to_thread(shutil.copytree, example(), folder, ignore=ignored)
    await git(folder, "init", "-q", "-b", "main")
    await git(folder, "add", ".")
    await git(folder, *_AUTHOR, "commit", "-q", "-m", "Stock keeping for a small workshop")
    (folder / ESCAPE).symlink_to("../../../../../../etc/hostname")
    await git(folder, "add", ".")
    await git(folder, *_AUTHOR, "commit", "-q", "-m", "Link the handbook")
    return Target(folder, await git(folder, "rev-parse", "HEAD"))


async def git(folder: Path, *arguments: str) -> str:
    """One git command in a repository of the demo's own making; its output without the last line's end.

    Raises:
        CommandError: It failed.
    """
    process = start("git", "-C", str(folder), *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, error = await process.communicate()
    if process.returncode:
        raise CommandError(f"git {arguments[0]} failed: {error.decode(errors='replace').strip()}")
    return out.decode(errors="replace").strip()
