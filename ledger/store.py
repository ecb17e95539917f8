"""What the record can do, as one protocol that Postgres and the in-memory twin both keep.

Everything a worker writes while an agent runs goes through `apply`, the group commit: items are processed in order, each
gets a result of its own, and one item's refusal never rolls back its neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from ledger.lineages import LineageStore
from ledger.messages import Message as Message
from ledger.messages import MessageStore, NewMessage
from ledger.teamwork import Card, Memory, TeamStore
from ledger.vocabulary import Exceeded, Json, Record, Standing, StepKind, StepStatus, Usage

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


class Intent(Record):
    """About to ask a model: reserve the upper bound on the budget scope and all its ancestors."""

    thread: str
    ordinal: int
    sub: int = 0
    epoch: int
    name: str
    request_digest: str
    bound_usd: Decimal
    bound_tokens: int = 0
    """Prompt and completion at most."""
    worker: str
    heard: tuple[str, ...] | None = None
    """Where it is given, a message for the thread's agent that nobody has read and that is not among these ids keeps the
    call from being made: the answer is `MAIL`."""
    chained: bool = False
    """Only where the item before it was written, else the answer is `SKIPPED`; for items of one run in one call."""


class Receipt(Record):
    """A step's result. Everything in it is written in one transaction or not at all."""

    thread: str
    ordinal: int
    sub: int = 0
    epoch: int
    kind: StepKind
    name: str
    request_digest: str
    result: Json
    status: StepStatus = StepStatus.DONE
    """`DONE` or `FAILED`. A failed model attempt releases its reservation and leaves the step open."""
    model: str | None = None
    usage: Usage | None = None
    cost_usd: Decimal = Decimal(0)
    commit: str | None = None
    worker: str
    entries: tuple[NewEntry, ...] = ()
    outbox: tuple[NewMessage, ...] = ()
    acknowledged: tuple[str, ...] = ()
    """Ids of inbox messages that this input step read."""
    chained: bool = False
    """As of an intent."""


class Start(Record):
    """Take a thread, as `Store.acquire_lease` does, and read what a run needs to begin."""

    info: ThreadInfo
    holder: str
    ttl: timedelta
    chained: bool = False


class Mark(Record):
    """What a run writes beside its steps: that it has begun, and how it ended. All of it or nothing."""

    thread: str
    epoch: int
    project: str
    entries: tuple[NewEntry, ...] = ()
    card: Card | None = None
    artifact: str | None = None
    """A JSON document to keep."""
    releases: str | None = None
    """The holder who gives the lease back with it; the answer says what is spent."""
    chained: bool = False


Item = Intent | Receipt | Start | Mark


class ItemStatus(StrEnum):
    OK = "ok"
    SERVED = "served"
    """The step already has a result; `step` holds it and it is the one to use."""
    LATE = "late"
    """A model's answer from a run that had lost its lease: settled at true cost; `step` holds the result that counts."""
    LOST_LEASE = "lost_lease"
    HALTED = "halted"
    """Standing of the project, task or agent forbids new steps; `detail` says which."""
    OVER_BUDGET = "over_budget"
    BLOCKED = "blocked"
    """An earlier settlement exceeded its reservation; a person must raise the budget first."""
    DIVERGED = "diverged"
    """The step exists with another request digest: the code changed under a running thread."""
    INVALID = "invalid"
    TAKEN = "taken"
    """A message that the step acknowledges was read by another step, or buried, meanwhile; read again."""
    UNDELIVERABLE = "undeliverable"
    """A message of the step's outbox is refused: no such agent, finished, inbox full, payload too large; `detail` says."""
    MAIL = "mail"
    """Nothing was reserved: a message waits that the run has not heard."""
    HELD = "held"
    """Another holder works on the thread; `seconds_left` of its lease."""
    SKIPPED = "skipped"
    """The item before it was refused."""


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


