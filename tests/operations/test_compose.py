"""The compose file without a container engine: what it says is checked against the code, and our services are run on the host."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.support.compose import fill, read_env, services, uses
from tests.support.postgres import running_postgres
from tests.support.running import BIN, BUGGY, eventually, make_repository
from workers.cli import COMMANDS, load
from workers.queues import QUEUES
from workers.settings import known_variables
from workers.stack import binaries
from workers.stack.ports import choose
from workers.worker import SHUTDOWN_GRACE

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.temporal.yml"
EXAMPLE = ROOT / ".env.example"
WORKERS = ("worker-workflows", "worker-agents", "worker-tools")
OURS = ("migrate", *WORKERS, "rollout")
SECRET = re.compile(r"PASSWORD|PWD|TOKEN|SECRET|_KEY$")
BUILD = "host-1"


@pytest.fixture(scope="module")
def raw() -> dict[str, dict[str, Any]]:
    return services(FILE)


def _seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def _finishes(service: dict[str, Any]) -> bool:
    return str(service.get("restart")).startswith("on-failure")


def test_our_services_are_the_ones_with_our_image(raw: dict[str, dict[str, Any]]) -> None:
    assert {name for name, service in raw.items() if service["image"].startswith("syndic:")} == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_a_service_is_one_that_the_code_reads(raw: dict[str, dict[str, Any]], name: str) -> None:
    assert set(raw[name]["environment"]) <= known_variables()


@pytest.mark.parametrize("name", OURS)
def test_every_command_exists_with_its_options(raw: dict[str, dict[str, Any]], name: str) -> None:
    command, *options = fill(raw[name]["command"], {"SYNDIC_BUILD_ID": BUILD})
    assert command in COMMANDS
    context = load(command).make_context(command, options)  # raises for an option that the command does not have
    if command in {"worker", "rollout"}:
        assert context.params["build_id"] == BUILD


def test_the_workers_serve_every_queue_once(raw: dict[str, dict[str, Any]]) -> None:
    assert sorted(raw[name]["command"][raw[name]["command"].index("--queues") + 1] for name in WORKERS) == sorted(
        QUEUES
    )


def test_only_migrations_get_the_owners_login_and_only_agents_the_vault_token(raw: dict[str, dict[str, Any]]) -> None:
    holders = {variable: [name for name in raw if variable in raw[name].get("environment", {})] for variable in (
        "SYNDIC_OWNER_DATABASE_URL", "VAULT_TOKEN",
    )}  # fmt: skip
    assert holders == {"SYNDIC_OWNER_DATABASE_URL": ["migrate"], "VAULT_TOKEN": ["worker-agents"]}


def test_no_secret_has_a_default(raw: dict[str, dict[str, Any]]) -> None:
    defaults = {use.name: use.default for use in uses(FILE.read_text()) if SECRET.search(use.name)}
    assert defaults
    assert {name: default for name, default in defaults.items() if default is not None} == {}
    for name, service in raw.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable):
                assert re.fullmatch(r"\$\{\w+:\?\}", str(value)), f"{name}: {variable}"
            if password := urlsplit(str(value)).password if "@" in str(value) else None:
                assert re.fullmatch(r"\$\{\w+:\?\}", password), f"{name}: {variable}"


def test_the_example_names_every_variable_and_holds_no_secret() -> None:
    example = read_env(EXAMPLE)
    assert set(example) == {use.name for use in uses(FILE.read_text())}
    assert {name: value for name, value in example.items() if SECRET.search(name) and value} == {}


def test_a_missing_password_is_an_error_and_no_empty_string(raw: dict[str, dict[str, Any]]) -> None:
    with pytest.raises(KeyError, match="SYNDIC_DB_PASSWORD"):
        fill(raw["worker-tools"], {**_filled_example(), "SYNDIC_DB_PASSWORD": ""})


def test_images_are_pinned(raw: dict[str, dict[str, Any]]) -> None:
    froms = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    strangers = [service["image"] for name, service in raw.items() if name not in OURS]
    for image in (*froms, *strangers):
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", image), image


def test_each_service_that_stays_has_a_health_check_or_says_why_not(raw: dict[str, dict[str, Any]]) -> None:
    silent = [
        name for name, it in raw.items() if not _finishes(it) and not (it.get("healthcheck") or it.get("x-health"))
    ]
    assert silent == []


def test_services_wait_for_what_they_can_wait_for(raw: dict[str, dict[str, Any]]) -> None:
    for name, service in raw.items():
        for needed, how in service.get("depends_on", {}).items():
            match how["condition"]:
                case "service_healthy":
                    assert "healthcheck" in raw[needed], f"{name} waits for {needed}"
                case "service_completed_successfully":
                    assert _finishes(raw[needed]), f"{name} waits for {needed}"
                case condition:
                    assert condition == "service_started"
                    assert needed in WORKERS


def test_a_worker_may_finish_before_it_is_killed(raw: dict[str, dict[str, Any]]) -> None:
    for name in WORKERS:
        assert _seconds(raw[name]["stop_grace_period"]) > SHUTDOWN_GRACE.total_seconds() + 10


def test_files_that_containers_mount_or_copy_exist(raw: dict[str, dict[str, Any]]) -> None:
    mounts = [mount.split(":")[0] for service in raw.values() for mount in service.get("volumes", ())]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    paths = [mount for mount in mounts if mount.startswith("./")] + [word for line in copied for word in line.split()]
    assert len(paths) > 8
    assert [path for path in paths if not (ROOT / path).exists()] == []


def _filled_example() -> dict[str, str]:
    """What a person makes of `.env.example`: every empty secret filled in."""
    filled = {
        name: value or (secrets.token_hex(12) if SECRET.search(name) else "")
        for name, value in read_env(EXAMPLE).items()
    }
    return {**filled, "SYNDIC_BUILD_ID": BUILD}


@dataclass
class Host:
    """The servers of the file on this host, and its services of ours as processes."""

    folder: Path
    raw: dict[str, dict[str, Any]]
    variables: dict[str, str]
    places: dict[str, str] = field(default_factory=dict)
    """What the file calls `host:port` -> where it is here."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, name: str) -> dict[str, str]:
        """The service's own variables with PATH and HOME, and nothing else.

        But for tools, which also get what this very machine needs to reach a package registry.
        """
        found = fill(self.raw[name]["environment"], self.variables)
        moved = {variable: self._moved(value) for variable, value in found.items()}
        machine = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(self.folder / "home")}
        if name == "worker-tools":
            machine |= {key: os.environ[key] for key in os.environ if key.startswith(("PIP_", "UV_", "SSL_CERT_"))}
        return {**machine, **moved}

    def command(self, name: str) -> list[str]:
        return [str(BIN / "syndic"), *fill(self.raw[name]["command"], self.variables)]

    def run(self, name: str, command: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command or self.command(name),
            env=self.environment(name),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                self.command(name), env=self.environment(name), stdout=log, stderr=log, start_new_session=True
            )

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def temporal(self, *arguments: str) -> Any:
        done = self.run("rollout", [str(BIN / "temporal"), *arguments, "--output", "json"])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def stop(self) -> dict[str, int]:
        """End what runs as an engine does: SIGTERM, then wait."""
        for process in self.processes.values():
            process.terminate()
        return {name: process.wait(40) for name, process in self.processes.items()}

    def _moved(self, value: str) -> str:
        for there, here in self.places.items():
            value = value.replace(there, here)
        return value


