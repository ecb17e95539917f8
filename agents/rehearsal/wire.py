"""What both protocols have in common: a request as it was understood, and an answer before it is put into words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.rehearsal.script import Fault

Chat = dict[str, Any]
"""A message in the OpenAI chat format."""

LABEL = "rehearsal: synthetic prices"
"""Stands in every answer, so that nobody takes its bill for a real one."""

BROKEN = "The server had an error in the middle of its answer."


class BadRequestError(Exception):
    """The request is not what the protocol asks for."""


@dataclass(frozen=True)
class Asked:
    """One request. `key` is the caller's, and is never kept in statistics."""

    api: str
    model: str
    messages: list[Chat]
    tools: list[Chat]
    stream: bool
    max_tokens: int
    stream_usage: bool = True
    key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    @property
    def turn(self) -> int:
        """How many answers the conversation holds already."""
        return sum(message.get("role") == "assistant" for message in self.messages)

    @property
    def last(self) -> str:
        """The last message's text."""
        return str(self.messages[-1].get("content") or "") if self.messages else ""


@dataclass(frozen=True)
class Call:
    """A tool call; `arguments` is text that may be no JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Billed:
    """Tokens. `reasoning` and `cached` are parts of `completion` and `prompt`."""

    prompt: int
    completion: int
    reasoning: int = 0
    cached: int = 0


@dataclass(frozen=True)
class Reply:
    """What is answered."""

    number: int
    text: str
    calls: tuple[Call, ...]
    finish_reason: str
    billed: Billed


class Speech(Protocol):
    """One provider's way of speaking."""

    def read(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
        """Raises BadRequestError."""
        ...

    def whole(self, asked: Asked, reply: Reply) -> dict[str, Any]: ...
    def streamed(self, asked: Asked, reply: Reply) -> Iterator[bytes]: ...
    def broken(self) -> bytes:
        """The event by which a stream says that its provider failed."""
        ...

    def refused(self, status: int, fault: Fault | None, message: str) -> dict[str, Any]: ...
    def status(self, fault: Fault) -> int: ...


def event(data: Mapping[str, Any], name: str | None = None) -> bytes:
    """A server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def pieces(text: str, size: int = 24) -> Iterable[str]:
    """A text as it comes in a stream."""
    return (text[start : start + size] for start in range(0, len(text), size))


def listed(body: Mapping[str, Any], name: str) -> list[Any]:
    """A list of the request, empty where it is left out.

    Raises:
        BadRequestError: It is something else.
    """
    value = body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadRequestError(f"{name} must be a list of objects")
    return value
