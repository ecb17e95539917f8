"""What a run writes, each item with an answer of its own: `Store.apply` takes them in groups."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from ledger.messages import Message, NewMessage
from ledger.rows import Budget, Lease, NewEntry, Step, ThreadInfo
from ledger.teamwork import Card, Memory
from ledger.vocabulary import Exceeded, Json, Record, StepKind, StepStatus, Usage


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
    """Take a thread, as `Store.acquire_lease` does, and read what a run needs to begin.

    What is missing of the thread's budget scope is opened with it, without limits, where the project has a budget.
    """

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
