"""The worker is killed at every answer of a person: between the answer and what it unblocks, or before it came."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.running import BIN, BUGGY, Running, eventually, make_repository, running

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

KINDS = ["architecture", "plan", "task", "review", "merge", "milestone"]
"""What a supervised project of one change is asked about."""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as started:
        started.start_worker()
        started.make_current()
        yield started


class Person:
    """Answers each request of one project once, and kills the worker around it."""

    def __init__(self, stack: Running, project: str, first: int) -> None:
        self._stack = stack
        self._project = project
        self._turn = first
        self.seen: list[str] = []

    def answer(self) -> bool:
        """Answer what is open; whether the project has ended."""
        for workflow_id in self._awaiting():
            for view in self._open(workflow_id):
                if view["id"] not in self.seen:
                    self.seen.append(view["id"])
                    self._answer(workflow_id, view)
        return self._stack.has_ended(f"project/{self._project}")

    def _awaiting(self) -> list[str]:
        query = f'SyndicProject="{self._project}" AND SyndicAwaiting IS NOT NULL AND ExecutionStatus="Running"'
        found = json.loads(
            self._stack.temporal("workflow", "list", "--query", query, "--output", "json").stdout or "[]"
        )
        return [workflow["execution"]["workflowId"] for workflow in found]

    def _open(self, workflow_id: str) -> list[dict[str, Any]]:
        words = ("workflow", "query", "--workflow-id", workflow_id, "--name", "approvals", "--output", "json")
        done = self._stack.temporal(*words, check=False)  # there may be no worker yet
        return [] if done.returncode else json.loads(done.stdout)["queryResult"][0]["open"] or []

    def _answer(self, workflow_id: str, view: dict[str, Any]) -> None:
        content = {
            "approval": view["id"],
            "decision": "approve",
            "by": "me",
            "digest": view["digest"],
            "id": view["id"],
        }
        words = ["--workflow-id", workflow_id, "--name"]
        given = ["--input", json.dumps(content)]
        self._turn += 1
        if self._turn % 3 == 0:
            self._stack.temporal("workflow", "signal", *words, "decide", *given)
            self._stack.kill_worker()
            self._stack.start_worker()
        elif self._turn % 3 == 1:
            self._stack.kill_worker()
            self._stack.temporal("workflow", "signal", *words, "decide", *given)
            self._stack.start_worker()
        else:
            self._update([*words, "decide_now", *given])
        self._stack.temporal(
            "workflow", "signal", *words, "decide", *given, check=False
        )  # again; its workflow may have ended

    def _update(self, words: list[str]) -> None:
        """By update, whose sender is still there when the next worker comes."""
        command = [str(BIN / "temporal"), "workflow", "update", "execute", *words, "--output", "json"]
        asked = subprocess.Popen(command, env=self._stack.env, stdout=subprocess.PIPE)
        self._stack.kill_worker()
        self._stack.start_worker()
        told, _ = asked.communicate(timeout=120)
        assert b"approved" in told, told


def entries(stack: Running, project: str) -> list[tuple[str, dict[str, Any]]]:
    with psycopg.connect(stack.addresses["owner_database_url"], autocommit=True) as connection:
        rows = connection.execute(
            "SELECT kind, payload FROM syndic.entries WHERE project = %s ORDER BY seq", (project,)
        )
        return [(kind, json.loads(payload)["body"]) for kind, payload in rows.fetchall()]


@pytest.mark.parametrize(("mode", "first"), [("strict", 0), ("auto", 1), ("strict", 2)])
def test_every_answer_acts_once_although_its_worker_is_killed(
    stack: Running, tmp_path: Path, mode: str, first: int
) -> None:
    repository = make_repository(tmp_path / "repository", BUGGY)
    brief = {"goal": "Make the tests pass", "repository": str(repository), "mode": mode, "autonomy": "supervised"}
    stack.temporal(
        "workflow", "start", "--type", "Project", "--task-queue", "syndic", "--workflow-id", "project/killed",
        "--input", json.dumps(brief),
    )  # fmt: skip
    person = Person(stack, "killed", first)
    eventually(person.answer, "the end of the project", within_s=600)
    shown = stack.temporal("workflow", "result", "--workflow-id", "project/killed", "--output", "json")
    report = json.loads(shown.stdout)["result"]
    assert (report["state"], report["tasks_merged"], report["approvals"]) == ("done", 1, len(KINDS)), report
    written = entries(stack, "killed")
    assert [body["approval_kind"] for kind, body in written if kind == "decision_made"] == KINDS
    for kind in ("approval_requested", "decision_made", "decision_consumed"):
        assert Counter(body["approval"] for found, body in written if found == kind) == Counter(person.seen), kind
    assert [body for kind, body in written if kind == "message_refused"] == []
    stack.syndic("ledger", "verify", "killed")
