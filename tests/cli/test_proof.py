"""The demo's claims: each is computed from the record, and each can fail."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.chain import seal
from ledger.rows import GENESIS, Entry, Head, NewEntry, Step, UsageRow
from ledger.vocabulary import StepKind, StepStatus
from workers.demo.evidence import Evidence
from workers.demo.proof import prove
from workers.demo.story import at_work

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
REPORT = "the analyst's report"


def event(kind: str, seconds: float, **body: Any) -> tuple[str, float, dict[str, Any]]:
    return kind, seconds, body


def started(agent: str, seconds: float, epoch: int = 1, served: int = 0) -> tuple[str, float, dict[str, Any]]:
    thread = f"demo/s1/{agent}-task/engineer-1"
    return event("run_started", seconds, thread=thread, role="engineer", agent=agent, epoch=epoch, served=served)


def finished(agent: str, seconds: float) -> tuple[str, float, dict[str, Any]]:
    body = {"outcome": "finished", "summary": "", "steps": 3, "model_calls": 2, "cost_usd": "0"}
    return event("run_finished", seconds, thread=f"demo/s1/{agent}-task/engineer-1", **body)


def gates(attempt: int, passed: bool, seconds: float, **more: Any) -> tuple[str, float, dict[str, Any]]:
    regressions = () if passed else ("tests: test_report cannot be imported",)
    body = {
        "sprint": 1,
        "task": "bob-task",
        "attempt": attempt,
        "commit": "c",
        "passed": passed,
        "gates": {"tests": passed},
    }
    return event("gates_reported", seconds, **body, regressions=regressions, **more)


def step_recorded(allowed: bool) -> tuple[str, float, dict[str, Any]]:
    body = {
        "thread": "t",
        "ordinal": 2,
        "sub": 0,
        "step": "tool",
        "name": "read_file",
        "status": "done",
        "agent": "ann",
    }
    reason = "path 'docs/handbook.md' is refused: leaves the worktree"
    return event("step_recorded", 1, **body, request_digest="", result_digest="", allowed=allowed, reason=reason)


STORY = [
    event("target_prepared", 0, commit="c", environment="plain", sandbox="bubblewrap", gates={"tests": False}, baseline="base"),
    event(
        "decision_made", 1, workflow_id="project/demo", approval="plan-1", approval_kind="plan", decision="approve",
        claimed_by="me", digest="d",
    ),
    step_recorded(allowed=False),
    event(
        "task_finished", 2, sprint=1, task="analysis", state="reported", summary="", attempts=1, repairs=0,
        documents={"report": hashlib.sha256(REPORT.encode()).hexdigest()},
    ),
    started("ada", 3),
    started("bob", 4),
    started("bob", 6, epoch=2, served=4),
    finished("ada", 9),
    finished("bob", 10),
    gates(1, False, 11),
    event("repair_chosen", 12, sprint=1, task="bob-task", level=1, reason="a gate failed"),
    gates(2, True, 13),
]  # fmt: skip


def chain(events: list[tuple[str, float, dict[str, Any]]]) -> Iterator[Entry]:
    head = Head(project="demo", seq=0, hash=GENESIS)
    for number, (kind, seconds, body) in enumerate(events):
        new = NewEntry(project="demo", key=str(number), kind=kind, body=body)
        entry = seal(new, NOW + timedelta(seconds=seconds), head)
        head = Head(project="demo", seq=entry.seq, hash=entry.hash)
        yield entry


def quality(passed: bool) -> Step:
    content = {"gate": "tests", "passed": passed, "failures": [] if passed else ["tests/test_levels.py::test_due"]}
    result = {"ok": True, "content": json.dumps(content)}
    return step(2, StepKind.TOOL, result, task="sprint").model_copy(update={"name": "run_gate"})


def step(ordinal: int, kind: StepKind, result: Any, task: str = "bob-task") -> Step:
    return Step(
        thread=f"demo/s1/{task}/engineer-1", ordinal=ordinal, sub=0, kind=kind, name="x", request_digest="",
        status=StepStatus.DONE, result=result, worker="w", epoch=1, started_at=NOW,
    )  # fmt: skip


def evidence(events: list[tuple[str, float, dict[str, Any]]] | None = None) -> Evidence:
    entries = list(chain(STORY if events is None else events))
    asked = step(1, StepKind.MODEL, {"text": "hello"})
    baseline = {"gates": [{"gate": {"name": "tests", "kind": "tests"}, "failures": ["tests/test_levels.py::test_due"]}]}
    row = UsageRow(
        sprint=1, task="bob-task", role="engineer", agent="bob", model="offline/maintainer", calls=2, in_doubt=0,
        prompt_tokens=1, completion_tokens=1, cost_usd=Decimal(0),
    )  # fmt: skip
    return Evidence(
        project="demo",
        branch="syndic/demo",
        entries=entries,
        steps=[step(0, StepKind.INPUT, {"documents": [{"name": "report", "text": REPORT}]}), asked, quality(True)],
        before_kill={(asked.thread, 1, 0): asked},
        interrupted=frozenset({asked.thread}),
        artifacts={"base": json.dumps(baseline).encode()},
        usage=[row],
        in_doubt=0,
        merges=[("abc", f"demo@{entries[-1].seq}:{entries[-1].hash}")] if entries else [],
        untouched=True,
    )


def missing(seen: Evidence) -> list[str]:
    return [claim.title for claim in prove(seen) if not claim.holds]


def without(kind: str, **body: Any) -> Evidence:
    kept = [one for one in STORY if one[0] != kind or any(one[2].get(name) != value for name, value in body.items())]
    return replace(evidence(kept), merges=evidence(kept).merges)


def test_a_run_that_shows_everything_proves_everything() -> None:
    assert missing(evidence()) == []


@pytest.mark.parametrize(
    ("kind", "body", "title"),
    [
        ("decision_made", {}, "work waited for decisions that came as signals"),
        ("step_recorded", {}, "an attempt to leave the repository was refused"),
        ("task_finished", {}, "a task read what its predecessor had produced"),
        ("run_finished", {"thread": "demo/s1/ada-task/engineer-1"}, "two agents worked at the same time"),
        ("run_started", {"epoch": 2}, "the worker was killed, and no journaled model call was made again"),
        ("repair_chosen", {}, "a gate failed and the work was repaired"),
        ("gates_reported", {"passed": False}, "a gate failed and the work was repaired"),
        ("gates_reported", {"passed": True}, "a gate failed and the work was repaired"),
        ("target_prepared", {}, "a red test is green"),
    ],
)
def test_what_is_not_on_the_ledger_is_not_claimed(kind: str, body: dict[str, Any], title: str) -> None:
    assert title in missing(without(kind, **body))


def test_an_allowed_tool_call_is_no_refusal() -> None:
    events = [one if one[0] != "step_recorded" else step_recorded(allowed=True) for one in STORY]
    assert "an attempt to leave the repository was refused" in missing(evidence(events))


def test_runs_one_after_the_other_do_not_overlap() -> None:
    events = [started("ada", 1), finished("ada", 2), started("bob", 3), finished("bob", 4)]
    assert "two agents worked at the same time" in missing(evidence(events))


def test_a_call_that_was_made_again_after_the_kill_is_found() -> None:
    again = step(1, StepKind.MODEL, {"text": "hello again"})
    seen = replace(evidence(), steps=[again, quality(True)])
    assert "the worker was killed, and no journaled model call was made again" in missing(seen)


def test_a_merge_whose_trailer_does_not_fit_the_ledger_is_found() -> None:
    seen = replace(evidence(), merges=[*evidence().merges, ("def", f"demo@3:{GENESIS}")])
    assert missing(seen) == ["every merge names its place on the ledger"]


def test_a_changed_entry_is_found() -> None:
    entries = list(evidence().entries)
    entries[4] = entries[4].model_copy(update={"payload": entries[4].payload.replace("engineer", "engineed")})
    assert "the ledger verifies" in missing(replace(evidence(), entries=entries))


def test_a_touched_checkout_is_found() -> None:
    assert missing(replace(evidence(), untouched=False)) == ["your checkout was not touched"]


def test_an_empty_ledger_proves_nothing() -> None:
    held = [claim.title for claim in prove(evidence([])) if claim.holds]
    assert held == ["your checkout was not touched", "what it cost"]


def test_an_interrupted_run_that_never_went_on_is_found() -> None:
    seen = replace(evidence(), interrupted=frozenset({"demo/s1/bob-task/engineer-1", "demo/s1/ada-task/engineer-1"}))
    assert missing(seen) == ["the worker was killed, and no journaled model call was made again"]


def test_two_agents_are_at_work_once_each_has_done_a_step_and_until_one_ends() -> None:
    def tool(agent: str) -> tuple[str, float, dict[str, Any]]:
        kind, seconds, body = step_recorded(allowed=True)
        return kind, seconds, {**body, "thread": f"demo/s1/{agent}-task/engineer-1"}

    story = [started("ada", 0), started("bob", 0), tool("ada"), tool("bob"), finished("ada", 3)]
    counts = [len(at_work(list(chain(story[:length])))) for length in range(6)]
    assert counts == [0, 0, 0, 1, 2, 1]


def test_a_task_whose_branch_lacks_the_repair_does_not_speak_for_the_whole() -> None:
    late = gates(3, True, 14)
    late[2]["gates"] = {"tests": False}  # no worse than the baseline, and still red
    assert missing(evidence([*STORY, late])) == []


def test_a_test_that_is_red_with_everything_merged_is_found() -> None:
    steps = [one for one in evidence().steps if one.name != "run_gate"]
    assert missing(replace(evidence(), steps=[*steps, quality(False)])) == ["a red test is green"]
    assert missing(replace(evidence(), steps=steps)) == ["a red test is green"]
