"""The task that every row does, and the model that answers all of them: standard library only, since peers import it.

Five model turns and four tool steps with messages of 500 characters. The model is a coroutine of this process with a fixed
latency, so that rows differ in what they keep and never in how they reach a model.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

TURNS = 5
TOOL_STEPS = TURNS - 1
CHARS = 500
TEXT = ("The quick brown fox jumps over the lazy dog. " * 12)[:CHARS]
TOOL = "bench_look"

Message = dict[str, Any]


@dataclass
class Model:
    """Answers after `latency_s`, and counts what it was asked."""

    latency_s: float = 0.0
    calls: int = 0
    tool_calls: int = 0

    async def answer(self, turn: int) -> Message:
        """The model's message of a turn (from 0): a tool call in all but the last."""
        self.calls += 1
        await asyncio.sleep(self.latency_s)
        message: Message = {"role": "assistant", "content": TEXT}
        if turn < TOOL_STEPS:
            message["tool_calls"] = [{"id": f"call-{turn}", "name": TOOL, "arguments": f'{{"place": {turn}}}'}]
        return message

    async def look(self) -> Message:
        """What the tool gives."""
        self.tool_calls += 1
        return {"role": "tool", "content": TEXT}


MODEL = Model()
"""The one of this process."""


def first() -> Message:
    """What a task begins with."""
    return {"role": "user", "content": TEXT}


def turns(messages: list[Message]) -> int:
    """How often the model has spoken."""
    return sum(message["role"] == "assistant" for message in messages)


async def plainly() -> list[Message]:
    """The whole task in one go, with nothing kept."""
    messages = [first()]
    for turn in range(TURNS):
        messages.append(await MODEL.answer(turn))
        if turn < TOOL_STEPS:
            messages.append(await MODEL.look())
    return messages


def check(messages: list[Message]) -> None:
    """A task that did less than the others must not look fast."""
    roles = [message["role"] for message in messages]
    assert roles == ["user", *["assistant", "tool"] * TOOL_STEPS, "assistant"], roles
    assert all(len(message["content"]) == CHARS for message in messages)
