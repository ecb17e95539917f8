"""Projects and sprints: how they begin, go on and end."""

from __future__ import annotations

from decimal import Decimal

from ledger.events.base import Event
from ledger.vocabulary import Json


class ProjectOpened(Event):
    kind = "project_opened"
    added = frozenset({"budget_tokens"})
    goal: str
    repository: str
    commit: str
    base: str
    spec_digest: str
    workflow_id: str
    mode: str
    autonomy: str
    budget_usd: Decimal
    budget_tokens: int | None = None


class TargetPrepared(Event):
    kind = "target_prepared"
    commit: str
    environment: str
    sandbox: str
    gates: dict[str, bool]
    baseline: str
    """Artifact digest of the baseline."""


class PhaseChanged(Event):
    kind = "phase_changed"
    workflow_id: str
    phase: str
    detail: str = ""


class StandingChanged(Event):
    kind = "standing_changed"
    subject: str
    standing: str
    reason: str
    by: str


class SprintFinished(Event):
    kind = "sprint_finished"
    sprint: int
    passed: bool
    summary: str
    commit: str
    tasks: dict[str, str]


class BranchDelivered(Event):
    kind = "branch_delivered"
    branch: str
    commit: str
    repository: str
    pushed: bool


class ProjectClosed(Event):
    kind = "project_closed"
    state: str
    summary: str
    model_calls: int
    in_doubt: int
    cost_usd: Decimal


class Note(Event):
    """Anything a workflow wants to keep that has no kind of its own."""

    kind = "note"
    text: str
    data: dict[str, Json] = {}
