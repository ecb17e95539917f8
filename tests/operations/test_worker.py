"""How a worker starts and ends: what is wrong is said in one line, and a stop in mid-call costs no model call."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from ledger.postgres import migrate
from tests.support.postgres import as_user, fresh_database
from tests.support.provider import Provider, serving
from tests.support.running import BIN, BUGGY, Running, eventually, make_repository, running
from tests.support.tasks import start_repair
from workers.deployment import VersionNameError, build_id, deployment_version
from workers.stack.ports import choose
from workers.worker import SHUTDOWN_GRACE

PASSWORD = "a-password-that-nobody-may-see"
PROJECT = "stopped"
WORKFLOW = f"project/{PROJECT}/sprint/1/task/mend"
MISTAKES = (
    "queue", "build id", "deployment", "temporal", "namespace", "postgres", "login", "redis", "old schema", "new schema",
)  # fmt: skip
IN_FLIGHT = 4
"""The model call during which the worker is told to stop."""


@dataclass(frozen=True)
class Mistake:
    """Something wrong with a worker's start, and what must be said about it."""

    says: str
    options: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    code: int = 1


def _nowhere() -> str:
    return f"127.0.0.1:{choose()}"


def _old(owner: str) -> None:
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("DELETE FROM syndic.migrations WHERE version = (SELECT max(version) FROM syndic.migrations)")


def _new(owner: str) -> None:
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("INSERT INTO syndic.migrations (version, name, digest) VALUES (999, 'later', 'x')")


def _database(stack: ExitStack, owner: str, change: Callable[[str], None]) -> dict[str, str]:
    """A database of its own whose schema is not this build's."""
    dsn = stack.enter_context(fresh_database(owner))
    with ThreadPoolExecutor(1) as thread:  # of its own: fixtures are also asked for from inside a running event loop
        thread.submit(asyncio.run, migrate(dsn)).result()
    change(dsn)
    return {"SYNDIC_DATABASE_URL": dsn}


def _mistakes(stack: ExitStack, addresses: dict[str, Any]) -> dict[str, Mistake]:
    url, owner = addresses["database_url"], addresses["owner_database_url"]
    away = urlunsplit(urlsplit(url)._replace(netloc=f"syndic:{PASSWORD}@{_nowhere()}"))
    return {
        "queue": Mistake("unknown task queue nope; Syndic has syndic, syndic-agents, syndic-tools", ("--queues", "nope"), code=2),
        "build id": Mistake("build id 'a b:c' cannot be used", ("--build-id", "a b:c"), code=2),
        "deployment": Mistake("deployment 'a.b' cannot be used", ("--deployment", "a.b"), code=2),
        "temporal": Mistake("Temporal does not answer at", variables={"TEMPORAL_ADDRESS": _nowhere()}),
        "namespace": Mistake("has no namespace nowhere", variables={"TEMPORAL_NAMESPACE": "nowhere"}),
        "postgres": Mistake("cannot be reached", variables={"SYNDIC_DATABASE_URL": away}),
        "login": Mistake("password authentication failed", variables={"SYNDIC_DATABASE_URL": as_user(url, "syndic", PASSWORD)}),
        "redis": Mistake("Redis at 127.0.0.1:", variables={"SYNDIC_REDIS_URL": f"redis://:{PASSWORD}@{_nowhere()}/0"}),
        "old schema": Mistake("migrate it first", variables=_database(stack, owner, _old)),
        "new schema": Mistake("has schema version 999, this build knows", variables=_database(stack, owner, _new)),
    }  # fmt: skip


@dataclass
class Story:
    """One stack: a task whose worker was stopped in mid-call, and workers that could not start."""

    stack: Running
    provider: Provider
    report: dict[str, Any]
    stopped_with: int
    was_waiting: bool
    """Whether the worker was still there while the provider had not answered."""
    mistakes: dict[str, Mistake]
    ended: dict[str, subprocess.CompletedProcess[str]]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.addresses["owner_database_url"], autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()