@contextmanager
def _redis(host: Host) -> Iterator[None]:
    """The command of the service itself; a small program in front of the server's name adds port and folder."""
    port, shims = choose(), host.folder / "shims"
    shims.mkdir()
    program = binaries.required(binaries.redis(), "Redis", "SYNDIC_REDIS_URL")
    for name, before in (
        ("redis-server", f"--port {port} --bind 127.0.0.1 --dir {host.folder}"),
        ("redis-cli", f"-p {port}"),
    ):
        (shims / name).write_text(f'#!/bin/sh\nexec "{program.with_name(name)}" {before} "$@"\n')
        (shims / name).chmod(0o755)
    service = fill(host.raw["redis"], host.variables)
    env = {"PATH": f"{shims}{os.pathsep}{os.environ['PATH']}", **service["environment"]}
    with (host.folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(service["command"], env=env, stdout=log, stderr=log)
    [_, check] = service["healthcheck"]["test"]
    try:
        eventually(
            lambda: subprocess.run(["sh", "-c", check], env=env, capture_output=True).returncode == 0, "healthy Redis"
        )
        host.places["redis:6379"] = f"127.0.0.1:{port}"
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def _postgres(host: Host) -> Iterator[None]:
    """A cluster whose superuser the image would have made; then the script that the image would run."""
    environment = fill(host.raw["syndic-db"]["environment"], host.variables)
    owner, password = environment["POSTGRES_USER"], environment["POSTGRES_PASSWORD"]
    with running_postgres() as superuser:
        parts = urlsplit(superuser)
        with psycopg.connect(superuser, autocommit=True) as connection:
            name = sql.Identifier(owner)
            connection.execute(
                sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(name, sql.Literal(password))
            )
            database = sql.Identifier(environment["POSTGRES_DB"])
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, name))
        [script] = sorted((ROOT / "deploy/postgres").iterdir())
        found = binaries.postgres()
        assert found is not None
        env = {
            "PATH": f"{found}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(parts.port),
            "PGPASSWORD": password,
            **environment,
        }
        subprocess.run(["sh", str(script)], env=env, check=True, capture_output=True)
        host.places["syndic-db:5432"] = f"127.0.0.1:{parts.port}"
        yield


