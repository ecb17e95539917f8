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


def test_what_was_left_out_is_counted_and_nothing_is_made_up() -> None:
    asked = request(
        *(message for number in range(20) for message in turn(number, 500)),
        {"role": "user", "content": "hurry"},
        *(message for number in range(20, 30) for message in turn(number, 500)),
    )
    odd = {"id": "c0", "type": "function", "function": {"name": "run_tests", "arguments": "no json"}}
    asked.messages[2]["tool_calls"].append(odd)
    asked.messages[4]["tool_calls"][0]["function"]["arguments"] = '{"paths": ["b.py", 7], "path": null}'
    shorter = trimmed(asked)
    assert shorter is not None
    left_out = len(asked.messages) - (len(shorter.messages) - 1)
    said = str(shorter.messages[2]["content"])
    gone = asked.messages[2 : 2 + left_out]
    reads = sum(call["function"]["name"] == "read_file" for m in gone for call in m.get("tool_calls") or ())
    assert f"({left_out} earlier messages" in said
    assert f"read_file {reads}x, run_tests 1x" in said
    assert "the paths a, b.py." in said
    assert ("messages to you" in said) == any(message["role"] == "user" for message in gone)


def test_the_account_of_many_paths_stays_short() -> None:
    turns = [turn(number, 300) for number in range(300)]
    for number, (said, _) in enumerate(turns):
        said["tool_calls"][0]["function"]["arguments"] = f'{{"path": "{"d" * 500}{number}.py"}}'
    shorter = trimmed(request(*(message for pair in turns for message in pair)))
    assert shorter is not None
    assert len(str(shorter.messages[2]["content"])) < 3500


def test_the_same_request_is_always_trimmed_alike() -> None:
    asked = request(*(message for number in range(9) for message in turn(number, 700)))
    assert trimmed(asked) == trimmed(asked)


def test_what_is_only_an_assignment_cannot_be_shortened() -> None:
    assert trimmed(request()) is None
