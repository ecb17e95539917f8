"""SIGKILL of everything at once in mid-sprint: supervisor, Temporal, Postgres, Redis, worker. Then `syndic up` again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.provider import serving
from tests.support.running import BIN, BUGGY, Running, eventually, make_repository, running_environment


@contextmanager
def _up(env: dict[str, str], folder: Path, name: str) -> Iterator[tuple[subprocess.Popen[bytes], Running]]:
    """`syndic up` with its worker; ends by SIGTERM unless it is gone already."""
    with (folder / name).open("wb") as log:
        process = subprocess.Popen([str(BIN / "syndic"), "up", "--json"], env=env, stdout=subprocess.PIPE, stderr=log)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (folder / name).read_text()
    addresses: dict[str, Any] = json.loads(line)
    try:
        reached = {"TEMPORAL_ADDRESS": addresses["temporal"], "TEMPORAL_NAMESPACE": addresses["namespace"]}
        yield process, Running({**env, **reached}, addresses, folder)
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def _pids(state: Path) -> list[int]:
    record = json.loads((state / "stack.json").read_text())
    found: list[int] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            found.extend(number for key, number in value.items() if key == "pid" and isinstance(number, int))
            for inner in value.values():
                walk(inner)

    walk(record)
    return found


@pytest.mark.chaos
def test_a_project_goes_on_after_everything_was_killed_in_mid_sprint(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", BUGGY)
    brief = tmp_path / "brief.json"
    goal = "Repair the failing tests and tidy the lint findings"
    models = {"default": ["openai/gpt-4o-mini"]}
    brief.write_text(
        json.dumps({"goal": goal, "repository": str(repository), "autonomy": "autonomous", "models": models})
    )
    with serving(delay_s=0.05) as provider:
        keys = {"OPENAI_API_KEY": "test-key", "OPENAI_BASE_URL": provider.url, "OPENAI_API_BASE": provider.url}
        env = running_environment(tmp_path, keys)
        with _up(env, tmp_path, "up-1.log") as (_, stack):
            stack.temporal(
                "workflow", "start", "--type", "Project", "--task-queue", "syndic", "--workflow-id", "project/tiny",
                "--input-file", str(brief),
            )  # fmt: skip
            eventually(lambda: _steps(stack, "tiny/s1/%/engineer-%") >= 3, "an engineer at work", within_s=120)
            for pid in _pids(tmp_path / "state"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with _up(env, tmp_path, "up-2.log") as (_, stack):
            shown = stack.temporal("workflow", "result", "--workflow-id", "project/tiny", "--output", "json")
            report = json.loads(shown.stdout)["result"]
            asked = _count(stack, "SELECT count(*) FROM syndic.steps WHERE kind = 'model' AND status = 'done'")
            doubt = _count(stack, "SELECT count(*) FROM syndic.attempts WHERE state = 'in_doubt'")
            assert report["state"] == "done", report
            assert report["tasks_merged"] == 2
            assert report["ledger_verified"] is True
            assert asked <= provider.calls <= asked + doubt
            stack.syndic("ledger", "verify", "tiny")
    merged = subprocess.run(
        ["git", "show", "syndic/tiny:tiny/clamp.py"], cwd=repository, check=True, capture_output=True, text=True
    ).stdout
    assert "if value > high:" in merged
    assert "import os" not in merged


def _steps(stack: Running, thread: str) -> int:
    return _count(stack, "SELECT count(*) FROM syndic.steps WHERE thread LIKE %s", thread)


def _count(stack: Running, query: str, *parameters: str) -> int:
    with psycopg.connect(stack.addresses["owner_database_url"], autocommit=True) as connection:
        row = connection.execute(query.encode(), parameters or None).fetchone()
    assert row is not None
    return row[0]
