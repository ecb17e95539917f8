"""Provider keys from Vault, on real processes: rotation, a Vault that is away or sealed, and that a key is left nowhere.

The target prints the environment of its tests, and small programs in front of `git` and `bwrap` write down theirs, so that
what child processes are given is looked at and not assumed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from redis import Redis

from agents.vault import CACHE_S
from tests.support.provider import Provider, serving
from tests.support.running import BUGGY, Running, eventually, make_repository, running
from tests.support.tasks import start_repair
from tests.support.vault import TOKEN, FakeVault
from tests.support.vault import serving as vault_serving
from workers.stack.ports import choose

pytestmark = pytest.mark.chaos

MODEL = "openai/gpt-4o-mini"
KEYS = ("sk-first-0123456789abcdef", "sk-second-0123456789abcdef", "sk-third-0123456789abcdef")
SECRETS = (*KEYS, TOKEN)
PROJECT = "vaulted"
WORKFLOW = f"project/{PROJECT}/sprint/1/task/mend"
MARK = "ENVIRONMENT-OF-A-TEST"
LEAKY = {
    **BUGGY,
    "tests/test_clamp.py": (
        "import os\n\nfrom tiny.clamp import clamp\n\n\ndef test_above():\n"
        f'    assert clamp(9, 3, 5) == 5, "{MARK} " + " ".join(f"{{k}}={{v}}" for k, v in os.environ.items())\n'
    ),
}
"""The package with one red test, which shows the environment it runs in."""


@dataclass
class Story:
    """One task that met all of it, and what was seen on the way."""

    stack: Running
    provider: Provider
    shims: Path
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What `temporal workflow describe` showed of the pending activity, by Vault's state."""
    report: dict[str, Any] = field(default_factory=dict)

    def used(self) -> list[int]:
        """Which of the keys each answered call was made with."""
        return [KEYS.index(headers["Authorization"].removeprefix("Bearer ")) for headers in self.provider.headers]

    def children(self) -> str:
        """Environments and arguments of every git and sandbox that the worker started."""
        return "\n".join(path.read_text(errors="replace") for path in self.shims.glob("*.seen"))


