"""Histories of finished and interrupted runs replay on the present code.

A failure means that running workflows would break on a deployment. `Project` upgrades while it runs, so its changes need
`workflow.patched`; `Sprint` and `AgentTask` stay on their build. When a change is meant to end the old runs, or new paths
are to be covered, record the histories anew:

    SYNDIC_RECORD_HISTORIES=1 .venv/bin/pytest tests/replay
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tests.replay.recording import STORIES, record
from workers.payloads import data_converter
from workers.sandbox import new_workflow_runner
from workflows.agent_task import AgentTask
from workflows.project import Project
from workflows.sprint import Sprint

HISTORIES = Path(__file__).parent / "histories"
RECORDING = os.environ.get("SYNDIC_RECORD_HISTORIES") == "1"


@pytest.mark.skipif(not RECORDING, reason="records only with SYNDIC_RECORD_HISTORIES=1")
@pytest.mark.parametrize("story", STORIES)
async def test_record(story: str) -> None:
    await record(story, HISTORIES)


def load(path: Path) -> WorkflowHistory:
    workflow_id = path.stem.split(".", 1)[1].replace("+", "/")
    return WorkflowHistory.from_json(workflow_id, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted(HISTORIES.glob("*.json")), ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    replayer = Replayer(
        workflows=[Project, Sprint, AgentTask],
        workflow_runner=new_workflow_runner(),
        data_converter=data_converter,
    )
    await replayer.replay_workflow(load(path))


def test_there_are_histories_of_every_workflow_and_of_interrupted_runs() -> None:
    types = [
        load(path).events[0].workflow_execution_started_event_attributes.workflow_type.name
        for path in HISTORIES.glob("*.json")
    ]
    assert set(types) == {"Project", "Sprint", "AgentTask"}
    assert {path.stem.split(".", 1)[0] for path in HISTORIES.glob("*.json")} == set(STORIES)
