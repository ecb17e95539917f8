"""Replays a recorded history, with as little loaded as a process that does nothing else."""

from __future__ import annotations

from pathlib import Path

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from workers.payloads import data_converter
from workers.sandbox import new_workflow_runner
from workflows.agent_task import AgentTask
from workflows.project import Project
from workflows.sprint import Sprint

HISTORIES = Path(__file__).parent / "histories"


def load(path: Path) -> WorkflowHistory:
    workflow_id = path.stem.split(".", 1)[1].replace("+", "/")
    return WorkflowHistory.from_json(workflow_id, path.read_text(encoding="utf-8"))


async def replay(path: Path) -> None:
    replayer = Replayer(
        workflows=[Project, Sprint, AgentTask],
        workflow_runner=new_workflow_runner(),
        data_converter=data_converter,
    )
    await replayer.replay_workflow(load(path))
