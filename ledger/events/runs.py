"""Runs of agents, their steps, and what they cost."""

from __future__ import annotations

from decimal import Decimal

from ledger.events.base import Event


class RunStarted(Event):
    kind = "run_started"
    thread: str
    role: str
    agent: str
    epoch: int
    served: int
    """Steps that the journal already held."""


class RunFinished(Event):
    kind = "run_finished"
    thread: str
    outcome: str
    summary: str
    steps: int
    model_calls: int
    cost_usd: Decimal
    commit: str | None = None


class StepRecorded(Event):
    kind = "step_recorded"
    thread: str
    ordinal: int
    sub: int
    step: str
    """`model`, `tool` or `input`."""
    name: str
    status: str
    request_digest: str
    result_digest: str
    agent: str
    model: str | None = None
    cost_usd: Decimal | None = None
    commit: str | None = None
    allowed: bool | None = None
    reason: str | None = None
    """Policy's reason for a tool call, or the failure."""


class LateAnswer(Event):
    """The answer of an attempt that had been in doubt arrived and was settled at true cost."""

    kind = "late_answer"
    thread: str
    ordinal: int
    sub: int
    cost_usd: Decimal
    used: bool


class RunDiverged(Event):
    kind = "run_diverged"
    thread: str
    ordinal: int
    detail: str


class BudgetChanged(Event):
    kind = "budget_changed"
    added = frozenset({"limit_tokens"})
    scope: str
    limit_usd: Decimal | None
    raised: bool
    limit_tokens: int | None = None


class BudgetViolated(Event):
    kind = "budget_violated"
    scope: str
    thread: str
    ordinal: int
    bound_usd: Decimal
    cost_usd: Decimal
    bound_tokens: int | None = None
    """Given, with `tokens`, where more of them were billed than were reserved."""
    tokens: int | None = None


class BudgetLow(Event):
    """The soft limit: this share of a scope's limit, of dollars or of tokens, is spent. Once for each scope and limit."""

    kind = "budget_low"
    scope: str
    limit_usd: Decimal | None = None
    limit_tokens: int | None = None
    percent: int


class RunRewound(Event):
    """A run goes on from an earlier step of another one, as a lineage of its own."""

    kind = "run_rewound"
    source: str
    target: str
    step: int
    """The first step that is done again."""
    sprint: int
    task: str
    commit: str | None = None
    """Where the worktree goes on; absent where no step before changed files."""
    claimed_by: str
