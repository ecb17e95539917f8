"""What one long task leaves behind grows with its calls in Postgres, and not at all in Temporal: whole product, real provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agents.rehearsal import provider as rehearsal
from agents.rehearsal import server
from agents.rehearsal.script import Bill, Rule, Said, Saying
from agents.rehearsal.wire import Asked
from tests.support.running import Running, make_repository, running

pytestmark = pytest.mark.chaos

MODEL = "openai/gpt-4o-mini"
OUTPUT_LINES, LINE = 50, "x" * 99 + "\n"
"""A call of `read_file` gives 50 lines of 100 bytes: 5 KB."""
JUDGES = 4
HISTORY_LIMIT = 2 * 1024 * 1024
TABLES = ("steps", "attempts", "entries", "messages", "artifacts")


class Reader(rehearsal.Provider):
    """An analyst reads another 5 KB with each call and then reports; the judges approve."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0
        self.analyst_calls = 0

    def rule_for(self, asked: Asked) -> Rule:
        if '"role": "judge"' in asked.messages[1]["content"]:
            verdict = {"verdict": "approve", "confidence": 0.9, "reasons": ["it was read"]}
            return _rule(Said(name="finish", arguments=verdict))
        self.analyst_calls += 1
        if asked.turn < self.turns - 1:
            where = {"path": "big.txt", "start": 1 + asked.turn, "end": OUTPUT_LINES + asked.turn}
            return _rule(Said(name="read_file", arguments=where))
        report = {"summary": "read", "markdown": "# Read\n" + LINE * 200, "findings": []}
        return _rule(Said(name="finish", arguments=report))


def _rule(said: Said) -> Rule:
    return Rule(say=Saying(calls=(said,)), bill=Bill(prompt_tokens=1000, completion_tokens=50))


@dataclass(frozen=True)
class Left:
    """What one task of so many calls left."""

    calls: int
    report: dict[str, Any]
    events: int
    history_bytes: int
    activities: int
    record_bytes: int
    """Bytes of all columns of the run's rows."""
    disk_bytes: int
    """By how much the tables and their indexes grew."""


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Left]]:
    folder, reader = tmp_path_factory.mktemp("linear"), Reader()
    repository = make_repository(folder / "repository", {"big.txt": LINE * 400, "README.md": "# big\n"})
    with server.serving(reader) as url:
        extra = {"OPENAI_API_KEY": "sk-test", "OPENAI_API_BASE": f"{url}/v1"}
        with running(folder, extra) as stack:
            stack.start_worker()
            stack.make_current()
            yield {calls: _run(stack, reader, repository, calls) for calls in (10, 100)}


def _run(stack: Running, reader: Reader, repository: Path, calls: int) -> Left:
    reader.turns, before, disk = calls, reader.analyst_calls, _disk(stack)
    project = f"read-{calls}"
    task = {"id": "read", "title": "Read", "kind": "analysis", "instructions": "Read it all.", "role": "analyst"}
    spec = {"project": project, "goal": "Read big.txt", "repository": str(repository), "task": task, "max_steps": 200}
    spec["models"] = {"default": [MODEL]}
    workflow = f"project/{project}/sprint/1/task/read"
    stack.temporal(
        "workflow", "start", "--type", "AgentTask", "--task-queue", "syndic", "--workflow-id", workflow,
        "--input", json.dumps({**spec, "autonomy": "autonomous"}),
    )  # fmt: skip
    done = stack.temporal("workflow", "result", "--workflow-id", workflow, "--output", "json")
    shown = stack.temporal("workflow", "describe", "--workflow-id", workflow, "--output", "json")
    info = json.loads(shown.stdout)["workflowExecutionInfo"]
    history = stack.temporal("workflow", "show", "--workflow-id", workflow, "--output", "json").stdout
    return Left(
        calls=reader.analyst_calls - before,
        report=json.loads(done.stdout)["result"],
        events=int(info["historyLength"]),
        activities=history.count("EVENT_TYPE_ACTIVITY_TASK_SCHEDULED"),
        history_bytes=int(info["historySizeBytes"]),
        record_bytes=_rows(stack, project),
        disk_bytes=_disk(stack) - disk,
    )


def _query(stack: Running, statement: str, *values: object) -> int:
    with psycopg.connect(stack.addresses["database_url"]) as connection:
        row = connection.execute(statement, values).fetchone()  # pyright: ignore[reportArgumentType] - written below
    assert row is not None
    return int(row[0])


def _disk(stack: Running) -> int:
    sizes = " + ".join(f"pg_total_relation_size('syndic.{table}')" for table in TABLES)
    return _query(stack, f"SELECT {sizes}")


def _rows(stack: Running, project: str) -> int:
    """Of the analyst alone: what its judges leave is the same for both."""
    parts = [
        "SELECT octet_length(s::text) AS size FROM syndic.steps AS s WHERE thread LIKE %s",
        "SELECT octet_length(a::text) FROM syndic.attempts AS a WHERE thread LIKE %s",
        "SELECT octet_length(e::text) FROM syndic.entries AS e WHERE key LIKE %s",
    ]
    thread = f"{project}/s1/read/analyst-%"
    return _query(stack, f"SELECT sum(size) FROM ({' UNION ALL '.join(parts)}) AS rows", *[thread] * len(parts))


def test_all_calls_are_made_once_and_the_task_ends_well(left: dict[int, Left]) -> None:
    for calls, found in left.items():
        assert found.report["state"] == "reported", found.report
        assert found.calls == calls
        assert found.report["model_calls"] == calls + JUDGES


def test_the_outputs_are_really_on_the_record(left: dict[int, Left]) -> None:
    assert left[100].record_bytes > 99 * OUTPUT_LINES * len(LINE)


def test_a_history_stays_small_and_does_not_grow_with_the_calls(left: dict[int, Left]) -> None:
    assert left[100].activities == left[10].activities > 0
    # Results that arrive together share a workflow task of three events; that is chance, and has nothing to do with calls.
    assert abs(left[100].events - left[10].events) <= 3 * left[10].activities < 90
    assert left[100].history_bytes < HISTORY_LIMIT
    assert abs(left[100].history_bytes - left[10].history_bytes) < 2_000


def test_storage_for_a_call_is_the_same_in_a_long_task(left: dict[int, Left]) -> None:
    for size in ("record_bytes", "disk_bytes"):
        few, many = (getattr(left[calls], size) / calls for calls in (10, 100))
        assert many <= 1.3 * few, f"{size}: {few:.0f} bytes a call at 10 calls, {many:.0f} at 100"
