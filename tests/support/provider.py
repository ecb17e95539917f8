"""The rehearsal provider as tests embed it: the offline maintainer over HTTP, with everything it was asked kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from agents.rehearsal import provider as rehearsal
from agents.rehearsal import server
from agents.rehearsal.script import Bill, Fault, Rule
from agents.rehearsal.wire import Asked

BILL = Bill(prompt_tokens=100, completion_tokens=20)


@dataclass
class Provider:
    """What the server saw. `before_answer` runs with the call's number (from 1) before the answer is sent."""

    url: str = ""
    headers: list[Mapping[str, str]] = field(default_factory=list)
    bodies: list[Mapping[str, Any]] = field(default_factory=list)
    before_answer: Callable[[int], None] | None = None
    delay_s: float = 0.0
    overloaded: frozenset[str] = frozenset()
    """Models that answer 503; such a call is not counted, since nobody is billed for it."""
    revoked: set[str] = field(default_factory=set)
    """Keys that are answered with 401 and quoted, as some providers do; such a call is not counted either."""
    before_refusal: Callable[[], None] | None = None
    """Called before a revoked key is refused."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def calls(self) -> int:
        """How many were billed."""
        return len(self.bodies)

    def rule_for(self, asked: Asked) -> Rule:
        """What happens to a request, as the test's settings are at this moment."""
        if asked.model in self.overloaded:
            return Rule(fault=Fault.OVERLOADED)
        if asked.key in self.revoked:
            if self.before_refusal:
                self.before_refusal()
            return Rule(fault=Fault.AUTH, message=f"Incorrect API key provided: {asked.key}")
        return Rule(first_byte_s=self.delay_s, bill=BILL)

    def take(self, asked: Asked) -> None:
        """Keep a call, and let the test act."""
        with self._lock:
            self.headers.append(asked.headers)
            self.bodies.append(asked.body)
            number = self.calls
        if self.before_answer:
            self.before_answer(number)


class _Watched(rehearsal.Provider):
    def __init__(self, seen: Provider) -> None:
        super().__init__()
        self._seen = seen

    def rule_for(self, asked: Asked) -> Rule:
        return self._seen.rule_for(asked)

    def before_answer(self, number: int, asked: Asked) -> None:
        self._seen.take(asked)


@contextmanager
def serving(**settings: Any) -> Iterator[Provider]:
    """Serve on a free loopback port until the block ends; `url` is what LiteLLM takes as the API base."""
    seen = Provider(**settings)
    with server.serving(_Watched(seen)) as url:
        seen.url = f"{url}/v1"
        yield seen
