"""Somebody who answers everything that a project asks, wherever it asks it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError

from ledger.vocabulary import ApprovalKind, sprint_workflow_id, task_workflow_id
from tests.workflows.world import World
from workflows.approval_models import ApprovalView
from workflows.reports import ProjectReport


class Desk:
    """A person who answers whatever comes, as told, and remembers what it was."""

    def __init__(self, world: World, handle: WorkflowHandle[Any, ProjectReport]) -> None:
        self.world = world
        self.handle = handle
        self.seen: list[ApprovalView] = []
        self.answers: dict[ApprovalKind, list[dict[str, Any]]] = {}

    @property
    def kinds(self) -> Counter[ApprovalKind]:
        return Counter(view.kind for view in self.seen)

    def of(self, kind: ApprovalKind) -> list[ApprovalView]:
        return [view for view in self.seen if view.kind is kind]

    async def attend(self) -> ProjectReport:
        """Answer until the project has ended."""
        result = asyncio.create_task(self.handle.result())
        try:
            async with asyncio.timeout(40):
                while not result.done():
                    for view in await self._open():
                        await self._answer(view)
                    await asyncio.wait([result], timeout=0.02)
                return await result
        finally:
            result.cancel()

    async def _open(self) -> list[ApprovalView]:
        project = self.world.project
        sprints = [sprint_workflow_id(project, number) for number in (1, 2)]
        tasks = [task_workflow_id(project, number, task) for number in (1, 2) for task in ("one", "two")]
        ids = [self.world.id, *sprints, *tasks]
        found: list[ApprovalView] = []
        for workflow_id in ids:
            try:
                # A workflow that has ended would be replayed for each question.
                described = await self.world.handle(workflow_id).describe()
                if described.status is WorkflowExecutionStatus.RUNNING:
                    found += (await self.world.approvals(workflow_id)).open
            except RPCError as error:
                if "not found" not in str(error):
                    raise
        return [view for view in found if view.id not in {seen.id for seen in self.seen}]

    async def _answer(self, view: ApprovalView) -> None:
        self.seen.append(view)
        planned = self.answers.get(view.kind)
        answer = planned.pop(0) if planned else {"decision": "approve"}
        await self.world.decide(view, **answer)
