"""Histories of finished and interrupted runs replay on the present code.

A failure means that running workflows would break on a deployment. `Project` upgrades while it runs, so its changes need
`workflow.patched`; `Sprint` and `AgentTask` stay on their build. When a change is meant to end the old runs, or new paths
are to be covered, record the histories anew:

    SYNDIC_RECORD_HISTORIES=1 .venv/bin/pytest tests/replay
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.replay.recording import STORIES, record
from tests.replay.replaying import HISTORIES, load, replay

RECORDING = os.environ.get("SYNDIC_RECORD_HISTORIES") == "1"


@pytest.mark.skipif(not RECORDING, reason="records only with SYNDIC_RECORD_HISTORIES=1")
@pytest.mark.parametrize("story", STORIES)
async def test_record(story: str) -> None:
    await record(story, HISTORIES)


@pytest.mark.parametrize("path", sorted(HISTORIES.glob("*.json")), ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    await replay(path)


def test_keys_are_read_in_a_process_in_which_nobody_has_read_one() -> None:
    """Compiled modules cannot begin within the sandbox."""
    script = (
        "import asyncio, sys; from pathlib import Path; from tests.replay.replaying import replay;"
        "assert 'joserfc' not in sys.modules; asyncio.run(replay(Path(sys.argv[1])))"
    )
    path = HISTORIES / "decided.project+decided+sprint+1+task+one.json"
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", script, path], cwd=root, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr[-3000:]


def test_there_are_histories_of_every_workflow_and_of_interrupted_runs() -> None:
    types = [
        load(path).events[0].workflow_execution_started_event_attributes.workflow_type.name
        for path in HISTORIES.glob("*.json")
    ]
    assert set(types) == {"Project", "Sprint", "AgentTask"}
    assert {path.stem.split(".", 1)[0] for path in HISTORIES.glob("*.json")} == set(STORIES)
