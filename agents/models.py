"""What goes to a model and what comes back, free of any provider's library."""

from __future__ import annotations

from decimal import Decimal

from ledger.vocabulary import Json, Record, Usage


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
