"""Rows of Syndic: `run` and `gateway` (an agent run as one workflow), `task` (the whole `AgentTask`)."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
from contextlib import AsyncExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

from activities.agent_run import AgentRuns
from activities.contracts import OpenProject, PrepareTarget
from agents.assignments import PlannedTask, Work
from agents.feed import feed_key
from agents.models import Models
from agents.runs import AgentRun
from agents.target import GateKind
from bench.rows.agent_workflow import OneRun
from bench.rows.syndic_models import CHAIN, LOOK, DirectModels, ProvidedModels, added_s, measure_steps
from bench.rows.target_workflow import OpenTarget
from bench.rows.task import TEXT, TURNS
from ledger.vocabulary import (
    Autonomy,
    Mode,
    OutcomeKind,
    Role,
    TaskKind,
    TaskState,
    project_scope,
    task_scope,
    task_workflow_id,
)
from workers.client import connect
from workers.dependencies import Dependencies, open_dependencies
from workers.deployment import set_current_version
from workers.memory import settle_memory
from workers.registry import served
from workers.sandbox import new_workflow_runner
from workers.settings import load_settings
from workers.stack.addresses import resolve
from workers.worker import HEARTBEAT_EVERY, STICKY_QUEUE_S
from workflows import options
from workflows.agent_task import AgentTask
from workflows.briefs import gate_specs
from workflows.reports import TaskReport
from workflows.specs import GateBrief, TaskSpec
from workflows.team import agent_id

VERSION = WorkerDeploymentVersion(deployment_name="syndic", build_id="bench")
JUDGES = 4
LIMIT = Decimal(1000)


class SyndicRow:
    """What the rows share: a worker's own dependencies, with the task's model and tool in them."""

    def __init__(self, name: str) -> None:
        self._queue = f"bench-syndic-{name}"
        self._through_gateway = name == "gateway"
        self._closing = AsyncExitStack()

    async def open(self, addresses: dict[str, str]) -> None:
        settings = load_settings()
        self._owner = addresses["owner_database"]
        found = resolve(settings)
        self._client: Client = await connect(found)
        opened = await self._closing.enter_async_context(open_dependencies(settings, found, "bench"))
        gateway = opened.agents.gateway
        models = ProvidedModels(gateway) if self._through_gateway else DirectModels()
        measure_steps()
        self._deps = replace(opened, agents=replace(opened.agents, gateway=models, tools=(LOOK,)))
        self._settled = asyncio.create_task(self._settle(gateway))
        self._working = [asyncio.create_task(worker.run()) for worker in self._workers(self._deps)]

    async def _settle(self, gateway: Models) -> None:
        """As workers do, whatever the row asks in place of the gateway."""
        await gateway.ready()
        settle_memory()

    def _workers(self, deps: Dependencies) -> list[Worker]:
        return [
            Worker(
                self._client,
                task_queue=self._queue,
                workflows=[OneRun],
                activities=[AgentRuns(deps.agents).agent_run],
                interceptors=[deps.unfinished],
                workflow_runner=new_workflow_runner(),
                build_id=VERSION.build_id,  # else it reads the code of all that is imported to make one up
                max_heartbeat_throttle_interval=HEARTBEAT_EVERY,
                sticky_queue_schedule_to_start_timeout=STICKY_QUEUE_S,
                max_concurrent_activities=deps.settings.slots(options.AGENTS_QUEUE),
            )
        ]

    async def prepare(self, group: str, tasks: int) -> None:
        added_s.clear()
        await self._settled
        await self._deps.store.open_budget(project_scope(group), LIMIT)

    async def run(self, group: str, number: int) -> None:
        outcome = await self._client.execute_workflow(
            OneRun.run, run_of(group, number), id=f"{group}-{number}", task_queue=self._queue,
            task_timeout=options.TAKEN_UP_AGAIN,
        )  # fmt: skip
        assert outcome.kind is OutcomeKind.FINISHED, outcome
        assert outcome.model_calls == TURNS, outcome

    async def kept(self, group: str) -> int:
        """Steps with a result; the money and the feed are checked on the way."""
        async with await psycopg.AsyncConnection.connect(self._owner) as connection:
            query = (
                "SELECT count(*), coalesce(sum(cost_usd), 0) FROM syndic.steps WHERE thread LIKE %s AND status = 'done'"
            )
            row = await (await connection.execute(query, (f"{group}/%",))).fetchone()
        assert row is not None
        budget = await self._deps.store.budget(project_scope(group))
        assert (budget.reserved_usd, budget.spent_usd) == (0, row[1]), budget
        assert await self._deps.feed.redis.xlen(feed_key(group)) > 0
        return row[0]

    def extra(self) -> dict[str, Any]:
        return {"added_ms": 1000 * statistics.median(added_s)} if added_s else {}


class SyndicTask(SyndicRow):
    """The whole `AgentTask` as it runs under a sprint: workspace, agent, gates, four judges, ledger."""

    _is_current = False

    def _workers(self, deps: Dependencies) -> list[Worker]:
        return [
            Worker(
                self._client,
                task_queue=part.queue,
                workflows=[*part.workflows, *([OpenTarget] if part.workflows else [])],
                activities=part.activities,
                interceptors=[deps.unfinished],
                workflow_runner=new_workflow_runner(),
                deployment_config=WorkerDeploymentConfig(
                    version=VERSION, use_worker_versioning=True, default_versioning_behavior=VersioningBehavior.PINNED
                ),
                max_heartbeat_throttle_interval=HEARTBEAT_EVERY,
                sticky_queue_schedule_to_start_timeout=STICKY_QUEUE_S,
                max_concurrent_activities=deps.settings.slots(part.queue),
            )
            for part in served((options.WORKFLOW_QUEUE, options.AGENTS_QUEUE, options.TOOLS_QUEUE), deps)
        ]

    async def prepare(self, group: str, tasks: int) -> None:
        if not self._is_current:
            await set_current_version(self._client, VERSION.deployment_name, VERSION.build_id)
            self._is_current = True
        added_s.clear()
        await self._settled
        gates = (GateBrief(name="names", run="python -c 'import this'", kind=GateKind.COMMAND),)
        opening = OpenProject(
            project=group, goal="write notes", repository=str(_repository(self._deps.settings.state_dir / "bench" / group)),
            base=None, budget_usd=LIMIT, spec_digest="0" * 64, workflow_id=f"project/{group}", mode="auto",
            autonomy="autonomous",
        )  # fmt: skip
        target = PrepareTarget(project=group, commit="HEAD", setup=(), gates=gate_specs(gates))
        self._opened, self._target = await self._client.execute_workflow(
            OpenTarget.run, args=[opening, target], id=f"{group}-open", task_queue=options.WORKFLOW_QUEUE
        )

    async def run(self, group: str, number: int) -> None:
        task = PlannedTask(
            id=f"t{number}", title="Write notes", kind=TaskKind.CHANGE, instructions=TEXT, scope=("notes.txt",)
        )
        spec = TaskSpec(
            project=group, task=task, goal="write notes", base_commit=self._opened.commit,
            baseline=self._target.baseline, baseline_commit=self._opened.commit, models={"default": CHAIN},
            mode=Mode.AUTO, autonomy=Autonomy.AUTONOMOUS, budget_usd=LIMIT,
        )  # fmt: skip
        report: TaskReport = await self._client.execute_workflow(
            AgentTask.run, spec, id=task_workflow_id(group, 1, task.id), task_queue=options.WORKFLOW_QUEUE,
            task_timeout=options.TAKEN_UP_AGAIN, result_type=TaskReport,
        )  # fmt: skip
        assert report.state is TaskState.ACCEPTED, report
        assert report.model_calls == TURNS + JUDGES, report


def run_of(group: str, number: int) -> AgentRun:
    """The task as an agent run."""
    return AgentRun(
        project=group, sprint=1, task=f"t{number}", lineage="analyst-1.1", role=Role.ANALYST,
        agent=agent_id(group, Role.ANALYST, number),
        work=Work.ANALYSIS, goal="look around", instructions=TEXT, chain=CHAIN,
        budget_scope=task_scope(group, 1, f"t{number}"),
    )  # fmt: skip


def _repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("nothing yet\n" * 20)
    identity = ("-c", "user.name=Bench", "-c", "user.email=bench@localhost")
    for command in (("init", "-q", "-b", "main"), ("add", "-A"), (*identity, "commit", "-q", "-m", "start")):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder
