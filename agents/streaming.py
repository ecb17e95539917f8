"""Streamed answers put together again: from a provider's events to the body that it would have sent in one piece.

Only what belongs to the answer is kept, and an answer counts as complete when its provider has said why it ended and what
it used; anything less may be billed and is no answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

Body = dict[str, Any]


class StreamCutError(Exception):
    """The stream ended before the answer did."""


class StreamGarbledError(Exception):
    """The stream holds what is no event of its protocol."""


class Assembly(Protocol):
    """One answer while it comes in."""

    asks: bytes
    """Members of the request's JSON object that ask for a stream."""
    ended: bool
    """The provider has said that nothing follows."""

    def take(self, data: bytes) -> str:
        """Add an event; returns what of it a person may read at once.

        Raises:
            StreamCutError: The provider says that it failed.
            StreamGarbledError: It cannot be read.
        """
        ...

    def missing(self) -> str:
        """What an answer must have and this one has not yet; empty when it is complete."""
        ...

    def whole(self) -> Body:
        """The answer as it would have come unstreamed."""
        ...


def assembly_for(path: str) -> Assembly | None:
    """How answers from a path are put together; None where it is not known and they are asked for whole."""
    if path.endswith("/chat/completions"):
        return ChatCompletion()
    return Message() if path.endswith("/messages") else None


class ChatCompletion:
    """OpenAI's chat completion chunks, as most providers send them."""

    asks = b'"stream":true,"stream_options":{"include_usage":true}'

    def __init__(self) -> None:
        self.ended = False
        self._frame: Body = {}
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, tuple[Body, list[str]]] = {}
        self._reason: str | None = None

    def take(self, data: bytes) -> str:
        if data == b"[DONE]":
            self.ended = True
            return ""
        chunk = _event(data)
        if (error := chunk.get("error")) is not None:
            raise StreamCutError(f"the provider broke off: {_said(error)}")
        self._frame |= {name: value for name, value in chunk.items() if name != "choices" and value is not None}
        return "".join(self._choice(choice) for choice in chunk.get("choices") or () if not choice.get("index"))

    def missing(self) -> str:
        if self._reason is None:
            return "a finish reason"
        return "" if self._frame.get("usage") else "usage"

    def whole(self) -> Body:
        message: Body = {"role": "assistant", "content": None}
        message |= {name: "".join(texts) for name, texts in self._texts.items()}
        if self._calls:
            message["tool_calls"] = [_call(*self._calls[index]) for index in sorted(self._calls)]
        choice = {"index": 0, "message": message, "finish_reason": self._reason}
        return self._frame | {"object": "chat.completion", "choices": [choice]}

    def _choice(self, choice: Body) -> str:
        self._reason = choice.get("finish_reason") or self._reason
        delta: Body = choice.get("delta") or {}
        for name in ("content", "reasoning_content", "refusal"):
            if text := delta.get(name):
                self._texts.setdefault(name, []).append(text)
        begun = [self._tool(call) for call in delta.get("tool_calls") or ()]
        return (delta.get("content") or "") + "".join(begun)

    def _tool(self, part: Body) -> str:
        """A call's id and name come once, its arguments bit by bit."""
        index: int = part.get("index") or 0
        call, arguments = self._calls.setdefault(index, ({}, []))
        function: Body = part.get("function") or {}
        arguments.append(function.get("arguments") or "")
        if part.get("id"):
            call["id"] = part["id"]
        if not (name := function.get("name")):
            return ""
        call["name"] = name
        return _begins(name)


class Message:
    """Anthropic's message events."""

    asks = b'"stream":true'

    def __init__(self) -> None:
        self.ended = False
        self._message: Body = {}
        self._blocks: dict[int, Body] = {}
        self._parts: dict[int, dict[str, list[str]]] = {}
        self._billed = False

    def take(self, data: bytes) -> str:
        event = _event(data)
        match event.get("type"):
            case "message_start":
                self._message = dict(event["message"])
            case "content_block_start":
                return self._block(event["index"], dict(event["content_block"]))
            case "content_block_delta":
                return self._delta(event["index"], event["delta"])
            case "message_delta":
                self._end(event)
            case "message_stop":
                self.ended = True
            case "error":
                raise StreamCutError(f"the provider broke off: {_said(event.get('error'))}")
            case _:  # a ping, or what was invented later
                pass
        return ""

    def missing(self) -> str:
        if not self._message.get("stop_reason"):
            return "a stop reason"
        return "" if self._billed else "usage"

    def whole(self) -> Body:
        blocks = [_joined(self._blocks[index], self._parts[index]) for index in sorted(self._blocks)]
        return self._message | {"content": blocks}

    def _block(self, index: int, block: Body) -> str:
        self._blocks[index], self._parts[index] = block, {}
        return _begins(block["name"]) if block.get("type") == "tool_use" else ""

    def _delta(self, index: int, delta: Body) -> str:
        for name in ("text", "partial_json", "thinking", "signature"):
            if name in delta:
                self._parts[index].setdefault(name, []).append(delta[name])
        if "citation" in delta:
            self._blocks[index].setdefault("citations", []).append(delta["citation"])
        return delta.get("text") or ""

    def _end(self, event: Body) -> None:
        self._message |= {name: value for name, value in event["delta"].items() if value is not None}
        if usage := event.get("usage"):
            # Cumulative, but what was said at the start may be left out.
            said: Body = self._message.get("usage") or {}
            self._message["usage"] = said | {name: value for name, value in usage.items() if value is not None}
            self._billed = True


def _event(data: bytes) -> Body:
    try:
        event = json.loads(data)
    except ValueError as error:
        raise StreamGarbledError("an event of the stream is no JSON") from error
    if not isinstance(event, dict):
        raise StreamGarbledError("an event of the stream is no object")
    return event


def _said(error: Any) -> str:
    return str(error.get("message") or error) if isinstance(error, Mapping) else str(error)


def _begins(tool: str) -> str:
    return f" [{tool}] "


def _call(call: Body, arguments: list[str]) -> Body:
    function = {"name": call.get("name"), "arguments": "".join(arguments)}
    return {"id": call.get("id"), "type": "function", "function": function}


def _joined(block: Body, parts: Mapping[str, list[str]]) -> Body:
    joined: Body = {name: str(block.get(name) or "") + "".join(pieces) for name, pieces in parts.items()}
    if (arguments := joined.pop("partial_json", "")) or block.get("type") == "tool_use":
        joined["input"] = _input(arguments) if arguments else block.get("input") or {}
    return block | joined


def _input(arguments: str) -> Any:
    """Arguments that break off stay a text, and are found wrong where all arguments are checked."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments
