"""Tables of the in-memory twin, and what both its halves do with them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from ledger.chain import canonical, decimal_text, seal
from ledger.errors import KeyConflictError
from ledger.events import BudgetLow
from ledger.messages import DeadLetter, Message, NewMessage
from ledger.rows import GENESIS, Budget, Entry, Head, NewEntry, StandingRow, Step, ThreadInfo
from ledger.vocabulary import SOFT_LIMIT_PERCENT, Standing, StepStatus, Usage, is_low


@dataclass
class Thread:
    info: ThreadInfo
    epoch: int = 0
    holder: str | None = None
    expires_at: datetime | None = None
    origin: str | None = None
    """`<thread>#<step>` that it went on from."""

    @property
    def path(self) -> list[str]:
        """Budget scope and ancestors, root first."""
        parts = self.info.budget_scope.split("/")
        return ["/".join(parts[: n + 1]) for n in range(len(parts))]

    @property
    def subjects(self) -> list[str]:
        """Whose standing the thread's steps depend on, shortest first."""
        project, sprint = self.info.project, f"{self.info.project}/s{self.info.sprint}"
        named = (project, sprint, f"{sprint}/{self.info.task}", self.info.agent)
        return sorted(set(named), key=lambda subject: (len(subject), subject))


@dataclass(frozen=True)
class Amount:
    """Dollars and tokens, which are reserved, charged and given back together."""

    usd: Decimal = Decimal(0)
    tokens: int = 0

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.usd - other.usd, self.tokens - other.tokens)


NOTHING = Amount()


@dataclass
class Attempt:
    thread: str
    ordinal: int
    sub: int
    attempt: int
    epoch: int
    name: str
    request_digest: str
    bound: Amount
    worker: str
    asked_at: datetime
    state: StepStatus = StepStatus.RESERVED
    cost: Decimal = Decimal(0)
    model: str | None = None
    usage: Usage | None = None

    @property
    def is_open(self) -> bool:
        return self.state in (StepStatus.RESERVED, StepStatus.IN_DOUBT)


@dataclass(frozen=True)
class KeptStep:
    """A step whose result is kept as text, so that no caller can change it."""

    step: Step
    result: str | None = None

    def read(self) -> Step:
        return self.step.model_copy(update={"result": None if self.result is None else json.loads(self.result)})


@dataclass
class KeptMessage:
    message: NewMessage
    payload: str
    position: int
    at: datetime
    delivered_at: datetime | None = None
    read_by_step: str | None = None
    buried_at: datetime | None = None
    generation: int | None = None
    number: int | None = None

    @property
    def is_unread(self) -> bool:
        return self.read_by_step is None and self.buried_at is None

    def read(self) -> Message:
        values = {**self.message.model_dump(), "payload": json.loads(self.payload)}
        return Message(
            **values, position=self.position, at=self.at, read_by_step=self.read_by_step, generation=self.generation,
            number=self.number, delivered_at=self.delivered_at, buried_at=self.buried_at,
        )  # fmt: skip


@dataclass
class Box:
    """An inbox."""

    capacity: int
    closed: str | None = None
    """Why it is closed."""
    generation: int = 1
    numbered: int = 0


@dataclass(frozen=True)
class Consumer:
    """Who reads an inbox under a name."""

    holder: str
    epoch: int
    expires_at: datetime


StepKey = tuple[str, int, int]


