"""Reading a conversation in the OpenAI chat format: the assignment, the turns so far, and what arrived in between."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from agents.assignments import Assignment, Feedback

_FENCE = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """One tool call, ours or recorded."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What a tool answered. `error` is set when it refused or failed; `data` is the JSON object it gave."""

    data: dict[str, Any]
    error: str | None = None

    @property
    def ok(self) -> bool:
        return self.error is None

    def get(self, key: str, default: Any = None) -> Any:
        """A field of the answer, `default` where it is absent or null."""
        value = self.data.get(key)
        return default if value is None else value


@dataclass(frozen=True)
class PastTurn:
    """One recorded assistant message with its calls, their results, and the notes that came before it."""

    calls: tuple[Call, ...]
    results: tuple[Result, ...]
    notes_before: tuple[Feedback, ...] = ()


@dataclass(frozen=True)
class Conversation:
    """The whole run so far. `notes` are the messages that came after the last recorded turn."""

    assignment: Assignment | None
    turns: tuple[PastTurn, ...] = ()
    notes: tuple[Feedback, ...] = ()


def read_conversation(messages: list[dict[str, Any]]) -> Conversation:
    """Read chat messages; whatever cannot be understood is treated as a note or as an error, never raised."""
    assignment: Assignment | None = None
    answers = {str(m.get("tool_call_id")): _text(m) for m in messages if m.get("role") == "tool"}
    turns: list[PastTurn] = []
    notes: list[Feedback] = []
    for message in messages:
        if message.get("role") == "assistant":
            turns.append(_turn(message, answers, tuple(notes)))
            notes = []
        elif message.get("role") == "user":
            found = _assignment(_text(message)) if assignment is None else None
            if found is not None:
                assignment = found
            else:
                notes.append(_note(_text(message)))
    return Conversation(assignment, tuple(turns), tuple(notes))


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def _fenced(text: str) -> Any:
    match = _FENCE.search(text)
    try:
        return json.loads(match.group(1) if match else text.partition(":")[2])
    except ValueError:
        return None


def _assignment(text: str) -> Assignment | None:
    if not text.lstrip().startswith("Assignment:"):
        return None
    try:
        return Assignment.model_validate(_fenced(text))
    except ValidationError:
        return None


def _note(text: str) -> Feedback:
    if text.lstrip().startswith("Message:"):
        try:
            return Feedback.model_validate(_fenced(text))
        except ValidationError:
            return Feedback(source="message", text=text)
    return Feedback(source="message", text=text)


def _turn(message: dict[str, Any], answers: dict[str, str], notes: tuple[Feedback, ...]) -> PastTurn:
    calls: list[Call] = []
    results: list[Result] = []
    for raw in message.get("tool_calls") or ():
        function = raw.get("function") or raw
        calls.append(Call(str(function.get("name", "")), _arguments(function.get("arguments"))))
        answer = answers.get(str(raw.get("id")))
        results.append(Result({}, "no answer is on the record") if answer is None else read_result(answer))
    return PastTurn(tuple(calls), tuple(results), notes)


def _arguments(raw: Any) -> dict[str, Any]:
    if isinstance(raw, dict):
        return raw
    try:
        value = json.loads(raw or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def read_result(content: str) -> Result:
    """Read a tool's answer; `error` and `refused` in it make it a failed one."""
    try:
        data = json.loads(content)
    except ValueError:
        return Result({"text": content}, "the answer is not JSON: " + content[:200])
    if not isinstance(data, dict):
        return Result({"value": data})
    if data.get("shortened") is True and "begins" in data:
        return Result(data, "the answer was shortened to fit the window of another model")
    trouble = data.get("error") or data.get("refused")
    if not trouble:
        return Result(data)
    reason = data.get("reason")
    return Result(data, str(reason if trouble is True and reason else trouble))