def _record_children(folder: Path) -> Path:
    """Programs that note their environment and arguments, and then become the real ones."""
    folder.mkdir()
    for name in ("git", "bwrap"):
        real, seen = shutil.which(name), folder / f"{name}.seen"
        assert real, f"{name} is not installed"
        seen.touch()
        (folder / name).write_text(f'#!/bin/sh\n{{ env; echo "ARGUMENTS $*"; }} >>"{seen}"\nexec "{real}" "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def _rotate(provider: Provider, vault: FakeVault) -> None:
    """A new key while an answer is under way; later the provider revokes it, and Vault has the next one only then."""

    def act(number: int) -> None:
        if number == 3:
            vault.fields["OPENAI_API_KEY"] = KEYS[1]
            threading.Event().wait(CACHE_S + 0.2)  # a slow answer: what was read before it is too old afterwards
        if number == 6:
            provider.revoked.add(KEYS[1])

    provider.before_answer = act
    provider.before_refusal = lambda: vault.fields.update(OPENAI_API_KEY=KEYS[2])


def _pending_failure(stack: Running, text: str) -> dict[str, Any] | None:
    done = stack.temporal("workflow", "describe", "--workflow-id", WORKFLOW, "--output", "json")
    for activity in json.loads(done.stdout).get("pendingActivities", ()):
        if text in activity.get("lastFailure", {}).get("message", ""):
            return activity
    return None


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("vault")
    shims = _record_children(folder / "shims")
    port = choose()
    with ExitStack() as exits:
        provider = exits.enter_context(serving())
        vault = FakeVault(fields={"OPENAI_API_KEY": KEYS[0], "OPENAI_API_BASE": provider.url}, sealed=True)
        _rotate(provider, vault)
        stack = exits.enter_context(running(folder))
        story = Story(stack, provider, shims)
        path = f"{shims}{os.pathsep}{stack.env['PATH']}"
        stack.start_worker(PATH=path, VAULT_ADDR=f"http://127.0.0.1:{port}", VAULT_TOKEN=TOKEN)
        stack.make_current()
        start_repair(stack, PROJECT, make_repository(folder / "repository", LEAKY), MODEL)
        story.failures["away"] = eventually(
            lambda: _pending_failure(stack, "cannot be reached"), "a Vault that is away", within_s=150
        )
        exits.enter_context(vault_serving(vault, port))
        story.failures["sealed"] = eventually(lambda: _pending_failure(stack, "is sealed"), "a sealed Vault")
        vault.sealed = False
        done = stack.temporal("workflow", "result", "--workflow-id", WORKFLOW, "--output", "json")
        story.report = json.loads(done.stdout)["result"]
        yield story


def test_a_vault_that_is_away_or_sealed_is_a_clear_failure_that_is_tried_again(story: Story) -> None:
    for state, words in {"away": "check VAULT_ADDR", "sealed": "unseal it and the run goes on"}.items():
        activity = story.failures[state]
        assert words in activity["lastFailure"]["message"]
        failure = activity["lastFailure"]["applicationFailureInfo"]
        assert failure["type"] == "VaultError"
        assert not failure.get("nonRetryable")
        assert activity["activityType"]["name"] == "agent_run"


def test_the_run_goes_on_once_vault_answers(story: Story) -> None:
    assert story.report["state"] == "accepted", story.report
    assert story.report["model_calls"] == story.provider.calls


def test_a_rotated_key_is_used_on_the_next_call(story: Story) -> None:
    used = story.used()
    assert used[:3] == [0, 0, 0]
    assert used[3:6] == [1, 1, 1]


def test_a_revoked_key_is_read_again_and_the_run_goes_on(story: Story) -> None:
    assert set(story.used()[6:]) == {2}


def test_no_secret_is_in_any_workflow_history(story: Story) -> None:
    listed = json.loads(story.stack.temporal("workflow", "list", "--output", "json").stdout)
    names = {run["execution"]["workflowId"] for run in listed}
    assert WORKFLOW in names
    for name in names:
        shown = story.stack.temporal("workflow", "show", "--workflow-id", name, "--output", "json").stdout
        described = story.stack.temporal("workflow", "describe", "--workflow-id", name, "--output", "json").stdout
        assert _found(f"{shown}{described}") == [], name


def test_no_secret_is_in_the_record(story: Story) -> None:
    text = _dump(story.stack.addresses["owner_database_url"])
    assert re.search(rf"{MARK} \w+=", text)  # the target's own output is in there, so a leak into it would be too
    assert "run_finished" in text
    assert _found(text) == []


def test_no_secret_is_in_the_workers_log_or_the_feed(story: Story) -> None:
    logs = story.stack.logs()
    assert "Incorrect API key provided" in logs  # the provider quoted the key when it refused it
    assert _found(logs) == []
    with Redis.from_url(story.stack.addresses["redis_url"]) as redis:
        feed = redis.xrange("syndic:{vaulted}:feed")
        assert feed
        streams = [redis.xrange(key) for key in redis.scan_iter("*", _type="stream")]
    assert _found(repr(streams)) == []


def test_no_secret_is_in_the_environment_or_arguments_of_a_child(story: Story) -> None:
    seen = story.children()
    assert (story.shims / "git.seen").read_text().count("ARGUMENTS") > 5
    assert (story.shims / "bwrap.seen").read_text().count("ARGUMENTS") > 2
    assert _found(seen) == []
    assert [name for name in ("VAULT_TOKEN=", "VAULT_ADDR=", "OPENAI_API_KEY=") if name in seen] == []


def test_no_secret_is_in_any_file_that_the_run_left(story: Story) -> None:
    """Servers' data included: what a database keeps outside of its tables would show here."""
    paths = [path for path in story.stack.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(paths) > 50
    leaks = [str(path) for path in paths if any(secret.encode() in path.read_bytes() for secret in SECRETS)]
    assert leaks == []


def _found(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def _dump(owner: str) -> str:
    """Every row of every table and view of the record, as text; documents too."""
    with psycopg.connect(owner, autocommit=True) as connection:
        tables = connection.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'syndic'")
        parts = [
            str(row)
            for (name,) in tables.fetchall()
            for row in connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier("syndic", name)))
        ]
    return "\n".join(parts)
