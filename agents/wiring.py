"""What a run's steps are connected to, and what they hand over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from agents.behind import Submit
from agents.receipts import Pen, StepKey
from agents.tools.base import ToolResult
from ledger.items import Receipt
from ledger.messages import NewMessage
from ledger.rows import NewEntry
from ledger.vocabulary import Json


@dataclass(frozen=True)
class Reading:
    """What an input step read, and what its commit says about messages."""

    value: Json
    outbox: tuple[NewMessage, ...] = ()
    acknowledged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Performed:
    """What a tool step did; `commit` where it changed files."""

    result: ToolResult
    commit: str | None = None
    outbox: tuple[NewMessage, ...] = ()


class Judged(Protocol):
    """A policy's decision on a tool call."""

    @property
    def allowed(self) -> bool: ...
    @property
    def reason(self) -> str: ...


class Observer(Protocol):
    """Told about steps that are done for real; what is served happened before and is not told again."""

    def begins(self, key: StepKey) -> None: ...
    def ended(self, receipt: Receipt) -> None: ...


class Guard(Protocol):
    """Says whether a run may go on."""

    def check(self) -> None:
        """May another step start? Raises RunStoppedError, HaltedError or LostLeaseError."""
        ...

    def holds(self) -> bool:
        """Whether the thread is still this run's own."""
        ...


@dataclass
class Totals:
    """What the thread amounts to so far, served steps included. `commit` is the last one that a step made."""

    steps: int = 0
    model_calls: int = 0
    cost_usd: Decimal = Decimal(0)
    tokens: int = 0
    commit: str | None = None


@dataclass(frozen=True)
class Wiring:
    """What one run's steps are connected to.

    `before_first_real` gets the last served commit (None where no served step changed files) and brings the worktree
    there; it runs once, before anything is done for real.
    """

    pen: Pen
    submit: Submit
    record: Callable[[Sequence[NewEntry]], Awaitable[object]]
    guard: Guard
    observer: Observer
    before_first_real: Callable[[str | None], Awaitable[None]]
