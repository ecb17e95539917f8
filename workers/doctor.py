"""What `syndic doctor` looks at: each check gives findings, none of them changes anything."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import Final

from ledger.vocabulary import Record
from workers._entry import PACKAGES, REMEDY, ROOT, find_clashes
from workers.errors import SettingsError, WorkersError
from workers.settings import Settings, load_settings, model_keys, unknown_variables
from workers.stack import binaries
from workers.stack.addresses import Addresses, read_addresses, temporal_profile
from workers.stack.ports import is_free
from workers.stack.state import LEAST_FREE_BYTES

PROGRAM_WITHIN_S: Final = 10
USUAL_PORTS: Final = {"Temporal": 7233, "Web UI": 8233, "Postgres": 5432, "Redis": 6379}
OLDEST_GIT: Final = (2, 31)
"""Worktrees of a bare store with explicit `--git-dir` and `--work-tree`."""


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """Syndic runs, with a consequence that the finding names."""
    BROKEN = "broken"


class Finding(Record):
    """One thing that was looked at."""

    check: str
    state: State
    detail: str
    remedy: str = ""


async def examine() -> list[Finding]:
    """Look at this installation, this machine and the servers it would use."""
    findings = [_python(), *_packages(), await _git()]
    try:
        settings = load_settings()
    except SettingsError as error:
        broken = [Finding(check="settings", state=State.BROKEN, detail=line) for line in str(error).splitlines()]
        return [*findings, *broken]
    findings += _variables()
    findings += [await _bubblewrap(settings), _state_dir(settings)]
    findings += await _servers(settings)
    findings += [*await _vault(settings), _keys(settings)]
    return findings


def _python() -> Finding:
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding(
        check="Python",
        state=State.OK if fits else State.BROKEN,
        detail=f"{platform.python_version()} at {sys.executable}",
        remedy="" if fits else "Syndic needs Python 3.11 to 3.13.",
    )


def _packages() -> list[Finding]:
    clashes = find_clashes()
    if clashes:
        return [Finding(check="packages", state=State.BROKEN, detail=clash, remedy=REMEDY) for clash in clashes]
    return [Finding(check="packages", state=State.OK, detail=f"{', '.join(PACKAGES)} are ours, in {ROOT}")]


def _variables() -> list[Finding]:
    return [
        Finding(check="settings", state=State.WARNING, detail=f"{name} is set and unknown", remedy="Is it misspelt?")
        for name in unknown_variables()
    ]


async def _git() -> Finding:
    code, output = await _run("git", "--version")
    numbers = [int(part) for part in output.removeprefix("git version ").split(".")[:2] if part.isdigit()]
    fits = code == 0 and tuple(numbers) >= OLDEST_GIT
    return Finding(
        check="git",
        state=State.OK if fits else State.BROKEN,
        detail=output or "not found",
        remedy="" if fits else f"Install git {'.'.join(map(str, OLDEST_GIT))} or newer.",
    )


async def _bubblewrap(settings: Settings) -> Finding:
    from agents.sandbox import Bubblewrap, Refusing, find_sandbox

    sandbox = await find_sandbox(settings.unsafe_commands)
    if isinstance(sandbox, Bubblewrap):
        detail = "programs of a target run without network, home and processes of yours"
        return Finding(check="bubblewrap", state=State.OK, detail=detail)
    if not isinstance(sandbox, Refusing):
        detail = "missing, and SYNDIC_UNSAFE_COMMANDS=1: programs of a target run with your rights"
        return Finding(check="bubblewrap", state=State.WARNING, detail=detail)
    return Finding(
        check="bubblewrap",
        state=State.WARNING,
        detail=f"{sandbox.reason}; gates and every tool that runs a program refuse",
        remedy="Install bubblewrap and allow user namespaces, or set SYNDIC_UNSAFE_COMMANDS=1 for targets you trust.",
    )


def _state_dir(settings: Settings) -> Finding:
    folder = settings.state_dir
    standing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(standing).free
    detail = f"{folder}, {free // 1_000_000} MB free"
    if not standing.is_dir() or not os.access(standing, os.W_OK | os.X_OK) or not _can_write(standing):
        remedy = "Correct its owner, or set SYNDIC_STATE_DIR to a folder of your own."
        return Finding(check="state folder", state=State.BROKEN, detail=f"{folder} cannot be written", remedy=remedy)
    if free < LEAST_FREE_BYTES:
        remedy = f"Free {LEAST_FREE_BYTES // 1_000_000} MB, or set SYNDIC_STATE_DIR to another disk."
        return Finding(check="state folder", state=State.BROKEN, detail=detail, remedy=remedy)
    return Finding(check="state folder", state=State.OK, detail=detail)


def _can_write(folder: Path) -> bool:
    """Root passes `os.access` on a read-only file system too."""
    return not os.statvfs(folder).f_flag & os.ST_RDONLY


async def _servers(settings: Settings) -> list[Finding]:
    """Each server: configured and reachable, running in the embedded stack, or ready to be embedded."""
    running = read_addresses(settings.state_dir)
    try:
        profile = temporal_profile(settings)
    except SettingsError as error:
        return [Finding(check="Temporal", state=State.BROKEN, detail=str(error))]
    return [
        await _temporal(settings, running, bool(profile)),
        await _postgres(settings, running),
        await _redis(settings, running),
        *([] if running or profile else [_ports()]),
    ]


async def _temporal(settings: Settings, running: Addresses | None, configured: bool) -> Finding:
    if not configured and running is None:
        return _embedded("Temporal", binaries.temporal(), "TEMPORAL_ADDRESS")
    from workers.client import connect

    profile = temporal_profile(settings)
    known = {"state_dir": settings.state_dir, "database_url": "", "redis_url": "", "profile": profile}
    if profile is not None:
        known |= {"temporal": profile.address, "namespace": profile.namespace or "default"}
    addresses = running if profile is None and running else Addresses.model_validate(known)
    try:
        await connect(addresses)
    except WorkersError as error:
        return Finding(check="Temporal", state=State.BROKEN, detail=str(error))
    return Finding(check="Temporal", state=State.OK, detail=f"answers at {addresses.temporal}{_whose(profile is None)}")


async def _postgres(settings: Settings, running: Addresses | None) -> Finding:
    from workers.stack.postgres import check_database

    configured = settings.database_url.get_secret_value() if settings.database_url else None
    url = configured or (running.database_url if running else None)
    if url is None:
        return _embedded("Postgres", binaries.postgres(settings.state_dir / "postgres" / "data"), "SYNDIC_DATABASE_URL")
    try:
        await check_database(url, "SYNDIC_DATABASE_URL")
    except WorkersError as error:
        return Finding(check="Postgres", state=State.BROKEN, detail=str(error))
    return Finding(check="Postgres", state=State.OK, detail=f"answers{_whose(configured is None)}")


async def _redis(settings: Settings, running: Addresses | None) -> Finding:
    from workers.stack.redis import check_redis

    configured = settings.redis_url.get_secret_value() if settings.redis_url else None
    url = configured or (running.redis_url if running else None)
    if url is None:
        return _embedded("Redis", binaries.redis(), "SYNDIC_REDIS_URL")
    try:
        await check_redis(url)
    except WorkersError as error:
        return Finding(check="Redis", state=State.BROKEN, detail=str(error))
    return Finding(check="Redis", state=State.OK, detail=f"answers{_whose(configured is None)}")


def _whose(embedded: bool) -> str:
    return " (embedded)" if embedded else " (configured)"


def _embedded(name: str, program: Path | None, variable: str) -> Finding:
    if program is not None:
        return Finding(check=name, state=State.OK, detail=f"`syndic up` would start {program}")
    return Finding(
        check=name,
        state=State.WARNING,
        detail="no server is embedded here and none is configured",
        remedy=f"To get one, {binaries.INSTALL}; or set {variable}.",
    )


def _ports() -> Finding:
    taken = [f"{name} {port}" for name, port in USUAL_PORTS.items() if not is_free(port)]
    detail = f"in use: {', '.join(taken)}; `syndic up` takes free ones" if taken else "the usual ones are free"
    return Finding(check="ports", state=State.OK, detail=detail)


async def _vault(settings: Settings) -> list[Finding]:
    if settings.vault_addr is None:
        return []
    import httpx

    try:
        async with httpx.AsyncClient(timeout=5) as client:
            answer = await client.get(f"{settings.vault_addr.rstrip('/')}/v1/sys/health", params={"standbyok": "true"})
    except httpx.HTTPError as error:
        detail = f"VAULT_ADDR is set, and nothing answers at {settings.vault_addr}: {error}"
        return [Finding(check="Vault", state=State.BROKEN, detail=detail, remedy="Start it or unset VAULT_ADDR.")]
    if answer.status_code != 200:
        meaning = {501: "is not initialised", 503: "is sealed"}.get(answer.status_code, f"says {answer.status_code}")
        return [Finding(check="Vault", state=State.BROKEN, detail=f"{settings.vault_addr} {meaning}")]
    if settings.vault_token is None:
        return [Finding(check="Vault", state=State.BROKEN, detail="VAULT_ADDR is set and VAULT_TOKEN is not")]
    return [Finding(check="Vault", state=State.OK, detail=f"answers at {settings.vault_addr}")]


def _keys(settings: Settings) -> Finding:
    names = model_keys()
    if names or settings.vault_addr:
        source = ", ".join(names) if names else f"Vault at {settings.vault_path}"
        return Finding(check="model keys", state=State.OK, detail=source)
    return Finding(
        check="model keys",
        state=State.OK,
        detail="none: roles use offline/maintainer, a rule-based model that repairs, tidies and analyses",
    )


async def _run(*argv: str) -> tuple[int, str]:
    """Exit code and output of a small program; 127 where it is missing, 124 where it hangs."""
    try:
        started = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError:
        return 127, ""
    try:
        output, _ = await asyncio.wait_for(started.communicate(), PROGRAM_WITHIN_S)
    except TimeoutError:
        started.kill()
        await started.wait()
        return 124, "does not end"
    return started.returncode or 0, output.decode("utf-8", "replace").strip()
