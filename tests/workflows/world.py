"""One test's world: a project name, a script, and workers around scripted activities on a real server."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkerDeploymentVersion
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker, WorkerDeploymentConfig

from ledger.vocabulary import ApprovalKind, project_workflow_id, task_workflow_id
from tests.workflows.lineages import Hooks, Lineages
from tests.workflows.script import Agents, Records, Script, Team, Workspaces
from workers.deployment import set_current_version
from workers.payloads import data_converter
from workers.sandbox import new_workflow_runner
from workflows.agent_task import AgentTask
from workflows.approval_models import ApprovalView
from workflows.options import AGENTS_QUEUE, TOOLS_QUEUE, WORKFLOW_QUEUE, WORKFLOW_TASKS
from workflows.project import Project
from workflows.reports import ProjectReport, TaskReport
from workflows.sprint import Sprint
from workflows.views import ApprovalsView, BoardView, StatusView
from workflows.visibility import SEARCH_ATTRIBUTES

DEADLINE_S = 30
START = timedelta(minutes=1)
"""Of a server on a busy machine; the default is five seconds."""
NUMBERS = itertools.count(1)
SETTINGS: dict[str, object] = {
    "history.transferProcessorMaxPollRPS": 1000,
    "matching.numTaskqueueReadPartitions": 1,  # of four, each with pollers of each version: a quarter of a test's work
    "matching.numTaskqueueWritePartitions": 1,
}
"""Values of the dynamic configuration of every server here."""
VERSION = WorkerDeploymentVersion(deployment_name="syndic-tests", build_id="1")
"""Behaviours of versioning are refused by the server where workers have no version."""


class World:
    """One test's project, script and server."""

    def __init__(self, client: Client, script: Script, project: str) -> None:
        self.client = client
        self.script = script
        self.project = project

    @property
    def id(self) -> str:
        return project_workflow_id(self.project)

    @property
    def address(self) -> str:
        """Of the server, for the `temporal` command."""
        return self.client.service_client.config.target_host

    def brief(self, **changes: Any) -> dict[str, Any]:
        return {"goal": "make it right", "repository": "/nowhere", "autonomy": "autonomous", **changes}

    async def start(self, **changes: Any) -> WorkflowHandle[Any, ProjectReport]:
        return await self.client.start_workflow(
            "Project", self.brief(**changes), id=self.id, task_queue=WORKFLOW_QUEUE, result_type=ProjectReport
        )

    async def run(self, **changes: Any) -> ProjectReport:
        return await asyncio.wait_for((await self.start(**changes)).result(), DEADLINE_S)

    async def start_task(self, spec: dict[str, Any]) -> WorkflowHandle[Any, TaskReport]:
        name = task_workflow_id(self.project, 1, spec["task"]["id"])
        spec = {"project": self.project, "goal": "make it right", "repository": "/nowhere", **spec}
        return await self.client.start_workflow(
            "AgentTask", spec, id=name, task_queue=WORKFLOW_QUEUE, result_type=TaskReport
        )

    def handle(self, workflow_id: str | None = None) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(workflow_id or self.id)

    async def status(self, workflow_id: str | None = None) -> StatusView:
        return await self.handle(workflow_id).query("status", result_type=StatusView)

    async def approvals(self, workflow_id: str | None = None) -> ApprovalsView:
        return await self.handle(workflow_id).query("approvals", result_type=ApprovalsView)

    async def board(self, workflow_id: str | None = None) -> BoardView:
        return await self.handle(workflow_id).query("board", result_type=BoardView)

    async def awaiting(self, kind: ApprovalKind, workflow_id: str | None = None) -> ApprovalView:
        """Wait for an open request of this kind."""

        async def found() -> ApprovalView | None:
            return next((view for view in (await self.approvals(workflow_id)).open if view.kind is kind), None)

        return await eventually(found)

    async def decide(self, view: ApprovalView, decision: str, **more: Any) -> None:
        payload = {"approval": view.id, "decision": decision, "by": "pat", "digest": view.digest, **more}
        await self.handle(view.workflow_id).signal("decide", payload)


async def eventually(condition: Callable[[], Any]) -> Any:
    """The first true answer of a (maybe asynchronous) condition, within the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            answer = condition()
            if asyncio.iscoroutine(answer):
                try:
                    answer = await answer
                except Exception as error:
                    if "not found" not in str(error):
                        raise
                    answer = None
            if answer:
                return answer
            await asyncio.sleep(0.02)


@asynccontextmanager
async def serving(**settings: object) -> AsyncIterator[WorkflowEnvironment]:
    """A Temporal dev server of its own; `settings` are values of its dynamic configuration."""
    settings = {**SETTINGS, **settings}
    given = [f"--dynamic-config-value={name}={value}" for name, value in settings.items()]
    async with await WorkflowEnvironment.start_local(
        data_converter=data_converter,
        identity="syndic-tests",  # the default names process and machine, and recorded histories keep it
        search_attributes=SEARCH_ATTRIBUTES,
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        dev_server_startup_timeout=START,
        dev_server_log_level="error",
        dev_server_extra_args=given,
    ) as environment:
        yield environment


@asynccontextmanager
async def working(
    client: Client, project: str | None = None, cached_workflows: int = 100, *, versioned: bool = True
) -> AsyncIterator[World]:
    """Workers for all queues.

    Args:
        cached_workflows: 0 replays each workflow from its history at every task.
        versioned: False for servers that know no versions of workers.
    """
    script = Script()
    agents, spaces, records = Agents(script), Workspaces(script), Records(script)
    quick = [records.record, records.keep_document, records.open_budget, records.change_standing]
    team = Team(script)
    quick += [team.read_questions, team.close_question, team.survey_team]
    lineages = Lineages(script)
    quick += [lineages.read_run, lineages.rewind_run]
    tools = [
        spaces.open_project,
        spaces.prepare_target,
        spaces.open_workspace,
        spaces.run_gates,
        spaces.integrate,
        spaces.deliver,
        spaces.close_project,
        team.read_profiles,
        lineages.give_up_task,
        Hooks(script).run_hook,
    ]
    parts = [
        (WORKFLOW_QUEUE, [Project, Sprint, AgentTask], quick),
        (AGENTS_QUEUE, [], [agents.agent_run]),
        (TOOLS_QUEUE, [], tools),
    ]
    async with AsyncExitStack() as stack:
        for queue, workflows, activities in parts:
            worker = Worker(
                client,
                task_queue=queue,
                workflows=workflows,
                activities=activities,
                workflow_runner=new_workflow_runner(),
                max_cached_workflows=cached_workflows,
                max_concurrent_workflow_tasks=WORKFLOW_TASKS,
                # Cancellation travels with heartbeats, which the SDK holds back for most of their timeout.
                max_heartbeat_throttle_interval=timedelta(milliseconds=200),
                sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
                deployment_config=WorkerDeploymentConfig(version=VERSION, use_worker_versioning=versioned),
            )
            await stack.enter_async_context(worker)
        if versioned:
            await set_current_version(client, VERSION.deployment_name, VERSION.build_id)
        yield World(client, script, project or f"p{next(NUMBERS)}")
