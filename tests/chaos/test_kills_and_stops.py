"""Twenty tasks of ten calls while their worker is killed, or frozen until another has taken over and then woken again.

Moments are counts: of calls as the provider sees them (the worker dies while answers are on their way), or of steps as
they are committed. The seed draws how far apart they lie.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.books import money_faults, read_books
from tests.support.crowd import JUDGES, Crowd, crowd
from tests.support.running import eventually

TASKS, CALLS = 20, 10
MOMENTS = 10
GAP = 18
"""At most so many calls or steps between two moments: all moments come before the last call."""
GAP_OF_FREEZES = 8
"""Less than the calls of a task: nothing that was on its way is lost, and the work goes on until the next moment is set."""
SEED = 20


class _Freeze:
    """A strike that freezes the newest worker."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self.worker = crowd.stack.workers[-1]
        self._held: list[tuple[str, int]] = []

    def __call__(self) -> None:
        os.kill(self.worker.pid, signal.SIGSTOP)
        # Read at once: one that still ends may take a run over, and give it back.
        self._held = self._crowd.audit.rows("SELECT thread, epoch FROM syndic.threads WHERE holder IS NOT NULL")

    def until_taken_over(self) -> None:
        """Start another worker, and wait until what the frozen one held is in other hands: its heartbeats are overdue."""
        assert self._held, "the call of a run that held no lease"
        self._crowd.stack.start_worker()
        eventually(self._is_taken, "a thread of the frozen worker in other hands")

    def end(self) -> None:
        os.kill(self.worker.pid, signal.SIGCONT)

    def _is_taken(self) -> bool:
        now = dict(self._crowd.audit.rows("SELECT thread, epoch FROM syndic.threads"))
        return any(now[thread] > epoch for thread, epoch in self._held)


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Crowd]:
    with crowd(tmp_path, turns=CALLS - JUDGES) as found:
        yield found


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Crowd]:
    with crowd(tmp_path, turns=5 - JUDGES) as found:
        yield found


@pytest.mark.chaos
def test_one_kill_and_one_freeze_cost_what_is_listed_in_doubt_and_nothing_else(few: Crowd) -> None:
    freeze = _Freeze(few)
    few.provider.strike_at(3, freeze)
    few.start(6)
    _wait(few)
    freeze.until_taken_over()
    few.stack.kill_worker()
    freeze.end()
    assert _faults(few, 6 * 5) == []


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_with_no_kill_the_provider_is_asked_exactly_the_minimum(many: Crowd) -> None:
    many.start(TASKS)
    assert _faults(many, TASKS * CALLS) == []
    assert len(many.provider.seen) == TASKS * CALLS
    assert many.audit.doubted() == []


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_ten_kills_cost_what_is_listed_in_doubt_and_nothing_else(many: Crowd) -> None:
    dice = random.Random(SEED)
    for place in range(MOMENTS):
        gap = dice.randint(1, GAP)
        if place == 0:
            many.provider.strike_at(gap, many.stack.workers[-1].kill)
            many.start(TASKS)
            _wait(many)
        elif dice.random() < 0.5:
            many.provider.strike_at(len(many.provider.seen) + gap, many.stack.workers[-1].kill)
            _wait(many)
        else:
            many.audit.wait_for_steps(gap)
        many.stack.kill_worker()
        many.stack.start_worker()
    assert _faults(many, TASKS * CALLS) == []
    assert len(many.audit.doubted()) >= MOMENTS // 2, "the kills hit nobody: nothing was tested"
    assert "activities_given_back" in many.stack.logs(), "the next worker left it to missed heartbeats"


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_ten_freezes_cost_what_is_listed_in_doubt_and_nothing_else(many: Crowd) -> None:
    dice = random.Random(SEED + 1)
    freeze = _Freeze(many)
    many.provider.strike_at(dice.randint(1, GAP_OF_FREEZES), freeze)
    many.start(TASKS - MOMENTS + 1)
    for left in reversed(range(MOMENTS)):
        _wait(many)
        freeze.until_taken_over()
        woken, freeze = freeze, _Freeze(many)
        if left:  # set before the frozen one wakes, with a task that is sure to come that far
            many.provider.strike_at(len(many.provider.seen) + dice.randint(1, GAP_OF_FREEZES), freeze)
            many.start(1)
        woken.end()
        woken.worker.terminate()  # it settles the answers that have waited for it, and ends in good order
        woken.worker.wait(60)
    assert _faults(many, TASKS * CALLS) == []
    assert many.audit.doubted(), "no call was on its way: nothing was tested"
    assert "activities_given_back" not in many.stack.logs(), "a frozen worker was taken for dead"


def _faults(crowd: Crowd, steps: int) -> list[str]:
    """Wait for the end; everything that was lost, doubled, or written by a run that had no right to."""
    reports = crowd.finish()
    projects = [report.split("/")[1] for report in crowd.started]
    books = read_books(crowd, projects)
    found = [f"{report['state']}: {report['summary']}" for report in reports if report["state"] != "reported"]
    if (made := sum(report["model_calls"] for report in reports)) != steps:
        found.append(f"the reports count {made} calls")
    return [*found, *books.faults(steps), *money_faults(crowd, books, projects), *crowd.audit.intruders()]


def _wait(crowd: Crowd) -> None:
    eventually(crowd.provider.struck.is_set, "the moment", within_s=120)
