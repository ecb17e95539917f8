"""Serve a recording in place of models, and say where a run departs from it."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog

from agents.errors import ModelRefusedError, RecordingError, ReplayError
from agents.models import Bound, Lost, ModelAnswer, ModelRequest
from agents.recording import VERSION, Request
from ledger.vocabulary import Json, Usage

log = structlog.get_logger(__name__)

SHOWN_CHARS = 80
"""Of each side of a difference."""


@dataclass(frozen=True)
class Recorded:
    """One call of a recording; `position` counts from 1."""

    position: int
    line: Mapping[str, Json]


@dataclass
class Recording:
    """A recording in memory."""

    calls: list[Recorded] = field(default_factory=list[Recorded])
    parts: dict[str, Json] = field(default_factory=dict[str, Json])
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


def read_recording(path: Path) -> Recording:
    """Read a file that a recorder wrote.

    Raises:
        RecordingError: It is missing, of another version, or holds no call.
    """
    recording = Recording()
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    _take(recording, text, path, number)
    except (OSError, UnicodeDecodeError) as error:
        raise RecordingError(f"the recording {path} cannot be read: {error}") from error
    if not recording.calls:
        raise RecordingError(f"{path} holds no recorded call; write one with SYNDIC_MODELS=record:{path}")
    return recording


def _take(recording: Recording, text: str, path: Path, number: int) -> None:
    try:
        line = json.loads(text)
    except ValueError:
        log.warning(
            "recording_line_torn", file=str(path), line=number
        )  # the recording worker was killed while it wrote
        return
    match line.get("kind"):
        case "recording" if line.get("version") != VERSION:
            raise RecordingError(f"{path}:{number}: version {line.get('version')} of recordings is not known here")
        case "recording":
            recording.chains = recording.chains or {name: tuple(chain) for name, chain in line["chains"].items()}
        case "part":
            recording.parts[line["digest"]] = line["value"]
        case "call":
            recording.calls.append(Recorded(len(recording.calls) + 1, line))
        case kind:
            raise RecordingError(f"{path}:{number}: {kind!r} is no line of a recording")


class Replayer:
    """Answers from a recording. A request that occurs several times is answered in the recorded order; the last answer stands
    for whoever asks once more, as a run does whose worker died before it could journal the answer.
    """

    def __init__(self, recording: Recording, source: str = "the recording") -> None:
        self._recording = recording
        self._source = source
        self._left: dict[str, deque[Recorded]] = defaultdict(deque)
        self._last: dict[str, Recorded] = {}
        for call in recording.calls:
            self._left[call.line["key"]].append(call)

    async def ready(self) -> None:
        """At once: nobody is asked."""

    def bound(self, request: ModelRequest, chain: Sequence[str]) -> Bound:
        """Nothing is asked, so nothing is reserved."""
        return Bound()

    async def complete(
        self, request: ModelRequest, chain: Sequence[str], offset: int = 0, *, lost: Lost | None = None
    ) -> ModelAnswer:
        """The recorded answer, free of charge and labelled `replay`.

        Raises:
            ReplayError: The recording holds no such request; says which one differs, and where.
            ModelRefusedError: So the recorded call ended.
        """
        asked = Request(request)
        found = self._next(asked.key)
        if found is None:
            raise ReplayError(self._departure(asked))
        if (refused := found.line.get("refused")) is not None:
            raise ModelRefusedError(refused)
        answer = ModelAnswer.model_validate(found.line["answer"])
        return answer.model_copy(
            update={"model": f"replay/{answer.model}", "cost_usd": Decimal(0), "usage": Usage()},
        )

    def _next(self, key: str) -> Recorded | None:
        if left := self._left.get(key):
            self._last[key] = left.popleft()
        return self._last.get(key)

    def _departure(self, asked: Request) -> str:
        purpose = asked.asked.purpose
        calls = [call for call in self._recording.calls if call.line["purpose"] == purpose]
        opening = f"the run departs from {self._source}: this {purpose} request was not recorded"
        if not calls:
            return f"{opening}, nor was any other for {purpose}"
        nearest = max(calls, key=lambda call: _likeness(call, asked))
        return (
            f"{opening}; the nearest is request {nearest.position} ({purpose}), and {self._difference(nearest, asked)}"
        )

    def _difference(self, recorded: Recorded, asked: Request) -> str:
        for name in ("max_tokens", "tool_choice"):
            if (was := recorded.line[name]) != asked.line[name]:
                return f"{name} was {was} and is {asked.line[name]}"
        common = _common(recorded.line["messages"], asked.messages)
        was = self._message(recorded.line["messages"], common)
        now = asked.parts.get(asked.messages[common]) if common < len(asked.messages) else None
        if was is None and now is None:
            return "the tools on offer differ: " + self._tools(recorded, asked)
        role = (now or was or {}).get("role", "?")
        return f"message {common} ({role}) differs: {_shown(was, now)}"

    def _message(self, digests: Sequence[str], index: int) -> Any:
        return self._recording.parts.get(digests[index]) if index < len(digests) else None

    def _tools(self, recorded: Recorded, asked: Request) -> str:
        was = {_name(tool): tool for tool in self._recording.parts.get(recorded.line["tools"]) or ()}
        now = {_name(tool): tool for tool in asked.parts[asked.tools]}
        gone, new = sorted(was.keys() - now.keys()), sorted(now.keys() - was.keys())
        changed = sorted(name for name in was.keys() & now.keys() if was[name] != now[name])
        named = (("gone", gone), ("new", new), ("described anew", changed))
        return "; ".join(f"{how}: {', '.join(names)}" for how, names in named if names) or "their order"


def _likeness(call: Recorded, asked: Request) -> tuple[int, int, int]:
    """Shared beginning first, then length, then the earlier one."""
    messages = call.line["messages"]
    return _common(messages, asked.messages), -abs(len(messages) - len(asked.messages)), -call.position


def _common(was: Sequence[str], now: Sequence[str]) -> int:
    """How many messages agree from the beginning."""
    pairs = zip(was, now, strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(was), len(now)))


def _shown(was: Json, now: Json) -> str:
    if was is None:
        return f"it is new, {_cut(_text(now), 0)}"
    if now is None:
        return f"it is missing, {_cut(_text(was), 0)}"
    one, other = _text(was), _text(now)
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return f"at character {at}: recorded {_cut(one, at)}, now {_cut(other, at)}"


def _text(message: Mapping[str, Json]) -> str:
    """What a message says, with its calls."""
    calls = message.get("tool_calls")
    return str(message.get("content") or "") + (json.dumps(calls, ensure_ascii=False) if calls else "")


def _cut(text: str, at: int) -> str:
    start = max(0, at - SHOWN_CHARS // 4)
    return repr(text[start : start + SHOWN_CHARS])


def _name(tool: Mapping[str, Any]) -> str:
    return str((tool.get("function") or tool).get("name"))
