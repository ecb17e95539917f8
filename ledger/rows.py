"""What the record holds: entries of chains, threads and their leases, steps, budgets, costs and standings."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from ledger.vocabulary import Json, Record, Standing, StepKind, StepStatus, Usage

GENESIS = "0" * 64
"""The hash before the first entry of a project's chain."""


class NewEntry(Record):
    """Something to put on a project's ledger. A second entry with the same `(project, key)` is the first one again."""

    project: str
    key: str
    kind: str
    """A kind of `ledger.events`; the body is validated against it before it is written."""
    body: dict[str, Json]


class Entry(Record):
    """One entry of a project's chain: `hash = sha256(prev + LF + seq + LF + payload)`, all hex lower case.

    `payload` is the canonical JSON text of `{"at", "body", "key", "kind", "project"}` and is kept byte for byte.
    """

    project: str
    seq: int
    key: str
    kind: str
    at: datetime
    body: dict[str, Json]
    payload: str
    prev: str
    hash: str


class Head(Record):
    """The newest entry of a chain; `seq` 0 and `GENESIS` where there is none."""

    project: str
    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.project}@{self.seq}:{self.hash}"


class ThreadInfo(Record):
    """Who works on a thread; written when its first lease is taken."""

    thread: str
    project: str
    sprint: int
    task: str
    role: str
    agent: str
    budget_scope: str
    prompt_version: str


class Lease(Record):
    thread: str
    holder: str
    epoch: int
    """The fencing number: grows with every acquisition, and every write names it."""


class Step(Record):
    thread: str
    ordinal: int
    sub: int
    kind: StepKind
    name: str
    request_digest: str
    status: StepStatus
    result: Json = None
    model: str | None = None
    usage: Usage | None = None
    cost_usd: Decimal = Decimal(0)
    commit: str | None = None
    worker: str
    epoch: int
    attempt: int = 1
    started_at: datetime
    finished_at: datetime | None = None
    origin: str | None = None
    """The thread in which it was done, and where its cost stands, where a rewind copied it."""


class Budget(Record):
    """One node of the budget tree, in dollars and in tokens; a limit of None means that only its ancestors limit it.

    Reserved is what calls in flight may take; spent holds what was billed, and the bounds of what is in doubt.
    """

    scope: str
    limit_usd: Decimal | None
    reserved_usd: Decimal
    spent_usd: Decimal
    violated: bool = False
    limit_tokens: int | None = None
    reserved_tokens: int = 0
    spent_tokens: int = 0


class UsageRow(Record):
    """Spending of one project, summed by sprint, task, role, agent and model; in-doubt attempts at their bound."""

    sprint: int
    task: str
    role: str
    agent: str
    model: str
    calls: int
    in_doubt: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Decimal


class CostBy(StrEnum):
    """What spending can be summed by."""

    AGENT = "agent"
    ROLE = "role"
    MODEL = "model"
    SPRINT = "sprint"
    """Named `s<n>`; `s0` is what belongs to the project itself."""
    DAY = "day"
    """In UTC, as an ISO date: when the model was asked."""
    TASK = "task"
    """Named `s<n>/<task>`."""


class CostRow(Record):
    """Spending of one agent, role, model, sprint, day or task; in-doubt attempts at their bound."""

    name: str
    calls: int
    in_doubt: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    cost_usd: Decimal


class StandingRow(Record):
    subject: str
    """`<project>`, `<project>/s<n>`, `<project>/s<n>/<task>` or an agent id."""
    standing: Standing
    reason: str
    at: datetime