@contextmanager
def _temporal(host: Host) -> Iterator[None]:
    """A development server stands in for the cluster; the script that makes the namespace is the file's own."""
    port = choose()
    command = [str(BIN / "temporal"), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
    with (host.folder / "temporal.log").open("wb") as log:
        process = subprocess.Popen([*command, "--log-level", "error"], stdout=log, stderr=log)
    env = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "TEMPORAL_ADDRESS": f"127.0.0.1:{port}"}
    script = ["sh", str(ROOT / "deploy/temporal/namespace.sh")]
    try:
        eventually(lambda: subprocess.run(script, env=env, capture_output=True).returncode == 0, "a namespace")
        host.places["temporal:7233"] = f"127.0.0.1:{port}"
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, raw: dict[str, dict[str, Any]]) -> Iterator[Host]:
    """The servers, then our services in the file's order."""
    folder = tmp_path_factory.mktemp("compose")
    (folder / "home").mkdir()
    host = Host(folder, raw, _filled_example(), {"/var/lib/syndic": str(folder / "state")})
    with ExitStack() as stack:
        for server in (_postgres, _redis, _temporal):
            stack.enter_context(server(host))
        stack.callback(host.stop)
        yield host


@pytest.fixture(scope="module")
def migrated(host: Host) -> list[subprocess.CompletedProcess[str]]:
    return [host.run("migrate"), host.run("migrate")]


@pytest.fixture(scope="module")
def too_early(host: Host, migrated: object) -> subprocess.CompletedProcess[str]:
    """A rollout while one of the three queues has no worker."""
    for name in WORKERS[1:]:
        host.start(name)
    for name in WORKERS[1:]:
        eventually(lambda name=name: "worker_started" in host.log(name), f"{name} at work")
    return host.run("rollout", [*host.command("rollout"), "--within", "1"])


@pytest.fixture(scope="module")
def rolled_out(host: Host, too_early: object) -> subprocess.CompletedProcess[str]:
    host.start(WORKERS[0])
    return host.run("rollout")


@pytest.fixture(scope="module")
def report(host: Host, rolled_out: object) -> dict[str, Any]:
    repository = make_repository(host.folder / "repository", BUGGY)
    brief = {
        "goal": "Make the tests pass",
        "repository": str(repository),
        "project_id": "small",
        "autonomy": "autonomous",
    }
    (host.folder / "brief.json").write_text(json.dumps(brief))
    started = host.run("rollout", [str(BIN / "syndic"), "run", str(host.folder / "brief.json")])
    assert started.returncode == 0, started.stderr
    return host.temporal("workflow", "result", "--workflow-id", "project/small")["result"]


def test_migrations_are_safe_to_run_again(migrated: list[subprocess.CompletedProcess[str]]) -> None:
    assert [done.returncode for done in migrated] == [0, 0], [done.stderr for done in migrated]


def test_the_workers_login_owns_nothing_and_cannot_rewrite_the_record(host: Host, migrated: object) -> None:
    with psycopg.connect(host.environment("worker-tools")["SYNDIC_DATABASE_URL"], autocommit=True) as connection:
        owned = connection.execute("SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) = current_user")
        assert owned.fetchone() == (0,)
        rights = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        )
        assert rights.fetchone() == (False, False, False)
        for statement in (
            "UPDATE syndic.entries SET kind = 'x'",
            "TRUNCATE syndic.entries",
            "DELETE FROM syndic.steps",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


@pytest.mark.chaos
def test_a_rollout_waits_until_every_queue_has_a_worker(too_early: subprocess.CompletedProcess[str]) -> None:
    assert too_early.returncode == 1
    assert too_early.stderr.startswith(f"error: not all workers of syndic:{BUILD} poll: ")


@pytest.mark.chaos
def test_the_rollout_makes_the_build_current_with_three_task_queues(
    host: Host, rolled_out: subprocess.CompletedProcess[str]
) -> None:
    assert rolled_out.returncode == 0, rolled_out.stderr
    deployment = host.temporal("worker", "deployment", "describe", "--name", "syndic")
    assert deployment["routingConfig"]["currentVersionBuildID"] == BUILD, deployment
    of_build = ("--deployment-name", "syndic", "--build-id", BUILD)
    version = host.temporal("worker", "deployment", "describe-version", *of_build)
    assert {queue["name"] for queue in version["taskQueuesInfos"]} == set(QUEUES), version


@pytest.mark.chaos
def test_a_project_runs_to_its_end_on_three_separate_workers(host: Host, report: dict[str, Any]) -> None:
    assert report["state"] == "done", report
    assert report["tasks_merged"] == 1
    assert report["ledger_verified"] is True
    assert [name for name, process in host.processes.items() if process.poll() is not None] == []
    for name in WORKERS:
        assert json.loads(host.log(name).splitlines()[0])["event"] == "worker_started", name
    assert "run_finished" in host.log("worker-agents")
    assert "run_finished" not in host.log("worker-tools")


@pytest.mark.chaos
def test_the_services_end_in_order_when_they_are_told(host: Host, report: object) -> None:
    assert set(host.stop().values()) == {0}
