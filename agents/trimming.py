"""A shorter request, for a model that found the conversation too long although it was within its run's window."""

from __future__ import annotations

import json

from agents.context import fit
from agents.models import ModelRequest
from ledger.vocabulary import Json

OPENING = 2
"""The system prompt and the assignment, which are never left out."""


def trimmed(request: ModelRequest) -> ModelRequest | None:
    """The request at about half its size: old tool outputs shortened, then the oldest turns left out and counted.

    None where nothing can be left out. The same request always gives the same one.
    """
    wanted = _size(request.messages) // 2
    shorter = tuple(fit(request.messages, wanted))
    if _size(shorter) > wanted:
        shorter = _without_oldest(shorter, wanted)
    return None if shorter == request.messages else request.model_copy(update={"messages": shorter})


def _without_oldest(messages: tuple[dict[str, Json], ...], wanted: int) -> tuple[dict[str, Json], ...]:
    opening, rest = messages[:OPENING], messages[OPENING:]
    # A tool's result must follow the call it answers, so the conversation can only begin at a turn of the model.
    starts = [index for index, message in enumerate(rest) if index and message.get("role") == "assistant"]
    if not starts:
        return messages
    first = next((index for index in starts if _size((*opening, *rest[index:])) <= wanted), starts[-1])
    said: dict[str, Json] = {
        "role": "user",
        "content": f"({first} earlier messages of this conversation were left out because it became too long.)",
    }
    return (*opening, said, *rest[first:])


def _size(messages: tuple[dict[str, Json], ...]) -> int:
    return sum(
        len(message.get("content") or "") + len(json.dumps(message.get("tool_calls") or "")) for message in messages
    )
