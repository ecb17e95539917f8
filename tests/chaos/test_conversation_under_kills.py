"""The team that talks, with its worker killed again and again: every question is settled once, nobody is asked twice."""

from __future__ import annotations

import json
import queue
import random
from collections import Counter
from pathlib import Path

import pytest

from agents.rehearsal.server import serving
from agents.rehearsal.wire import Asked
from tests.operations.test_conversation import PROJECT, TASKS, Rehearsed
from tests.support.running import BUGGY, Running, make_repository, running
from workers.commands.provider import exports

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

KILLS = 8
CALLS = 55
"""About as many as the project makes without a kill."""


class Deadly(Rehearsed):
    """Says when one of the calls is made before whose answer the worker has to die."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.hold.set()
        self.due = queue.Queue[int]()
        self._numbers = frozenset(random.Random(seed).sample(range(3, CALLS), KILLS))

    def before_answer(self, number: int, asked: Asked) -> None:
        super().before_answer(number, asked)
        if number in self._numbers:
            self.due.put(number)


def _finished(stack: Running) -> bool:
    return stack.has_ended(f"project/{PROJECT}")


def _kill_until_done(stack: Running, provider: Deadly) -> int:
    kills = 0
    while True:
        try:
            provider.due.get(timeout=1)
        except queue.Empty:
            if _finished(stack):
                return kills
            continue
        stack.kill_worker()
        kills += 1
        stack.start_worker()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_team_that_talks_survives_kills(tmp_path: Path, seed: int) -> None:
    repository = make_repository(tmp_path / "repository", BUGGY)
    provider = Deadly(seed)
    with serving(provider) as url, running(tmp_path, exports(url, provider.rehearsal)) as stack:
        stack.start_worker()
        stack.make_current()
        brief = tmp_path / "brief.json"
        spec = {"goal": "Make the tests pass", "repository": str(repository), "project_id": PROJECT, "tasks": TASKS}
        brief.write_text(json.dumps({**spec, "max_parallel": 4, "max_sprints": 1, "autonomy": "autonomous"}))
        stack.syndic("run", str(brief))
        kills = _kill_until_done(stack, provider)
        done = stack.temporal("workflow", "result", "--workflow-id", f"project/{PROJECT}", "--output", "json")
        report = json.loads(done.stdout)["result"]
        entries = json.loads(stack.syndic("ledger", "show", PROJECT, "--json").stdout)
        messages = json.loads(stack.syndic("messages", PROJECT, "--json").stdout)
        stack.syndic("ledger", "verify", PROJECT)
    assert kills >= KILLS // 2
    assert {task["state"] for task in report["tasks"]} == {"merged", "reported"}, report
    asked = Counter(entry["body"]["question"] for entry in entries if entry["kind"] == "question_asked")
    settled = Counter(entry["body"]["question"] for entry in entries if entry["kind"] == "question_settled")
    assert set(asked.values()) == {1}
    assert asked == settled
    read = [m["correlation"] for m in messages if m["type"] == "RESPONSE" and m["state"] == "read"]
    assert sorted(read) == sorted(asked)
    repeated = len(provider.requests) - len(set(provider.requests))
    assert repeated <= report["in_doubt"]
    assert provider.calls <= report["model_calls"] + report["in_doubt"]