class Started(Record):
    """A thread that was taken, and what a run needs to begin."""

    lease: Lease
    steps: tuple[Step, ...]
    """The thread's journal, as `Store.steps` gives it."""
    unread: tuple[Message, ...]
    """Its agent's inbox."""
    memories: tuple[Memory, ...]
    """What its agent remembers."""


class ItemResult(Record):
    status: ItemStatus
    step: Step | None = None
    detail: str | None = None
    exceeded: Exceeded | None = None
    """Of `OVER_BUDGET`: which limit."""
    started: Started | None = None
    """Of a `Start`."""
    seconds_left: float | None = None
    """Of `HELD`; `detail` is the holder."""
    budgets: tuple[Budget, ...] = ()
    """Of a `Mark` that gives its lease back: the scope's budget after those of its ancestors, root first."""


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


class Store(MessageStore, TeamStore, LineageStore, Protocol):
    """The record. Every method is safe to call again with the same arguments."""

    async def record(self, entries: Sequence[NewEntry]) -> list[Entry]:
        """Append in order; an entry whose key exists is returned as it stands."""
        ...

    async def entries(self, project: str, *, after: int = 0, limit: int = 1000) -> list[Entry]: ...

    async def head(self, project: str) -> Head: ...

    async def acquire_lease(self, info: ThreadInfo, holder: str, ttl: timedelta) -> Lease:
        """Take the thread with a higher epoch, at once where it is free, expired or held by the same holder.

        Attempts that an earlier epoch left `reserved` become `in_doubt` and stay charged at their bound.

        Raises:
            LeaseHeldError: another holder's lease is still running; carries the seconds left.
        """
        ...

    async def renew_lease(self, lease: Lease, ttl: timedelta) -> None:
        """Raises LeaseLostError where the epoch has moved on."""
        ...

    async def release_lease(self, lease: Lease) -> None: ...

    async def steps(self, thread: str) -> list[Step]:
        """All steps of the thread in (ordinal, sub) order, with their results."""
        ...

    async def apply(self, items: Sequence[Item], *, brief: bool = False) -> list[ItemResult]:
        """One answer each, in order; with `brief` an answer `OK` does not repeat the step that was written."""
        ...

    async def in_doubt(self, project: str) -> list[Step]:
        """Attempts that were asked and whose answer was never journaled."""
        ...

    async def open_budget(self, scope: str, limit_usd: Decimal | None, limit_tokens: int | None = None) -> Budget:
        """Create the node (and missing ancestors without a limit); an existing node keeps its limits."""
        ...

    async def raise_budget(self, scope: str, limit_usd: Decimal | None, limit_tokens: int | None = None) -> Budget:
        """Set new limits, of which None stays as it is; clear the violation here and below."""
        ...

    async def budget(self, scope: str) -> Budget:
        """Raises UnknownScopeError."""
        ...

    async def budget_path(self, scope: str) -> list[Budget]:
        """The scope's budget after those of its ancestors, root first. Raises UnknownScopeError."""
        ...

    async def usage(self, project: str) -> list[UsageRow]: ...

    async def cost(self, project: str, by: CostBy) -> list[CostRow]:
        """What a project has spent, in the order of the names."""
        ...

    async def put_artifact(self, content: bytes, media_type: str = "text/plain") -> str:
        """Keep the bytes; returns their SHA-256 in hex."""
        ...

    async def get_artifact(self, digest: str) -> bytes:
        """Raises UnknownArtifactError."""
        ...

    async def set_standing(self, subject: str, standing: Standing, reason: str) -> None: ...

    async def standing(self, subject: str) -> StandingRow | None: ...

    async def halted(self, subjects: Sequence[str]) -> StandingRow | None:
        """The first of the subjects, in their order, that may not work."""
        ...

    async def reconcile(self, project: str) -> int:
        """End what no run holds any more: expire leases, turn their reserved attempts in-doubt. Returns how many."""
        ...

    async def lapsed(self) -> list[str]:
        """Projects with something for `reconcile` to end."""
        ...

    async def projects(self) -> list[str]:
        """Projects that have a chain."""
        ...

    async def close(self) -> None: ...
