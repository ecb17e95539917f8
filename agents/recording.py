"""Record what models answer, and serve it again: a run repeated with no key, no network and no charge.

A recording is a file of JSON lines. `part` lines hold the messages and tool lists of requests, each once; `call` lines name
them, in the order of the answers. A request is known again by its digest, which leaves out the model's name, secrets, and
what differs between two equal runs by nature: commit ids, times, durations, folders, amounts spent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.errors import ModelRefusedError
from agents.models import Bound, Lost, ModelAnswer, ModelRequest, Models
from ledger.chain import canonical, digest
from ledger.vocabulary import Json

VERSION = 1
SHORTEST_SECRET = 12
"""Characters; a shorter key is found by its shape or not at all, because words would be taken for it."""
_HIDDEN = "[secret]"

_SECRET = re.compile(
    r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_\-]{12,}"
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|hvs\.|xox[abprs]-|AKIA|AIza)[A-Za-z0-9_\-]{8,}"
    r"|\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|(?i:(?<=bearer )[A-Za-z0-9._\-]{16,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*-----END [A-Z ]*PRIVATE KEY-----"
)
"""Keys by their shape. Assignments to names such as `token` stay: they are code, and replaying must give the same code."""

_PASSING = (
    (re.compile(r"\b[0-9a-f]{40}(?:[0-9a-f]{24})?\b"), "[id]"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"), "[time]"),
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:s|ms|sec|seconds?)\b"), "[duration]"),
    (re.compile(r"_(?:s|ms|seconds)\b\W{1,8}\d[\d.E+-]*"), "_s [duration]"),
    (re.compile(r"_usd\W{1,8}\d[\d.E+-]*"), "_usd [amount]"),
    (re.compile(r"\$\d[\d.,]*\d|\$\d"), "[amount]"),
    (re.compile(r"\b0x[0-9a-f]{6,}\b"), "[address]"),
    (re.compile(r"(?<![\w.])/(?:[^\s\"'\\:/]+/)+(?=(?:trees|scratch|environments|projects)/)"), "[state]/"),
    (re.compile(r"(?<![\w.])/tmp/[^\s\"'\\:]+"), "[temporary]"),
)
"""What two equal runs differ in, and what stands for it while requests are compared. Amounts do: a replay spends nothing."""


def scrub(value: Json, secrets: Sequence[str] = ()) -> Json:
    """The same without what is, or looks like, a key or a password."""
    if isinstance(value, str):
        text = value
        for secret in secrets:
            text = text.replace(secret, _HIDDEN)
        return _SECRET.sub(_HIDDEN, text)
    return _each(value, lambda item: scrub(item, secrets))


def _comparable(value: Json) -> Json:
    if isinstance(value, str):
        for pattern, mark in _PASSING:
            value = pattern.sub(mark, value)
        return value
    return _each(value, _comparable)


def _each(value: Json, change: Any) -> Json:
    if isinstance(value, Mapping):
        return {name: change(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [change(item) for item in value]
    return value


class Request:
    """A request as recordings hold it: its parts by digest, and a digest of all of it."""

    def __init__(self, request: ModelRequest, secrets: Sequence[str] = ()) -> None:
        self.asked = request
        self.parts: dict[str, Json] = {}
        self.messages = [self._part(scrub(message, secrets)) for message in request.messages]
        self.tools = self._part(scrub(list(request.tools), secrets))
        self.line: dict[str, Json] = {
            "purpose": request.purpose,
            "messages": self.messages,
            "tools": self.tools,
            "tool_choice": request.tool_choice,
            "max_tokens": request.max_tokens,
        }
        self.key = digest(self.line)

    def _part(self, value: Json) -> str:
        name = digest(_comparable(value))
        self.parts[name] = value
        return name


class Recorder:
    """Asks through another gateway, and keeps each answer before it is used.

    Args:
        gateway: Who is asked.
        path: The file, which is continued where it exists: a worker that starts again goes on recording.
        chains: Models by role, so that a replay asks as the recorded run did.
        secrets: Values that must not be written.

    Raises:
        OSError: The file cannot be written.
    """

    def __init__(
        self, gateway: Models, path: Path, chains: Mapping[str, Sequence[str]], secrets: Iterable[str] = ()
    ) -> None:
        self._gateway = gateway
        self._secrets = sorted((secret for secret in secrets if len(secret) >= SHORTEST_SECRET), key=len, reverse=True)
        self._written: set[str] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several workers append to one file, each record in one write; a conversation is nobody else's to read.
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._append({"kind": "recording", "version": VERSION, "chains": {name: list(c) for name, c in chains.items()}})

    async def ready(self) -> None:
        """As the gateway is."""
        await self._gateway.ready()

    def bound(self, request: ModelRequest, chain: Sequence[str]) -> Bound:
        """As the gateway says."""
        return self._gateway.bound(request, chain)

    async def complete(
        self, request: ModelRequest, chain: Sequence[str], offset: int = 0, *, lost: Lost | None = None
    ) -> ModelAnswer:
        """As the gateway does; raises what it raises. Refusals are kept as well, since runs go on from them."""
        try:
            answer = await self._gateway.complete(request, chain, offset, lost=lost)
        except ModelRefusedError as error:
            if type(error) is ModelRefusedError:  # a refused key is mended by hand, and the request asked again
                self._keep(request, {"refused": scrub(str(error), self._secrets)})
            raise
        self._keep(request, {"answer": scrub(answer.model_dump(mode="json"), self._secrets)})
        return answer

    def close(self) -> None:
        """Close the file; the gateway stays open."""
        os.close(self._file)

    def _keep(self, request: ModelRequest, outcome: dict[str, Json]) -> None:
        known = Request(request, self._secrets)
        new = {name: value for name, value in known.parts.items() if name not in self._written}
        parts = [{"kind": "part", "digest": name, "value": value} for name, value in new.items()]
        request_digest = digest(request.model_dump(mode="json"))
        self._append(*parts, {"kind": "call", "key": known.key, "step": request_digest, **known.line, **outcome})
        self._written |= new.keys()

    def _append(self, *lines: dict[str, Json]) -> None:
        # The line before may have been torn by a kill.
        os.write(self._file, b"\n" + "".join(canonical(line) + "\n" for line in lines).encode())
