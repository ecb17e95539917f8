"""Embedded Postgres: a cluster on loopback TCP with passwords, without a socket that a sandboxed program could reach."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import sys
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from workers.settings import plain_environment
from workers.stack import binaries
from workers.stack.credentials import Credentials
from workers.stack.errors import PartFailedError, StackError
from workers.stack.parts import folder
from workers.stack.ports import HOST, choose
from workers.stack.processes import Command, identify, kill_group, launch, tail

DATABASE: Final = "syndic"
OWNER: Final = "syndic_owner"
WORKER: Final = "syndic"
WORKER_GROUP: Final = "syndic_worker"
"""The role that the schema grants to; our login role is a member of it."""
USUAL_PORT: Final = 5432
SYSTEM_USERS: Final = ("postgres", "nobody")
"""Who runs the server where root starts it: Postgres refuses to be root."""


class Postgres:
    """The part `postgres`. The data folder is built aside and renamed, so that a killed `initdb` leaves nothing half."""

    name = "postgres"

    def __init__(self, state_dir: Path, credentials: Credentials, remembered: dict[str, int]) -> None:
        self._folder = folder(state_dir, "postgres")
        self._data = self._folder / "data"
        self._log = state_dir / "logs" / "postgres.log"
        self._credentials = credentials
        self._port = choose(remembered.get("sql"), USUAL_PORT)
        self._user = _system_user(self._data)
        self._bin = binaries.required(binaries.postgres(self._data), "Postgres", "SYNDIC_DATABASE_URL")

    @property
    def ports(self) -> dict[str, int]:
        return {"sql": self._port}

    def url(self, role: str, database: str = DATABASE) -> str:
        secret = self._credentials.owner if role == OWNER else self._credentials.worker
        return f"postgresql://{role}:{secret.get_secret_value()}@{HOST}:{self._port}/{database}"

    async def prepare(self) -> None:
        if self._user is not None:
            os.chown(self._folder, *self._user)
        if not self._data.exists():
            await self._make_cluster()

    async def _make_cluster(self) -> None:
        draft, password = self._folder / "new", self._folder / "password"
        shutil.rmtree(draft, ignore_errors=True)
        password.write_text(self._credentials.owner.get_secret_value() + "\n")
        password.chmod(0o600)
        if self._user is not None:
            os.chown(password, *self._user)
        offset = self._log.stat().st_size if self._log.exists() else 0
        argv = (str(self._bin / "initdb"), "--pgdata", str(draft), "--username", OWNER, "--pwfile", str(password))
        options = ("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync")
        started = launch(Command((*argv, *options), plain_environment(), user=self._user), self._log)
        try:
            code = await started.wait()
        finally:
            password.unlink(missing_ok=True)
            if started.returncode is None:  # the start was given up: nothing may go on writing
                kill_group(started.pid)
                await started.wait()
        if code != 0:
            raise PartFailedError(self.name, "could not make its cluster", self._log, tail(self._log, offset))
        draft.rename(self._data)

    def clear_stale(self) -> None:
        """Remove a lock file whose process number a stranger has got since: Postgres would take it for a server.

        A lock file of a dead server is Postgres's own business: it also checks for shared memory in use.
        """
        lock = self._data / "postmaster.pid"
        if lock.exists() and _belongs_to_stranger(lock, self._data):
            lock.unlink()

    def command(self) -> Command:
        settings = {
            "listen_addresses": HOST,
            "port": self._port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "log_min_messages": "warning",
        }
        options = [item for name, value in settings.items() for item in ("-c", f"{name}={value}")]
        return Command(
            argv=(str(self._bin / "postgres"), "-D", str(self._data), *options),
            environment=plain_environment(),
            stop_signal=signal.SIGINT,  # fast shutdown: roll back, checkpoint, end
            death_signal=signal.SIGINT,
            user=self._user,
        )

    async def is_ready(self) -> bool:
        """Only our own server knows our password: a stranger on the port is not taken for it."""
        try:
            async with await psycopg.AsyncConnection.connect(self.url(OWNER, "postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def move_ports(self) -> bool:
        self._port = choose()
        return True

    async def open_database(self) -> None:
        """Create database and login role where they are missing. The role comes without any right on tables."""
        async with await psycopg.AsyncConnection.connect(self.url(OWNER, "postgres"), autocommit=True) as connection:
            if not await _exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", DATABASE):
                await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
            if not await _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", WORKER):
                await connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(WORKER)))
            await connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(WORKER), sql.Literal(self._credentials.worker.get_secret_value())
                )
            )

    async def admit_worker(self) -> None:
        """Make the login role a member of the group that the migrated schema grants to."""
        async with await psycopg.AsyncConnection.connect(self.url(OWNER), autocommit=True) as connection:
            await connection.execute(
                sql.SQL("GRANT {} TO {}").format(sql.Identifier(WORKER_GROUP), sql.Identifier(WORKER))
            )


async def _exists(connection: psycopg.AsyncConnection, query: str, name: str) -> bool:
    cursor = await connection.execute(query.encode(), (name,))
    return await cursor.fetchone() is not None


def _system_user(data: Path) -> tuple[int, int] | None:
    """Who owns the cluster already, or the first system user that this machine has; None where we are not root."""
    if os.geteuid() != 0:
        return None
    if data.exists():
        status = data.stat()
        return status.st_uid, status.st_gid
    for name in SYSTEM_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise StackError(
        f"Postgres refuses to run as root, and this machine has no user {' or '.join(SYSTEM_USERS)}: "
        "run Syndic as another user, or set SYNDIC_DATABASE_URL"
    )


def _belongs_to_stranger(lock: Path, data: Path) -> bool:
    pid = lock.read_text().split("\n", 1)[0].strip()
    if not pid.isdigit() or identify(int(pid)) is None:
        return False
    try:
        return Path(f"/proc/{pid}/cwd").resolve(strict=True) != data.resolve()
    except OSError:  # another user's process, or no /proc here
        return sys.platform.startswith("linux")


async def check_database(url: str, variable: str) -> None:
    """See that a configured database answers.

    Raises:
        StackError: it does not; the text names the variable and holds no password.
    """
    try:
        async with asyncio.timeout(10), await psycopg.AsyncConnection.connect(url, connect_timeout=5):
            return
    except (psycopg.Error, TimeoutError) as error:
        raise StackError(
            f"{variable} is set, and the database there does not answer: {_first_line(error)}. Start it, correct the "
            "address, or unset the variable to use the embedded Postgres."
        ) from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