@dataclass
class State:
    """All tables."""

    chains: dict[str, list[Entry]] = field(default_factory=dict[str, list[Entry]])
    keys: dict[tuple[str, str], Entry] = field(default_factory=dict[tuple[str, str], Entry])
    threads: dict[str, Thread] = field(default_factory=dict[str, Thread])
    steps: dict[StepKey, KeptStep] = field(default_factory=dict[StepKey, KeptStep])
    attempts: dict[StepKey, list[Attempt]] = field(default_factory=dict[StepKey, list[Attempt]])
    budgets: dict[str, Budget] = field(default_factory=dict[str, Budget])
    artifacts: dict[str, bytes] = field(default_factory=dict[str, bytes])
    standings: dict[str, StandingRow] = field(default_factory=dict[str, StandingRow])
    messages: dict[str, KeptMessage] = field(default_factory=dict[str, KeptMessage])
    boxes: dict[tuple[str, str], Box] = field(default_factory=dict[tuple[str, str], Box])
    consumers: dict[tuple[str, str, str], Consumer] = field(default_factory=dict[tuple[str, str, str], Consumer])
    letters: dict[str, DeadLetter] = field(default_factory=dict[str, DeadLetter])
    outbox: asyncio.Event = field(default_factory=asyncio.Event)
    """Something was written to it."""

    def head(self, project: str) -> Head:
        chain = self.chains.get(project)
        if not chain:
            return Head(project=project, seq=0, hash=GENESIS)
        return Head(project=project, seq=chain[-1].seq, hash=chain[-1].hash)

    def check_keys(self, entries: tuple[NewEntry, ...]) -> None:
        """Raises KeyConflictError where one of them cannot be appended."""
        seen: dict[tuple[str, str], tuple[str, str]] = {}
        for entry in entries:
            place, content = (entry.project, entry.key), (entry.kind, canonical(entry.body))
            known = self.keys.get(place)
            before = seen.setdefault(place, (known.kind, canonical(known.body)) if known else content)
            if before != content:
                raise KeyConflictError(f"entry {entry.key} of project {entry.project} exists with another kind or body")

    def append(self, entry: NewEntry, now: datetime) -> Entry:
        known = self.keys.get((entry.project, entry.key))
        if known is None:
            known = seal(entry, now, self.head(entry.project))
            self.chains.setdefault(entry.project, []).append(known)
            self.keys[entry.project, entry.key] = known
        return known

    def halted_by(self, thread: Thread) -> str | None:
        rows = (self.standings.get(subject) for subject in thread.subjects)
        row = next((row for row in rows if row and row.standing is not Standing.ACTIVE), None)
        return row and f"{row.subject} is {row.standing}: {row.reason}"

    def change_budgets(
        self, path: Sequence[str], *, reserved: Amount, spent: Amount = NOTHING, violated: str | None = None
    ) -> None:
        """Add to a scope and all its ancestors."""
        for scope in path:
            node = self.budgets[scope]
            self.budgets[scope] = node.model_copy(
                update={
                    "reserved_usd": node.reserved_usd + reserved.usd,
                    "spent_usd": node.spent_usd + spent.usd,
                    "reserved_tokens": node.reserved_tokens + reserved.tokens,
                    "spent_tokens": node.spent_tokens + spent.tokens,
                    "violated": node.violated or scope == violated,
                }
            )

    def note_soft_limit(self, thread: Thread, now: datetime) -> None:
        """One entry for each scope and limit, of dollars or tokens, of which 80 % are spent."""
        for node in (self.budgets[scope] for scope in thread.path):
            if node.limit_usd is not None and is_low(node.spent_usd, node.limit_usd):
                event = BudgetLow(scope=node.scope, limit_usd=node.limit_usd, percent=SOFT_LIMIT_PERCENT)
                self._note_low(thread, event, decimal_text(node.limit_usd), now)
            if is_low(node.spent_tokens, node.limit_tokens):
                event = BudgetLow(scope=node.scope, limit_tokens=node.limit_tokens, percent=SOFT_LIMIT_PERCENT)
                self._note_low(thread, event, f"{node.limit_tokens} tokens", now)

    def _note_low(self, thread: Thread, event: BudgetLow, limit: str, now: datetime) -> None:
        key, body = f"{event.kind}:{event.scope}:{limit}", event.model_dump(exclude_none=True)
        self.append(NewEntry(project=thread.info.project, key=key, kind=event.kind, body=body), now)

    def charge_doubt(self, attempt: Attempt) -> None:
        """Nobody knows whether it was billed, so it counts as spent until the truth is known."""
        attempt.state = StepStatus.IN_DOUBT
        self.change_budgets(self.threads[attempt.thread].path, reserved=NOTHING - attempt.bound, spent=attempt.bound)

    def doubt(self, thread: str) -> int:
        """What was asked and never answered is charged; returns how many."""
        asked = [
            attempt
            for attempts in self.attempts.values()
            for attempt in attempts
            if attempt.thread == thread and attempt.state is StepStatus.RESERVED
        ]
        for attempt in asked:
            self.charge_doubt(attempt)
        for key, kept in self.steps.items():
            if key[0] == thread and kept.step.status is StepStatus.RESERVED:
                self.steps[key] = replace(kept, step=kept.step.model_copy(update={"status": StepStatus.IN_DOUBT}))
        return len(asked)
