"""`pause` on real processes, by the journal's own times: what may still start, and what becomes of a call on its way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.crowd import JUDGES, Crowd, crowd
from tests.support.running import eventually

TASKS, TURNS = 3, 24
"""The first task may make a good many turns before the last one begins."""
PAUSED_AT = 6
"""The call, after all have begun, during whose answer everything is paused: none is near its end."""
LIMIT = timedelta(seconds=5)


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Crowd]:
    with crowd(tmp_path, turns=TURNS) as found:
        yield found


def test_no_step_starts_after_a_pause_and_the_call_in_flight_is_journaled(busy: Crowd) -> None:
    paused: dict[str, datetime] = {}

    def pause() -> None:
        for workflow in busy.started:
            paused[workflow.split("/")[1]] = datetime.now(UTC)
            _tell(busy, workflow, "pause")
        eventually(lambda: len(_halted(busy)) == TASKS, "the standing of each project")

    busy.start(TASKS)
    eventually(lambda: _begun(busy) == TASKS, "a call of each task", within_s=120)
    busy.provider.strike_at(len(busy.provider.seen) + PAUSED_AT, pause)
    eventually(busy.provider.struck.is_set, "the pause", within_s=120)
    in_force = datetime.now(UTC)
    eventually(lambda: _resting(busy) == TASKS, "the end of each run")

    late = [
        (thread, ordinal, started - paused[thread.split("/")[0]])
        for thread, ordinal, started in busy.audit.rows("SELECT thread, ordinal, started_at FROM syndic.steps")
        if started > paused[thread.split("/")[0]] + LIMIT
    ]
    assert late == []
    # Its answer was held back until the pause was in force everywhere.
    in_flight = busy.audit.rows(
        "SELECT status FROM syndic.steps WHERE kind = 'model' AND started_at < %s AND finished_at >= %s",
        min(paused.values()), in_force - timedelta(milliseconds=100),
    )  # fmt: skip
    assert [status for (status,) in in_flight] == ["done"]
    asked = len(busy.provider.seen)
    assert busy.audit.rows("SELECT count(*) FROM syndic.steps WHERE status = 'reserved'") == [(0,)]

    for workflow in busy.started:
        _tell(busy, workflow, "resume")
    reports = busy.finish()
    assert [report["state"] for report in reports] == ["reported"] * TASKS
    assert asked < len(busy.provider.seen) == TASKS * (TURNS + JUDGES)


def _tell(busy: Crowd, workflow: str, signal: str) -> None:
    busy.stack.temporal("workflow", "signal", "--workflow-id", workflow, "--name", signal)


def _halted(busy: Crowd) -> list[tuple[str]]:
    return busy.audit.rows("SELECT DISTINCT project FROM syndic.ledger WHERE kind = 'standing_changed'")


def _begun(busy: Crowd) -> int:
    return len(busy.audit.rows("SELECT DISTINCT split_part(thread, '/', 1) FROM syndic.steps WHERE kind = 'model'"))


def _resting(busy: Crowd) -> int:
    rested = "kind = 'run_finished' AND body ->> 'outcome' = 'paused'"
    return len(busy.audit.rows(f"SELECT DISTINCT project FROM syndic.ledger WHERE {rested}"))
