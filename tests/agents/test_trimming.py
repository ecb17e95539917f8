"""A shorter conversation for a model that found it too long: still one that a provider accepts."""

from __future__ import annotations

from typing import Any

from agents.models import ModelRequest
from agents.trimming import trimmed

HEAD = ({"role": "system", "content": "be brief"}, {"role": "user", "content": "the assignment"})


def turn(number: int, size: int) -> list[dict[str, Any]]:
    call = {"id": f"c{number}", "type": "function", "function": {"name": "read_file", "arguments": '{"path": "a"}'}}
    return [
        {"role": "assistant", "content": "y" * size, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"c{number}", "name": "read_file", "content": "x" * size},
    ]


def request(*messages: dict[str, Any]) -> ModelRequest:
    return ModelRequest(purpose="test", messages=(*HEAD, *messages))


def size(asked: ModelRequest) -> int:
    return sum(len(message["content"] or "") for message in asked.messages)


def test_old_tool_outputs_are_shortened_first_and_every_turn_stays() -> None:
    asked = request(*turn(1, 10), {"role": "tool", "tool_call_id": "c1", "content": "z" * 20_000}, *turn(2, 10))
    shorter = trimmed(asked)
    assert shorter is not None
    assert len(shorter.messages) == len(asked.messages)
    assert size(shorter) < size(asked) / 2


def test_then_the_oldest_turns_go_and_no_result_is_left_without_its_call() -> None:
    asked = request(*(message for number in range(20) for message in turn(number, 500)))
    shorter = trimmed(asked)
    assert shorter is not None
    assert size(shorter) < size(asked) * 0.6
    assert shorter.messages[:2] == HEAD
    assert "left out" in str(shorter.messages[2]["content"])
    calls = {call["id"] for message in shorter.messages for call in message.get("tool_calls") or ()}
    assert {message["tool_call_id"] for message in shorter.messages if message["role"] == "tool"} == calls
    assert shorter.messages[-1] == asked.messages[-1]


def test_the_same_request_is_always_trimmed_alike() -> None:
    asked = request(*(message for number in range(9) for message in turn(number, 700)))
    assert trimmed(asked) == trimmed(asked)


def test_what_is_only_an_assignment_cannot_be_shortened() -> None:
    assert trimmed(request()) is None
