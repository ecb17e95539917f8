"""The whole product as processes: `syndic up`, `syndic worker`, the `temporal` binary, a small target repository."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

BIN = Path(sys.executable).parent
COMMAND_S = 120.0
LOG_LINES = 200


def eventually(read: Callable[[], T | None], what: str, within_s: float = 60.0) -> T:
    """Ask until there is an answer; the deadline is the test's, not a time-out to be tuned."""
    deadline = time.monotonic() + within_s
    while True:
        answer = read()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not seen within {within_s:.0f} s")
        time.sleep(0.05)


@dataclass
class Running:
    """A stack that is up, and the workers that a test starts on it."""

    env: dict[str, str]
    addresses: dict[str, Any]
    folder: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self, **extra: str) -> subprocess.Popen[bytes]:
        """One worker for all queues; its log goes to `worker-<n>.log` in the test's folder."""
        command = [str(BIN / "syndic"), "worker", "--build-id", "test"]
        with (self.folder / f"worker-{len(self.workers)}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env={**self.env, **extra}, stdout=log, stderr=log, start_new_session=True
            )
        self.workers.append(process)
        return process

    def make_current(self) -> None:
        self.syndic("rollout", "--build-id", "test")

    def kill_worker(self) -> None:
        """SIGKILL the newest worker, and wait until it is gone."""
        self.workers[-1].kill()
        self.workers[-1].wait()

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("worker-*.log")))

    def syndic(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run([str(BIN / "syndic"), *arguments], check=check)

    def temporal(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run([str(BIN / "temporal"), *arguments], check=check)

    def run(self, command: list[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        try:
            done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=COMMAND_S, check=False)
        except subprocess.TimeoutExpired as expired:
            raise AssertionError(self._told_by(expired)) from None
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def _told_by(self, expired: subprocess.TimeoutExpired) -> str:
        """All that is there to find out why: what the command said, what is open, what the workers did and what they do."""
        said = [(stream or b"").decode(errors="replace") for stream in (expired.stdout, expired.stderr)]
        ended = [
            f"worker {worker.pid} ended with {worker.returncode}"
            for worker in self.workers
            if worker.poll() is not None
        ]
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGUSR1)
        listing = [str(BIN / "temporal"), "workflow", "list", "--query", "ExecutionStatus='Running'"]
        still = subprocess.run(listing, env=self.env, capture_output=True, text=True, timeout=COMMAND_S, check=False)
        logs = self.logs().splitlines()[-LOG_LINES:]
        took = f"{' '.join(map(str, expired.cmd))} took over {COMMAND_S:.0f} s:"
        return "\n".join([took, *said, *ended, still.stdout, still.stderr, *logs])

    def query(self, workflow_id: str, name: str) -> dict[str, Any]:
        """Answer of a workflow query, as the `temporal` binary prints it."""
        done = self.temporal("workflow", "query", "--workflow-id", workflow_id, "--name", name, "--output", "json")
        return json.loads(done.stdout)["queryResult"][0]

    def has_ended(self, workflow_id: str) -> bool:
        """Whether a workflow is closed, in whatever way."""
        shown = self.temporal("workflow", "describe", "--workflow-id", workflow_id, "--output", "json").stdout
        return json.loads(shown)["workflowExecutionInfo"]["status"] != "WORKFLOW_EXECUTION_STATUS_RUNNING"

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:  # the number of one that is gone may be somebody else's by now
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


def running_environment(folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a newcomer's shell would have, with home and state folder below `folder`."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    passed = {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_", "REQUESTS_"))
    }
    return {
        **kept,
        **passed,
        "PATH": f"{BIN}{os.pathsep}{kept.get('PATH', '')}",
        "HOME": str(home),
        "SYNDIC_STATE_DIR": str(folder / "state"),
        "SYNDIC_LOG_FORMAT": "json",
        **(extra or {}),
    }


@contextmanager
def running(folder: Path, extra: Mapping[str, str] | None = None) -> Iterator[Running]:
    """A stack without a worker in a folder of its own; nothing of it is left afterwards."""
    env = running_environment(folder, extra)
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [str(BIN / "syndic"), "up", "--no-worker", "--json"], env=env, stdout=subprocess.PIPE, stderr=log
        )
    stack: Running | None = None
    try:
        assert up.stdout is not None
        line = up.stdout.readline()
        if not line:
            raise AssertionError(f"syndic up said nothing:\n{(folder / 'up.log').read_text()}")
        addresses = json.loads(line)
        env = {**env, "TEMPORAL_ADDRESS": addresses["temporal"], "TEMPORAL_NAMESPACE": addresses["namespace"]}
        stack = Running(env, addresses, folder)
        yield stack
    finally:
        if stack:
            stack.close()
        up.send_signal(signal.SIGTERM)
        up.communicate(timeout=60)


def make_repository(folder: Path, files: Mapping[str, str]) -> Path:
    """A git repository with one commit on `main`."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost"]
        subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True)
    return folder


BUGGY = {
    "pyproject.toml": '[project]\nname = "tiny"\nversion = "1"\nrequires-python = ">=3.9"\n[tool.ruff.lint]\nselect = ["F"]\n',
    "tiny/__init__.py": "",
    "tiny/clamp.py": (
        "import os\n\n\ndef clamp(value, low, high):\n    if value < low:\n        return low\n    if value < high:\n"
        "        return high\n    return value\n"
    ),
    "tests/test_clamp.py": (
        "from tiny.clamp import clamp\n\n\ndef test_below():\n    assert clamp(1, 3, 5) == 3\n\n\n"
        "def test_above():\n    assert clamp(9, 3, 5) == 5\n\n\ndef test_inside():\n    assert clamp(4, 3, 5) == 4\n"
    ),
}
"""A package with one bug (two red tests) and one unused import."""
