"""A state folder of its own for each test, the command line as a person types it, and nothing left behind."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from workers.stack import binaries
from workers.stack.addresses import Addresses, PartRecord, StackRecord, read_record, record_path, write_record
from workers.stack.ports import is_free
from workers.stack.processes import ProcessId, is_alive

OURS = ("SYNDIC_", "TEMPORAL_", "VAULT_", "OTEL_")
PATIENCE_S = 60
RUNNER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
OWN_PORTS = filter(is_free, itertools.count(10_000 + 1_000 * RUNNER))
"""Below those that the system gives to whoever asks for any, and another thousand for each of the tests' runners."""


@dataclass
class Shell:
    """Runs `syndic` with a state folder and a Temporal configuration of its own."""

    state_dir: Path
    environment: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    seen: list[ProcessId] = field(default_factory=list)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._argv(arguments),
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def temporal(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The `temporal` command with the profile that `syndic up` wrote."""
        argv = [str(binaries.temporal()), "--profile", "syndic", *arguments]
        return subprocess.run(
            argv, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S, check=check
        )

    def up(self, *options: str, **variables: str) -> tuple[subprocess.Popen[str], Addresses]:
        """Start a supervisor in the foreground and wait for its line of JSON.

        A new stack gets ports of its own: its neighbours would take the usual ones while it is down.
        """
        if not record_path(self.state_dir).exists():
            remember_ports(self.state_dir, itertools.islice(OWN_PORTS, 4))
        process = subprocess.Popen(
            self._argv(("up", "--json", *(options or ("--no-worker",)))),
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        self.remember()
        return process, Addresses.model_validate(json.loads(line))

    def record(self) -> StackRecord:
        record = read_record(self.state_dir)
        assert record is not None
        return record

    def remember(self) -> list[ProcessId]:
        """Note every process of the stack, so that the end of the test can see whether it went."""
        record = self.record()
        now = [record.supervisor, *(part.process for part in record.parts.values() if part.process)]
        self.seen += now
        return now

    def pid(self, part: str) -> int:
        process = self.record().parts[part].process
        assert process is not None
        return process.pid

    def _argv(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "workers._entry", *arguments]


Standing = tuple[Shell, Addresses]


def remember_ports(state_dir: Path, ports: Iterable[int]) -> None:
    """Leave what a stack leaves that had these four ports and is gone."""
    sql, redis, grpc, web_ui = ports
    known = {"postgres": {"sql": sql}, "redis": {"redis": redis}, "temporal": {"grpc": grpc, "web_ui": web_ui}}
    parts = {name: PartRecord(source="started", ports=had) for name, had in known.items()}
    state_dir.mkdir(mode=0o700)
    gone = ProcessId(pid=1, started="never")
    write_record(state_dir, StackRecord(supervisor=gone, since=datetime.now(UTC), parts=parts))


def finish(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
    """Stop a supervisor; its status and what it said on stderr."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, errors


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def clean(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """An environment that says nothing about servers but where their state is."""
    kept = {name: value for name, value in environment.items() if not name.startswith(OURS)}
    own = {"SYNDIC_STATE_DIR": str(folder / "state"), "TEMPORAL_CONFIG_FILE": str(folder / "temporal.toml")}
    return {**kept, **own, "PYTHONSAFEPATH": "1"}


@pytest.fixture
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same for this process; returns the state folder, which does not exist yet."""
    environment = clean(os.environ, tmp_path)
    for name in set(os.environ) - set(environment):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "state"


@contextmanager
def opened_shell(folder: Path) -> Iterator[Shell]:
    """A shell that sees to it that no process of its stacks is left."""
    shell = Shell(folder / "state", clean(os.environ, folder))
    yield shell
    for process in shell.started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=PATIENCE_S)
    left = [process.pid for process in shell.seen if is_alive(process)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"left behind: {left}"
    shutil.rmtree(shell.state_dir, ignore_errors=True)  # a cluster takes 45 MB, and pytest keeps three runs


@pytest.fixture
def shell(clean_environment: Path) -> Iterator[Shell]:
    with opened_shell(clean_environment.parent) as shell:
        yield shell


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shell, Addresses]]:
    """One stack for all tests of a module that change nothing about it."""
    with opened_shell(tmp_path_factory.mktemp("standing")) as shell:
        _, addresses = shell.up()
        yield shell, addresses
