"""Histories of finished and interrupted runs replay on the present code.

A failure means that running workflows would break on a deployment. `Project` upgrades while it runs, so its changes need
`workflow.patched`; `Sprint` and `AgentTask` stay on their build. When a change is meant to end the old runs, or new paths
are to be covered, record the histories anew:

    SYNDIC_RECORD_HISTORIES=1 .venv/bin/pytest tests/replay
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from tests.replay.recording import STORIES, record
from tests.replay.replaying import HISTORIES, load, replay
from workers.payloads import GuardedPayloadConverter
from workflows.reports import TaskReport

RECORDING = os.environ.get("SYNDIC_RECORD_HISTORIES") == "1"


@pytest.mark.skipif(not RECORDING, reason="records only with SYNDIC_RECORD_HISTORIES=1")
@pytest.mark.parametrize("story", STORIES)
async def test_record(story: str) -> None:
    await record(story, HISTORIES)


@pytest.mark.parametrize("path", sorted(HISTORIES.glob("*.json")), ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    await replay(path)


async def test_the_one_converter_keeps_nothing_of_a_sandbox() -> None:
    """It is made once a process: a class that a workflow's own module defines would keep that sandbox in memory."""
    for path in HISTORIES.glob("decided.*.json"):
        await replay(path)
    assert GuardedPayloadConverter() is GuardedPayloadConverter()
    described = [thing._type for thing in gc.get_objects() if type(thing) is TypeAdapter]  # pyright: ignore[reportPrivateUsage]
    classes = [kind for kind in described if isinstance(kind, type) and kind.__module__.startswith("workflows.")]
    assert TaskReport in classes
    assert all(getattr(sys.modules[kind.__module__], kind.__qualname__) is kind for kind in classes)


def test_keys_are_read_in_a_process_in_which_nobody_has_read_one() -> None:
    """Compiled modules cannot begin within the sandbox."""
    script = (
        "import asyncio, sys; from pathlib import Path; from tests.replay.replaying import replay;"
        "assert 'joserfc' not in sys.modules; asyncio.run(replay(Path(sys.argv[1])));"
        "from workers.client import exit_process; exit_process(0)"  # the interpreter's own way out may abort
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
