"""One SIGKILL of the worker at each ordinal of a fixed run, on real processes, a real provider and real servers.

The database itself says when: a trigger of the test's own tells of each step that is committed, and the test kills the worker
at the wanted one. A kill while the provider is answering is made by the provider. Every third run also meets feedback or an
overloaded model before the restart, so that another model of the chain goes on.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.provider import Provider, serving
from tests.support.running import BUGGY, Running, eventually, make_repository, running

pytestmark = pytest.mark.chaos

MODEL = "gpt-4o-mini"
CHAIN = [f"openai/{MODEL}", "openai/gpt-4o"]
TELL = """
CREATE OR REPLACE FUNCTION public.tell_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('steps', NEW.thread || ' ' || NEW.ordinal); RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER tell AFTER INSERT OR UPDATE ON syndic.steps FOR EACH ROW EXECUTE FUNCTION public.tell_step();
"""
TASK = "mend"


@dataclass
class Arena:
    """One stack, one provider; each run is a project of its own on the same repository."""

    stack: Running
    provider: Provider
    repository: Path

    def start(self, project: str) -> str:
        spec = {
            "project": project,
            "goal": "Make the tests pass",
            "repository": str(self.repository),
            "autonomy": "autonomous",
            "models": {"default": CHAIN},
            "task": {
                "id": TASK,
                "title": "Repair clamp",
                "kind": "change",
                "instructions": "Make the failing tests pass.",
                "scope": ["tiny/**"],
                "params": {
                    "intent": "repair",
                    "tests": ["tests/test_clamp.py::test_above", "tests/test_clamp.py::test_inside"],
                },
            },
        }
        path = self.stack.folder / f"{project}.json"
        path.write_text(json.dumps(spec))
        workflow = f"project/{project}/sprint/1/task/{TASK}"
        self.stack.temporal(
            "workflow", "start", "--type", "AgentTask", "--task-queue", "syndic", "--workflow-id", workflow,
            "--input-file", str(path),
        )  # fmt: skip
        return workflow

    def finish(self, workflow: str) -> dict[str, Any]:
        done = self.stack.temporal("workflow", "result", "--workflow-id", workflow, "--output", "json")
        return json.loads(done.stdout)["result"]

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.addresses["owner_database_url"], autocommit=True) as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def thread(self, project: str) -> str:
        return f"{project}/s1/{TASK}/engineer-1.1"

    def steps(self, project: str) -> list[tuple[Any, ...]]:
        """(ordinal, sub, kind) of the engineer's journaled steps."""
        query = "SELECT ordinal, sub, kind FROM syndic.steps WHERE thread = %s AND status = 'done' ORDER BY 1, 2"
        return self.rows(query, self.thread(project))

    def tree(self, project: str) -> str:
        """The tree of the delivered branch."""
        branch = f"syndic/{project}.s1.{TASK}"
        done = subprocess.run(
            ["git", "rev-parse", f"{branch}^{{tree}}"], cwd=self.repository, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    folder = tmp_path_factory.mktemp("chaos")
    with serving() as provider:
        keys = {"OPENAI_API_KEY": "test-key", "OPENAI_BASE_URL": provider.url, "OPENAI_API_BASE": provider.url}
        with running(folder, keys) as stack:
            stack.start_worker()
            stack.make_current()
            with psycopg.connect(stack.addresses["owner_database_url"], autocommit=True) as connection:
                connection.execute(TELL)
            yield Arena(stack, provider, make_repository(folder / "repository", BUGGY))


@pytest.fixture(scope="module")
def quiet(arena: Arena) -> dict[str, Any]:
    """The fixed run with no kill: how many calls it needs, which steps it takes, which tree it leaves."""
    before = arena.provider.calls
    report = arena.finish(arena.start("quiet"))
    assert report["state"] == "accepted", report
    return {
        "calls": arena.provider.calls - before,
        "steps": arena.steps("quiet"),
        "tree": arena.tree("quiet"),
        "model_calls": report["model_calls"],
    }


def test_with_no_kill_the_provider_is_asked_exactly_once_a_step(arena: Arena, quiet: dict[str, Any]) -> None:
    asked = arena.rows("SELECT count(*) FROM syndic.steps WHERE thread LIKE 'quiet/%%' AND kind = 'model'")[0][0]
    assert quiet["calls"] == asked == quiet["model_calls"]


@pytest.mark.parametrize(
    "stride",
    [pytest.param(1, id="every", marks=[pytest.mark.timeout(1200)]), pytest.param(12, id="twelfth")],
)
def test_a_kill_at_each_ordinal_costs_no_journaled_answer(arena: Arena, quiet: dict[str, Any], stride: int) -> None:
    problems: list[str] = []
    ordinals = sorted({ordinal for ordinal, _, _ in quiet["steps"]})
    for place, ordinal in enumerate(ordinals[::stride]):
        project = f"kill-{stride}-{ordinal}"
        before = arena.provider.calls
        workflow = _start_and_kill(arena, project, ordinal)
        _meet_something_new(arena, workflow, place)
        arena.stack.start_worker()
        report = arena.finish(workflow)
        problems += _differences(arena, quiet, project, report, arena.provider.calls - before)
    assert problems == []


def test_a_kill_while_the_provider_answers_is_the_one_listed_in_doubt(arena: Arena, quiet: dict[str, Any]) -> None:
    before = arena.provider.calls
    wanted = before + 3

    def kill(number: int) -> None:
        if number == wanted:
            arena.stack.kill_worker()

    arena.provider.before_answer = kill
    try:
        workflow = arena.start("answering")
        eventually(lambda: arena.stack.workers[-1].poll() is not None, "the kill in mid-answer")
    finally:
        arena.provider.before_answer = None
    arena.stack.start_worker()
    report = arena.finish(workflow)
    assert _differences(arena, quiet, "answering", report, arena.provider.calls - before) == []
    assert _in_doubt(arena, "answering") == 1
    assert arena.provider.calls - before == quiet["calls"] + 1


def _start_and_kill(arena: Arena, project: str, ordinal: int) -> str:
    """Start the run and kill the worker the moment that the step is committed; returns the workflow id."""
    with psycopg.connect(arena.stack.addresses["owner_database_url"], autocommit=True) as connection:
        connection.execute("LISTEN steps")
        workflow = arena.start(project)
        for news in connection.notifies(timeout=120):
            thread, at = news.payload.rsplit(" ", 1)
            if thread == arena.thread(project) and int(at) >= ordinal:
                arena.stack.kill_worker()
                return workflow
    raise AssertionError(f"{project} never came to step {ordinal}")


def _meet_something_new(arena: Arena, workflow: str, place: int) -> None:
    """A third of the runs: by turns a person's feedback, or a model that is overloaded from now on."""
    arena.provider.overloaded = frozenset([MODEL] if place % 6 == 3 else [])
    if place % 6 == 0:
        _send_feedback(arena, workflow)


def _send_feedback(arena: Arena, workflow: str) -> None:
    arena.stack.temporal(
        "workflow", "signal", "--workflow-id", workflow, "--name", "feedback",
        "--input", json.dumps({"text": "Please keep the change small.", "by": "me"}),
    )  # fmt: skip


def _in_doubt(arena: Arena, project: str) -> int:
    query = "SELECT count(*) FROM syndic.attempts WHERE thread LIKE %s AND state = 'in_doubt'"
    return arena.rows(query, f"{project}/%")[0][0]


def _differences(arena: Arena, quiet: dict[str, Any], project: str, report: dict[str, Any], calls: int) -> list[str]:
    """What a killed run shows that the quiet one does not; empty when nothing was lost, doubled or half written."""
    found = []
    doubt = _in_doubt(arena, project)
    if report["state"] != "accepted":
        found.append(f"{project}: {report['state']}: {report['summary']}")
    if not quiet["calls"] <= calls <= quiet["calls"] + doubt:
        found.append(f"{project}: {calls} calls, minimum {quiet['calls']}, in doubt {doubt}")
    if report["state"] == "accepted" and arena.tree(project) != quiet["tree"]:
        found.append(f"{project}: the tree differs")
    verified = arena.stack.syndic("ledger", "verify", project, check=False)
    if verified.returncode:
        found.append(f"{project}: {verified.stdout}{verified.stderr}")
    return found
