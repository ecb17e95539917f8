"""Anthropic's messages: requests read, answers and failures written, whole or as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from agents.rehearsal.script import Fault
from agents.rehearsal.wire import (
    BROKEN,
    LABEL,
    Asked,
    BadRequestError,
    Billed,
    Call,
    Chat,
    Reply,
    event,
    listed,
    pieces,
)

_FAULTS: dict[Fault, tuple[int, str]] = {
    Fault.RATE_LIMIT: (429, "rate_limit_error"),
    Fault.OVERLOADED: (529, "overloaded_error"),
    Fault.SERVER_ERROR: (500, "api_error"),
    Fault.AUTH: (401, "authentication_error"),
    Fault.CONTEXT_TOO_LONG: (400, "invalid_request_error"),
    Fault.CONTENT_FILTER: (400, "invalid_request_error"),
    Fault.BAD_REQUEST: (400, "invalid_request_error"),
}
_STOPS = {"tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}


class Messages:
    """`POST /v1/messages`."""

    name = "anthropic"

    def read(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
        """Understand a request.

        Raises:
            BadRequestError: It names no model, no messages, or no limit of tokens.
        """
        if not isinstance(body.get("model"), str) or not body.get("messages") or not body.get("max_tokens"):
            raise BadRequestError("model, messages and max_tokens are required")
        system = "".join(_text(block) for block in _blocks(body.get("system")))
        opening: list[Chat] = [{"role": "system", "content": system}] if system else []
        return Asked(
            api=self.name,
            model=str(body["model"]),
            messages=[*opening, *(chat for message in listed(body, "messages") for chat in _chats(message))],
            tools=[_tool(tool) for tool in listed(body, "tools")],
            stream=bool(body.get("stream")),
            max_tokens=int(body["max_tokens"]),
            key=headers.get("x-api-key", ""),
            headers=headers,
            body=body,
        )

    def whole(self, asked: Asked, reply: Reply) -> dict[str, Any]:
        """The answer in one piece."""
        text = [{"type": "text", "text": reply.text}] if reply.text else []
        calls = [{**_use(call), "input": _input(call.arguments)} for call in reply.calls]
        stop = {"stop_reason": _stop(reply), "stop_sequence": None}
        return _frame(asked, reply) | {"content": [*text, *calls], **stop, "usage": _usage(reply.billed)}

    def streamed(self, asked: Asked, reply: Reply) -> Iterator[bytes]:
        """The answer as server-sent events."""
        usage = _usage(reply.billed) | {"output_tokens": 1} if asked.stream_usage else None
        begun = {"stop_reason": None, "usage": usage}
        start = _frame(asked, reply) | {"content": [], "stop_sequence": None, **begun}
        yield _event("message_start", message=start)
        for index, (block, deltas) in enumerate(_streamed_blocks(reply)):
            yield _event("content_block_start", index=index, content_block=block)
            for delta in deltas:
                yield _event("content_block_delta", index=index, delta=delta)
            yield _event("content_block_stop", index=index)
        stop = {"stop_reason": _stop(reply), "stop_sequence": None}
        billed = {"usage": {"output_tokens": reply.billed.completion}} if asked.stream_usage else {}
        yield _event("message_delta", delta=stop, **billed)
        yield _event("message_stop")

    def broken(self) -> bytes:
        """The event by which a stream says that its provider failed."""
        return event(self.refused(529, Fault.OVERLOADED, BROKEN), "error")

    def refused(self, status: int, fault: Fault | None, message: str) -> dict[str, Any]:
        """The body of a failure."""
        kind = _FAULTS[fault][1] if fault else "api_error"
        return {"type": "error", "error": {"type": kind, "message": message}}

    def status(self, fault: Fault) -> int:
        """The HTTP status of a failure."""
        return _FAULTS[fault][0]


def _event(kind: str, **fields: Any) -> bytes:
    return event({"type": kind, **fields}, kind)


def _frame(asked: Asked, reply: Reply) -> dict[str, Any]:
    return {
        "id": f"msg_rehearsal_{reply.number}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "container": None,
        "note": LABEL,
    }


def _streamed_blocks(reply: Reply) -> Iterator[tuple[dict[str, Any], Iterator[dict[str, Any]]]]:
    if reply.text:
        texts = ({"type": "text_delta", "text": piece} for piece in pieces(reply.text))
        yield {"type": "text", "text": ""}, texts
    for call in reply.calls:
        parts = ({"type": "input_json_delta", "partial_json": piece} for piece in pieces(call.arguments))
        yield {**_use(call), "input": {}}, parts


def _use(call: Call) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name}


def _input(arguments: str) -> Any:
    """An object; broken text stays a text, which is as wrong as this protocol can be."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _stop(reply: Reply) -> str:
    return _STOPS.get(reply.finish_reason, "end_turn")


def _usage(billed: Billed) -> dict[str, Any]:
    """Tokens read from a cache are not counted among the input's here."""
    return {
        "input_tokens": billed.prompt - billed.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": billed.cached,
        "output_tokens": billed.completion,
    }


def _blocks(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if content is None or (isinstance(content, list) and all(isinstance(block, dict) for block in content)):
        return content or []
    raise BadRequestError("content must be a text or a list of blocks")


def _text(block: Mapping[str, Any]) -> str:
    return str(block.get("text") or "")


def _chats(message: Mapping[str, Any]) -> Iterator[Chat]:
    """The same message in the OpenAI chat format: one for each block that a person or a tool sent."""
    blocks = _blocks(message.get("content"))
    if message.get("role") == "assistant":
        chat: Chat = {"role": "assistant", "content": "".join(map(_text, blocks)) or None}
        if calls := [_recorded(block) for block in blocks if block.get("type") == "tool_use"]:
            chat["tool_calls"] = calls
        yield chat
        return
    for block in blocks:
        if block.get("type") == "tool_result":
            content = "".join(_text(part) for part in _blocks(block.get("content")))
            yield {"role": "tool", "tool_call_id": str(block.get("tool_use_id")), "content": content}
        else:
            yield {"role": "user", "content": _text(block)}


def _recorded(block: Mapping[str, Any]) -> dict[str, Any]:
    arguments = json.dumps(block.get("input"), ensure_ascii=False)
    return {
        "id": block.get("id"),
        "type": "function",
        "function": {"name": block.get("name"), "arguments": arguments},
    }


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = {
        "name": tool.get("name"),
        "description": tool.get("description", ""),
        "parameters": tool.get("input_schema") or {},
    }
    return {"type": "function", "function": function}
