"""What a model is shown: system prompt, assignment, messages, and a window that old tool output gives way to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import ModuleType

from agents.assignments import Assignment, Feedback
from agents.models import ModelRequest
from agents.prompts import v1, v2
from agents.roles import AGENT_TYPES, OFFLINE_MODEL
from agents.team import agent_name
from ledger.vocabulary import Json, Seat

Chat = dict[str, Json]
"""One message in the OpenAI chat format."""

PROMPT_VERSION = "v2"
"""What new runs begin with; a run keeps the version it began with."""

_VERSIONS: Mapping[str, ModuleType] = {"v1": v1, "v2": v2}
WITHOUT_BOARD = frozenset({"v1"})
"""Versions whose runs know nothing of boards and are offered none of their tools."""

WINDOW_CHARS = 320_000
"""Characters of a conversation that a model is sent: about 100,000 tokens."""
NO_WINDOW = 50_000_000
"""The offline maintainer reads every tool result again at each turn and is charged for none."""

KEPT_CHARS = 600
"""What is left of the beginning of a tool output that was shortened."""

MAX_TOKENS = 8_192


def system_prompt(assignment: Assignment, version: str, guidance: str = "") -> str:
    """The prompt of a role in the version that the run began with, and what the project's people ask of it.

    Raises:
        KeyError: This build no longer holds that version.
    """
    prompts = _VERSIONS[version]
    kind = AGENT_TYPES[assignment.role]
    seat = assignment.seat or Seat.TECHNICAL
    title = prompts.TITLES.get(assignment.role, kind.title)
    common = prompts.COMMON.format(name=agent_name(assignment.agent), title=title, ending=prompts.FINISH)
    task = prompts.WORK.get(assignment.work) or prompts.ROLES[assignment.role]
    return "".join(
        (
            common,
            prompts.TEAM if kind.shares else "",
            "\n" + task.replace("{seat}", seat).replace("{duty}", prompts.DUTIES[seat]),
            f"\n{prompts.GUIDANCE}{guidance}" if guidance else "",
        )
    )


def opening(assignment: Assignment, version: str, guidance: str = "") -> list[Chat]:
    """The first two messages of every run."""
    told = assignment.model_dump(mode="json")
    if not assignment.colleagues:
        del told["colleagues"]  # runs that began before there were any must ask what they asked
    return [
        {"role": "system", "content": system_prompt(assignment, version, guidance)},
        {"role": "user", "content": "Assignment:\n" + _fenced(told)},
    ]


def note(feedback: Feedback) -> Chat:
    """A message that arrives while the agent works."""
    return {"role": "user", "content": "Message:\n" + _fenced(feedback.model_dump(mode="json"))}


def window_for(chain: Sequence[str]) -> int:
    """Characters of conversation that a run is given; decided once, when it begins."""
    return NO_WINDOW if chain and chain[0] == OFFLINE_MODEL else WINDOW_CHARS


def request(purpose: str, messages: Sequence[Chat], tools: Sequence[Mapping[str, Json]], window: int) -> ModelRequest:
    """One call over the conversation so far, within the window.

    It holds the very messages and tools that it is given, unchecked and uncopied: they are our own, and their digest is made
    of parts that are known from the turn before.
    """
    return ModelRequest.model_construct(
        purpose=purpose, messages=tuple(fit(messages, window)), tools=tuple(tools), max_tokens=MAX_TOKENS
    )


def fit(messages: Sequence[Chat], window: int) -> list[Chat]:
    """Shorten the oldest tool outputs until the conversation fits; instructions, calls and messages stay whole.

    The same messages always give the same window, so a replay asks the same thing.
    """
    fitted = list(messages)
    excess = sum(map(_size, fitted)) - window
    for index, message in enumerate(fitted):
        if excess <= 0:
            break
        if message.get("role") == "tool" and len(message["content"]) > 2 * KEPT_CHARS:
            fitted[index] = shortened = _shortened(message)
            excess -= _size(message) - _size(shortened)
    return fitted


def _shortened(message: Chat) -> Chat:
    content = message["content"]
    rest = {"shortened": True, "characters": len(content), "begins": content[:KEPT_CHARS]}
    return {**message, "content": json.dumps(rest, ensure_ascii=False)}


def _size(message: Chat) -> int:
    calls = message.get("tool_calls")
    return len(message.get("content") or "") + (len(json.dumps(calls)) if calls else len('""'))


def _fenced(value: Json) -> str:
    return "```json\n" + json.dumps(value, ensure_ascii=False, indent=2) + "\n```"