def _start_badly(stack: Running, mistake: Mistake) -> subprocess.CompletedProcess[str]:
    addresses = stack.addresses
    here = {"SYNDIC_DATABASE_URL": addresses["database_url"], "SYNDIC_REDIS_URL": addresses["redis_url"]}
    command = [str(BIN / "syndic"), "worker", *mistake.options]
    env = {**stack.env, **here, **mistake.variables}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("worker")
    asked, answer = threading.Event(), threading.Event()

    def hold(number: int) -> None:
        if number == IN_FLIGHT:
            asked.set()
            answer.wait(60)

    with ExitStack() as exits:
        provider = exits.enter_context(serving(before_answer=hold))
        keys = {"OPENAI_API_KEY": "test-key", "OPENAI_API_BASE": provider.url}
        stack = exits.enter_context(running(folder, keys))
        first = stack.start_worker()
        mistakes = _mistakes(exits, stack.addresses)
        with ThreadPoolExecutor(2) as threads:
            ended = dict(zip(mistakes, threads.map(partial(_start_badly, stack), mistakes.values()), strict=True))
        stack.make_current()
        start_repair(stack, PROJECT, make_repository(folder / "repository", BUGGY), "openai/gpt-4o-mini")
        eventually(asked.is_set, "a model call in flight", within_s=150)
        first.terminate()
        eventually(lambda: "worker_stopping" in stack.logs(), "a worker that was told to stop")
        stack.start_worker()
        eventually(lambda: stack.logs().count("worker_started") == 2, "the next worker")
        was_waiting = first.poll() is None
        answer.set()
        stopped_with = first.wait(SHUTDOWN_GRACE.total_seconds() + 10)
        done = stack.temporal("workflow", "result", "--workflow-id", WORKFLOW, "--output", "json")
        yield Story(stack, provider, json.loads(done.stdout)["result"], stopped_with, was_waiting, mistakes, ended)


@pytest.mark.chaos
@pytest.mark.parametrize("name", MISTAKES)
def test_a_worker_that_cannot_start_says_why_in_one_line(story: Story, name: str) -> None:
    mistake, done = story.mistakes[name], story.ended[name]
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert mistake.says in line
    assert PASSWORD not in line
    assert done.returncode == mistake.code


@pytest.mark.parametrize(
    "names", [("syndic", ""), ("", "v1"), ("syndic", "__v1"), ("syndic", "v" * 101), ("a:b", "v1")]
)
def test_names_that_the_server_would_refuse_are_refused_before_a_worker_polls_in_vain(names: tuple[str, str]) -> None:
    with pytest.raises(VersionNameError):
        deployment_version(*names)


def test_this_builds_own_id_is_one_that_can_be_used() -> None:
    assert deployment_version("syndic", build_id()).build_id == build_id()


def test_stacks_are_told_on_request_and_as_last_words() -> None:
    script = (
        "import os, signal; from workers.telemetry import tell_stacks; tell_stacks(); "
        "os.kill(os.getpid(), signal.SIGUSR1); print('works on', flush=True); os.abort()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGABRT, "works on\n")
    asked, died = done.stderr.split("Fatal Python error: Aborted")
    for told in (asked, died):
        assert "most recent call first" in told


@pytest.mark.chaos
def test_a_worker_that_is_told_to_stop_finishes_its_call_and_ends_well(story: Story) -> None:
    assert story.was_waiting
    assert story.stopped_with == 0


@pytest.mark.chaos
def test_another_worker_goes_on_without_an_extra_model_call(story: Story) -> None:
    assert story.report["state"] == "accepted", story.report
    [(steps,)] = story.rows("SELECT count(*) FROM syndic.steps WHERE kind = 'model' AND status = 'done'")
    assert story.provider.calls == steps == story.report["model_calls"]
    bodies = [json.dumps(body, sort_keys=True) for body in story.provider.bodies]
    assert len(set(bodies)) == len(bodies)
    assert story.rows("SELECT * FROM syndic.in_doubt") == []


@pytest.mark.chaos
def test_both_workers_took_part(story: Story) -> None:
    by_worker = story.rows("SELECT worker, count(*) FROM syndic.steps WHERE kind = 'model' GROUP BY 1")
    assert len(by_worker) == 2
    first = story.rows(
        "SELECT worker, count(*) FROM syndic.steps WHERE kind = 'model' GROUP BY 1 ORDER BY min(started_at) LIMIT 1"
    )
    assert first[0][1] == IN_FLIGHT
