"""`syndic up` with real servers: what it starts, what it keeps, what it leaves."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from temporalio.client import Client

from tests.stack.conftest import Shell, Standing, finish, remember_ports, wait_for
from workers.settings import load_settings
from workers.stack.addresses import Addresses, read_addresses, resolve
from workers.stack.errors import NotRunningError
from workers.stack.processes import is_alive


def ports(addresses: Addresses) -> list[int]:
    urls = (f"//{addresses.temporal}", addresses.web_ui, addresses.database_url, addresses.redis_url)
    return [port for url in urls if (port := urlsplit(url or "").port)]


async def test_up_serves_all_three_and_a_restart_keeps_data_and_ports(shell: Shell) -> None:
    process, first = shell.up()
    client = await Client.connect(first.temporal, namespace=first.namespace)
    started = await client.start_workflow("Sleeper", id="sleeper", task_queue="nobody-polls")
    with psycopg.connect(first.owner_database_url or "", autocommit=True) as owner:
        owner.execute("CREATE TABLE kept AS SELECT 7 AS value")
    with redis.Redis.from_url(first.redis_url) as bus:
        bus.set("kept", "yes")
    status, _ = finish(process)
    assert status == 0
    assert read_addresses(shell.state_dir) is None

    process, second = shell.up()
    assert ports(second) == ports(first)
    client = await Client.connect(second.temporal, namespace=second.namespace)
    assert (await client.get_workflow_handle("sleeper").describe()).run_id == started.first_execution_run_id
    with psycopg.connect(second.owner_database_url or "") as owner:
        assert owner.execute("SELECT value FROM kept").fetchone() == (7,)
    with redis.Redis.from_url(second.redis_url) as bus:
        assert bus.get("kept") == b"yes"
    assert finish(process, signal.SIGTERM)[0] == 0


def test_the_profile_makes_the_temporal_command_find_the_server_and_what_it_needs(standing: Standing) -> None:
    shell, addresses = standing
    waiting = shell.temporal("workflow", "list", "--query", "SyndicAwaiting IS NOT NULL", "-o", "json").stdout
    assert waiting.strip() in {"[]", "[\n]"}
    attributes = json.loads(shell.temporal("operator", "search-attribute", "list", "-o", "json").stdout)[
        "customAttributes"
    ]
    wanted = {"SyndicProject", "SyndicPhase", "SyndicAwaiting", "SyndicRole", "SyndicCostUsd"}
    assert wanted <= set(attributes)
    namespace = json.loads(shell.temporal("operator", "namespace", "describe", "-n", "default", "-o", "json").stdout)
    assert namespace["config"]["workflowExecutionRetentionTtl"] == "2592000s"
    assert addresses.web_ui is not None


def test_workers_get_a_role_that_owns_nothing(standing: Standing) -> None:
    shell, addresses = standing
    with psycopg.connect(addresses.database_url, autocommit=True) as worker:
        owned = worker.execute(
            "SELECT count(*) FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner WHERE rolname = current_user"
        ).fetchone()
        assert owned == (0,)
        member = worker.execute("SELECT pg_has_role(current_user, 'syndic_worker', 'MEMBER')").fetchone()
        assert member == (True,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            worker.execute("CREATE TABLE public.mine (value int)")
    without = addresses.database_url.replace(addresses.database_url.split(":")[2].split("@")[0], "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(without).close()
    assert not list(shell.state_dir.rglob(".s.PGSQL*"))


def test_secrets_are_private_and_no_argument_of_a_process(standing: Standing) -> None:
    shell, addresses = standing
    for name in ("stack.json", "credentials.json", "redis/redis.conf"):
        assert (shell.state_dir / name).stat().st_mode & 0o077 == 0
    password = addresses.redis_url.split(":")[2].split("@")[0]
    arguments = b"".join(Path(f"/proc/{item.pid}/cmdline").read_bytes() for item in shell.remember())
    assert password.encode() not in arguments
    assert "password" not in repr(addresses)
    assert password not in repr(addresses)


def test_a_second_up_on_the_same_state_is_refused_and_names_the_holder(standing: Standing) -> None:
    shell, addresses = standing
    process = shell.started[0]
    second = shell.run("up", "--no-worker")
    assert second.returncode == 1
    assert f"held by process {process.pid} since 20" in second.stderr
    assert addresses.temporal in second.stderr
    assert process.poll() is None


def test_a_stack_can_be_detached_pointed_at_and_taken_down(shell: Shell) -> None:
    up = shell.run("up", "--no-worker", "--detach", "--json")
    assert up.returncode == 0, up.stderr
    processes = shell.remember()
    addresses = json.loads(up.stdout)

    exports = shell.run("env").stdout.splitlines()
    assert f"export TEMPORAL_ADDRESS={addresses['temporal']}" in exports
    assert any(line.startswith("export SYNDIC_REDIS_URL=") for line in exports)
    assert resolve(load_settings()).database_url == addresses["database_url"]

    down = shell.run("down", "--json")
    assert json.loads(down.stdout)["stopped"] == ["supervisor"]
    assert not [process for process in processes if is_alive(process)]
    with pytest.raises(NotRunningError, match="syndic up"):
        resolve(load_settings())


def test_ports_in_use_are_left_to_their_owners(shell: Shell) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = stranger.getsockname()[1]
        remember_ports(shell.state_dir, [taken] * 4)
        _, addresses = shell.up()
        assert str(taken) not in f"{addresses.exports()} {addresses.web_ui}"


def test_an_interrupt_while_it_starts_leaves_nothing(shell: Shell) -> None:
    argv = shell._argv(("up", "--no-worker"))
    process = subprocess.Popen(argv, env=shell.environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    shell.started.append(process)
    wait_for(lambda: (shell.state_dir / "stack.json").exists(), "the first record")
    wait_for(lambda: "temporal" in shell.record().parts, "a first server")
    shell.remember()
    finish(process, signal.SIGINT)
    assert process.returncode in {0, 130}
