"""What tasks, sprints and projects report when they end: additive changes only."""

from __future__ import annotations

from decimal import Decimal

from agents.assignments import PlannedTask
from ledger.vocabulary import ArtifactRef, Phase, Record, TaskKind, TaskState


class TaskReport(Record):
    task: str
    sprint: int
    kind: TaskKind
    title: str = ""
    state: TaskState
    summary: str
    agent: str
    branch: str | None = None
    commit: str | None = None
    merge_commit: str | None = None
    attempts: int = 1
    repairs: int = 0
    documents: tuple[ArtifactRef, ...] = ()
    """What dependents may read: the work result or report, the diff."""
    approvals: int = 0
    model_calls: int = 0
    cost_usd: Decimal = Decimal(0)
    tokens: int = 0
    changed_paths: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    """Questions of the board that its agents opened or voted on."""
    taken_out: bool = False
    """A person took the task out: it is not planned again."""


class SprintReport(Record):
    sprint: int
    tasks: tuple[TaskReport, ...]
    planned: tuple[PlannedTask, ...] = ()
    """The tasks as they stood at the end, with what people changed; none in reports of earlier builds."""
    commit: str
    """Head of the sprint branch."""
    passed: bool
    """QA and council let the sprint onto the project branch."""
    summary: str
    documents: tuple[ArtifactRef, ...] = ()
    approvals: int = 0
    cost_usd: Decimal = Decimal(0)
    model_calls: int = 0
    tokens: int = 0


class ProjectReport(Record):
    """Result of `Project`; also the shape of the last line of `syndic demo`."""

    project_id: str
    state: Phase
    summary: str
    tasks_merged: int
    tasks_total: int
    tasks: tuple[TaskReport, ...]
    approvals: int
    repairs: int
    model_calls: int
    in_doubt: int = 0
    cost_usd: Decimal
    ledger_entries: int
    ledger_verified: bool
    branch: str | None
    commit: str | None = None
    warnings: tuple[str, ...] = ()
    report: ArtifactRef | None = None
    """Of a dry run: a page with every diff."""
    report_file: str | None = None
    """Where that page lies on the worker's machine."""
