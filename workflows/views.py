"""Answers to the queries of the three workflows: additive changes only."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from ledger.vocabulary import Autonomy, Mode, Phase, Record, TaskKind, TaskState
from workflows.approval_models import ApprovalView


class RefusalView(Record):
    """A message that was not applied, and why."""

    at: datetime
    message: str
    reason: str
    sender: str | None = None
    """A claim."""
    approval: str | None = None
    """The request that it was about, where there is one."""


class WaitView(Record):
    """An agent that waits for a colleague."""

    asker: str
    to: str
    text: str
    since: datetime
    task: str = ""
    """The asker's."""


class TaskView(Record):
    id: str
    title: str
    kind: TaskKind
    state: TaskState
    phase: Phase | None = None
    agent: str | None = None
    depends_on: tuple[str, ...] = ()
    detail: str = ""
    attempts: int = 0
    repairs: int = 0
    workflow_id: str | None = None


class ApprovalsView(Record):
    """Answer of the query `approvals`."""

    open: tuple[ApprovalView, ...]
    decided: tuple[ApprovalView, ...]
    refused: tuple[RefusalView, ...]


class StatusView(Record):
    """Answer of the query `status` at every level."""

    project: str
    workflow_id: str
    phase: Phase
    detail: str
    mode: Mode
    autonomy: Autonomy
    paused: bool
    awaiting: tuple[ApprovalView, ...]
    refused: int
    sprint: int | None = None
    tasks_done: int = 0
    tasks_total: int = 0
    cost_usd: Decimal = Decimal(0)
    budget_usd: Decimal | None = None
    tokens: int = 0
    budget_tokens: int | None = None
    events: tuple[str, ...] = ()
    """The last things that happened, oldest first."""
    notices: tuple[str, ...] = ()
    """What people should know, such as a budget that is nearly spent."""
    waits: tuple[WaitView, ...] = ()
    """Who waits for whom, the longest first."""


class BoardView(Record):
    """Answer of the query `board`."""

    sprint: int | None
    tasks: tuple[TaskView, ...]
