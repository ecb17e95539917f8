"""Projects from goal to delivered branch, over scripted activities on a real server."""

from __future__ import annotations

import pytest

from agents.assignments import Work
from ledger.vocabulary import Phase, TaskState
from tests.workflows.conftest import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_goal_becomes_merged_tasks_and_a_delivered_branch(world: World) -> None:
    report = await world.run()

    assert report.state is Phase.DONE, report.summary
    assert (report.tasks_merged, report.tasks_total) == (2, 2)
    assert [task.state for task in report.tasks] == [TaskState.MERGED, TaskState.MERGED]
    assert report.branch == f"syndic/{world.project}"
    assert report.ledger_verified
    assert [run.work for run in world.script.runs(Work.JUDGE, "one")] == [Work.JUDGE] * 4
    assert len(world.script.asked("close_project")) == 1
