"""OpenAI's chat completions: requests read, answers and failures written, whole or as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agents.rehearsal.script import Fault
from agents.rehearsal.wire import BROKEN, LABEL, Asked, BadRequestError, Billed, Call, Reply, event, listed, pieces

_FAULTS: dict[Fault, tuple[int, str, str | None]] = {
    Fault.RATE_LIMIT: (429, "requests", "rate_limit_exceeded"),
    Fault.OVERLOADED: (503, "server_error", "overloaded"),
    Fault.SERVER_ERROR: (500, "server_error", None),
    Fault.AUTH: (401, "invalid_request_error", "invalid_api_key"),
    Fault.CONTEXT_TOO_LONG: (400, "invalid_request_error", "context_length_exceeded"),
    Fault.CONTENT_FILTER: (400, "invalid_request_error", "content_policy_violation"),
    Fault.BAD_REQUEST: (400, "invalid_request_error", None),
}
"""Status, type and code."""


class ChatCompletions:
    """`POST /v1/chat/completions`."""

    name = "openai"

    def read(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
        """Understand a request.

        Raises:
            BadRequestError: It names no model, or no messages.
        """
        if not isinstance(body.get("model"), str) or not body.get("messages"):
            raise BadRequestError("model and messages are required")
        return Asked(
            api=self.name,
            model=str(body["model"]),
            messages=listed(body, "messages"),
            tools=listed(body, "tools"),
            stream=bool(body.get("stream")),
            stream_usage=bool((body.get("stream_options") or {}).get("include_usage")),
            max_tokens=int(body.get("max_completion_tokens") or body.get("max_tokens") or 4096),
            key=headers.get("Authorization", "").removeprefix("Bearer "),
            headers=headers,
            body=body,
        )

    def whole(self, asked: Asked, reply: Reply) -> dict[str, Any]:
        """The answer in one piece."""
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
        if reply.calls:
            message["tool_calls"] = [_call(call) for call in reply.calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
        return _frame(asked, reply, "chat.completion") | {"choices": [choice], "usage": _usage(reply.billed)}

    def streamed(self, asked: Asked, reply: Reply) -> Iterator[bytes]:
        """The answer as server-sent events."""

        def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
            return event(frame | {"choices": [choice]})

        frame = _frame(asked, reply, "chat.completion.chunk")
        yield chunk({"role": "assistant", "content": ""})
        for piece in pieces(reply.text):
            yield chunk({"content": piece})
        for index, call in enumerate(reply.calls):
            yield chunk({"tool_calls": [{"index": index, **_call(call, arguments="")}]})
            for piece in pieces(call.arguments):
                yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield chunk({}, reply.finish_reason)
        if asked.stream_usage:
            yield event(frame | {"choices": [], "usage": _usage(reply.billed)})
        yield b"data: [DONE]\n\n"

    def broken(self) -> bytes:
        """The event by which a stream says that its provider failed."""
        return event(self.refused(500, None, BROKEN))

    def refused(self, status: int, fault: Fault | None, message: str) -> dict[str, Any]:
        """The body of a failure."""
        _, kind, code = _FAULTS[fault] if fault else (status, "server_error", None)
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def status(self, fault: Fault) -> int:
        """The HTTP status of a failure."""
        return _FAULTS[fault][0]


def _frame(asked: Asked, reply: Reply, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-rehearsal-{reply.number}",
        "object": kind,
        "created": 1,
        "model": asked.model,
        "system_fingerprint": LABEL,
    }


def _call(call: Call, arguments: str | None = None) -> dict[str, Any]:
    text = call.arguments if arguments is None else arguments
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": text}}


def _usage(billed: Billed) -> dict[str, Any]:
    return {
        "prompt_tokens": billed.prompt,
        "completion_tokens": billed.completion,
        "total_tokens": billed.prompt + billed.completion,
        "prompt_tokens_details": {"cached_tokens": billed.cached},
        "completion_tokens_details": {"reasoning_tokens": billed.reasoning},
    }
