"""A single task, started as a person would with the `temporal` binary."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.running import Running

RED = "tests/test_clamp.py::test_above"


def start_repair(stack: Running, project: str, repository: Path, model: str) -> str:
    """Start an `AgentTask` that turns `RED` green in the package `BUGGY`; returns its workflow id."""
    spec = {
        "project": project,
        "goal": "Make the tests pass",
        "repository": str(repository),
        "autonomy": "autonomous",
        "models": {"default": [model]},
        "task": {
            "id": "mend",
            "title": "Repair clamp",
            "kind": "change",
            "instructions": "Make the failing tests pass.",
            "scope": ["tiny/**"],
            "params": {"intent": "repair", "tests": [RED]},
        },
    }
    path = stack.folder / f"{project}.json"
    path.write_text(json.dumps(spec))
    workflow = f"project/{project}/sprint/1/task/mend"
    start = ("workflow", "start", "--type", "AgentTask", "--task-queue", "syndic", "--workflow-id", workflow)
    stack.temporal(*start, "--input-file", str(path))
    return workflow
