"""What goes to a model and what comes back, free of any provider's library."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from ledger.vocabulary import Json, Record, Usage


@dataclass(frozen=True)
class Bound:
    """What one call can take at most: US dollars, and tokens of prompt and completion together."""

    usd: Decimal = Decimal(0)
    tokens: int = 0


class ToolCall(Record):
    id: str
    name: str
    arguments: str
    """JSON text exactly as the model wrote it; it may be invalid."""


class ModelRequest(Record):
    """One call. `messages` and `tools` are in the OpenAI chat format. The chain is no part of the digest."""

    purpose: str
    messages: tuple[dict[str, Json], ...]
    tools: tuple[dict[str, Json], ...] = ()
    tool_choice: str = "auto"
    max_tokens: int = 4096


class ModelAnswer(Record):
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    model: str
    """`provider/model` that answered."""
    finish_reason: str = "stop"
    usage: Usage = Usage()
    cost_usd: Decimal = Decimal(0)


Lost = Callable[[Sequence[str]], Awaitable[None]]
"""Told, before the rest of the chain is asked, that a call may stand on the bill without an answer."""

Heard = Callable[[str], None]
"""Told an answer's text bit by bit while it comes, and an empty text when a stream begins, since the one before it may have
failed. What is told is for watching only."""

listener: ContextVar[Heard | None] = ContextVar("listener", default=None)
"""Who hears what models say; ambient as a trace is, because nothing of an answer depends on it."""


@contextmanager
def hearing(heard: Heard) -> Iterator[None]:
    """Hear what is said to calls within the block, and in tasks that it starts."""
    token = listener.set(heard)
    try:
        yield
    finally:
        listener.reset(token)


class Models(Protocol):
    """The way to models: `agents.gateway.Gateway`, or what records and replays in its place."""

    async def ready(self) -> None:
        """Wait until models can be asked: a worker that has just started may still be importing what asks them."""
        ...

    def bound(self, request: ModelRequest, chain: Sequence[str]) -> Bound:
        """Upper bound of one call to any model of the chain."""
        ...

    async def complete(
        self, request: ModelRequest, chain: Sequence[str], offset: int = 0, *, lost: Lost | None = None
    ) -> ModelAnswer:
        """The first answer of the chain. Raises ModelError."""
        ...
