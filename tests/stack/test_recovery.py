"""kill -9 of every part and of the supervisor, and what the next start makes of the remains."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from datetime import UTC, datetime

import psycopg
import pytest
import redis
from temporalio.client import Client

from tests.stack.conftest import Shell, finish, wait_for
from workers.stack.addresses import Addresses, PartRecord, StackRecord, write_record
from workers.stack.processes import ProcessId, identify, is_alive

pytestmark = pytest.mark.chaos


def answers(addresses: Addresses, part: str) -> bool:
    if part == "postgres":
        try:
            psycopg.connect(addresses.database_url, connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
    elif part == "redis":
        try:
            with redis.Redis.from_url(addresses.redis_url) as client:
                client.ping()
        except redis.RedisError:
            return False
    else:
        host, port = addresses.temporal.split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0
    return True


def test_a_killed_server_is_started_again_at_the_same_address(shell: Shell) -> None:
    process, addresses = shell.up()
    for part in ("redis", "postgres", "temporal"):
        killed = shell.pid(part)
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda part=part, killed=killed: shell.pid(part) != killed, f"{part} restarted")
        wait_for(lambda part=part: answers(addresses, part), f"{part} answers again")
        assert shell.record().parts[part].restarts == 1
        shell.remember()
    status, said = finish(process)
    assert status == 0
    assert "redis was killed by signal 9; starting it again" in said


async def test_a_killed_supervisor_takes_its_servers_along_and_up_recovers(shell: Shell) -> None:
    process, first = shell.up()
    client = await Client.connect(first.temporal)
    await client.start_workflow("Sleeper", id="sleeper", task_queue="nobody-polls")
    processes = shell.remember()
    process.kill()
    process.communicate()
    wait_for(lambda: not any(is_alive(item) for item in processes), "the servers ended with their supervisor")

    _, second = shell.up()
    assert second == first
    client = await Client.connect(second.temporal)
    assert (await client.get_workflow_handle("sleeper").describe()).status is not None


def test_everything_killed_at_once_is_recovered_with_committed_data(shell: Shell) -> None:
    process, first = shell.up()
    with psycopg.connect(first.owner_database_url or "", autocommit=True) as owner:
        owner.execute("CREATE TABLE kept AS SELECT 7 AS value")
    for item in (process.pid, *(shell.pid(part) for part in ("temporal", "redis", "postgres"))):
        os.kill(item, signal.SIGKILL)
    process.communicate()
    assert (shell.state_dir / "postgres" / "data" / "postmaster.pid").exists()

    _, second = shell.up()
    assert second == first
    with psycopg.connect(second.owner_database_url or "") as owner:
        assert owner.execute("SELECT value FROM kept").fetchone() == (7,)


def test_remains_that_would_stop_a_server_are_cleared(shell: Shell) -> None:
    process, _ = shell.up()
    assert finish(process)[0] == 0
    (shell.state_dir / "stack.json").write_text('{"supervisor": 3')
    (shell.state_dir / "stack.lock").write_text("{")
    data = shell.state_dir / "postgres" / "data"
    # as after a reboot: the lock names a number that a living stranger has by now
    (data / "postmaster.pid").write_text(f"{os.getppid()}\n{data}\n1\n5432\n\n127.0.0.1\n")
    (shell.state_dir / "postgres" / "new").mkdir()
    file = shell.state_dir / "redis" / "appendonly.aof"
    file.write_bytes(file.read_bytes() + b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\ncut")
    shell.up()


def test_a_damaged_append_only_file_is_put_aside_and_reported(shell: Shell) -> None:
    process, _ = shell.up()
    finish(process)
    file = shell.state_dir / "redis" / "appendonly.aof"
    file.write_bytes(b"no redis ever wrote this\r\n" * 20)
    process, addresses = shell.up()
    assert answers(addresses, "redis")
    _, said = finish(process)
    assert "its file was damaged" in said
    assert list(file.parent.glob("appendonly.aof.damaged-*"))


def test_servers_that_outlived_their_supervisor_are_stopped_by_number_and_start(shell: Shell) -> None:
    """Where the kernel cannot tie children to a parent, the record does; a number alone is not enough."""
    with (
        subprocess.Popen(["sleep", "600"]) as orphan,
        subprocess.Popen(["sleep", "600"]) as stranger,
    ):
        try:
            known, other = identify(orphan.pid), identify(stranger.pid)
            assert known is not None
            assert other is not None
            parts = {
                "redis": PartRecord(source="started", process=known),
                "temporal": PartRecord(source="started", process=ProcessId(pid=other.pid, started="earlier")),
            }
            shell.state_dir.mkdir(mode=0o700)
            record = StackRecord(supervisor=ProcessId(pid=1, started="never"), since=datetime.now(UTC), parts=parts)
            write_record(shell.state_dir, record)
            shell.up()
            assert orphan.wait(10) == -signal.SIGTERM
            assert stranger.poll() is None
        finally:
            orphan.kill()
            stranger.kill()
