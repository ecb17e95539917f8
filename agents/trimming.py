"""A shorter request, for a model that found the conversation too long although it was within its run's window."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from agents.context import fit
from agents.models import ModelRequest
from ledger.vocabulary import Json

OPENING = 2
"""The system prompt and the assignment, which are never left out."""
NAMED = 20
"""Tools and paths that are named of what was left out; the rest is counted."""
MAX_PATH = 120


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
    return (*opening, {"role": "user", "content": _account(rest[:first])}, *rest[first:])


def _account(left_out: Sequence[dict[str, Json]]) -> str:
    """What was left out, counted from its calls; nothing is said of what they found, because nobody has read it."""
    calls = [call["function"] for message in left_out for call in message.get("tool_calls") or ()]
    names = Counter(str(call["name"]) for call in calls)
    paths = list(dict.fromkeys(path for call in calls for path in _paths(call["arguments"])))
    told = sum(message.get("role") == "user" for message in left_out)
    parts = [f"{len(left_out)} earlier messages of this conversation were left out because it became too long."]
    parts += (
        [f"They held these calls of yours: {_listed(f'{name} {n}x' for name, n in names.items())}."] if names else []
    )
    parts += [f"These named the paths {_listed(paths)}."] if paths else []
    parts += [f"{told} of them were messages to you."] if told else []
    return f"({' '.join(parts)} What they found is not here any more: look again at what you need.)"


def _paths(arguments: str) -> list[str]:
    """The paths that a call names in its arguments."""
    try:
        given = json.loads(arguments)
    except ValueError:
        return []
    if not isinstance(given, dict):
        return []
    values = [given.get("path"), *(given["paths"] if isinstance(given.get("paths"), list) else ())]
    return [value[:MAX_PATH] for value in values if isinstance(value, str) and value]


def _listed(items: Iterable[str]) -> str:
    named = list(items)
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return ", ".join(named[:NAMED]) + more


def _size(messages: tuple[dict[str, Json], ...]) -> int:
    return sum(
        len(message.get("content") or "") + len(json.dumps(message.get("tool_calls") or "")) for message in messages
    )
