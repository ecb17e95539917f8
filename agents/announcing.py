"""Telling the live feed and the heartbeat what a run does, without ever holding the run up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from agents.feed import Feed
from agents.receipts import StepKey
from agents.runs import AgentRun
from ledger.items import Receipt
from ledger.teamwork import Card
from ledger.vocabulary import AgentState, ArtifactRef, Json, StepKind

MAX_TEXT = 500
PARTIAL_S = (0.25, 2.0)
"""Seconds to the first event about an answer that is coming in, which then double up to the second number: a quick answer
needs none, and many long ones must not crowd out the feed."""

Beat = Callable[[int, str], None]


class Announcer:
    """Tells one run's events in order."""

    def __init__(self, feed: Feed, request: AgentRun, beat: Beat) -> None:
        self._feed = feed
        self._request = request
        self._beat = beat
        self._state: AgentState | None = None
        self._said = ""
        self._characters = 0
        self._wait_s = PARTIAL_S[0]
        self._next = 0.0

    def begins(self, key: StepKey) -> None:
        """A step is about to be done for real."""
        state = AgentState.THINKING if key.kind is StepKind.MODEL else AgentState.EXECUTING
        self._beat(key.ordinal, f"{key.kind}:{key.name}")
        self._said, self._characters, self._wait_s = "", 0, PARTIAL_S[0]
        self._next = time.monotonic() + self._wait_s
        if key.kind is not StepKind.INPUT:
            self.state(state, key.name if state is AgentState.EXECUTING else "", ordinal=key.ordinal)

    def hears(self, text: str) -> None:
        """A model says something, which is not on the record yet; its last characters are told now and then."""
        if not text:
            self._said, self._characters = "", 0
        self._said = (self._said + text)[-MAX_TEXT:]
        self._characters += len(text)
        now = time.monotonic()
        if now >= self._next and (said := self._said.strip()):
            self._wait_s = min(2 * self._wait_s, PARTIAL_S[1])
            self._next = now + self._wait_s
            self.tell("thinking", said, partial=True, characters=self._characters)

    def ended(self, receipt: Receipt) -> None:
        """A step is committed."""
        data: dict[str, Json] = {"ordinal": receipt.ordinal, "sub": receipt.sub, "name": receipt.name}
        match receipt.kind:
            case StepKind.MODEL:
                data |= {"model": receipt.model, "cost_usd": str(receipt.cost_usd)}
                calls = ", ".join(call["name"] for call in receipt.result["tool_calls"])
                self.tell("thinking", receipt.result["text"] or calls, **data)
            case StepKind.TOOL:
                told = receipt.entries[0].body
                data |= {"ok": receipt.result["ok"], "commit": receipt.commit, "allowed": told["allowed"]}
                refused = not told["allowed"]
                self.tell("tool", f"{receipt.name} refused: {told['reason']}" if refused else receipt.name, **data)
            case StepKind.INPUT:
                self.tell("message", receipt.name, **data)
        for message in receipt.outbox:
            if message.id not in receipt.acknowledged:
                sent: dict[str, Json] = {"id": message.id, "type": message.type, "to": message.target}
                self.tell("message", f"{message.type} to {message.target}", **sent)

    def kept(self, artifact: ArtifactRef | None) -> None:
        """A document of the run can be read by others from now on."""
        if artifact is not None:
            self.tell("artifact", artifact.name, digest=artifact.digest, size=artifact.size)

    def show(self, card: Card) -> None:
        """The agent's card has changed."""
        self._feed.show(self._request.project, card)

    def state(self, state: AgentState, text: str = "", **data: Json) -> None:
        """The agent's state changed; the same state again is not told twice."""
        if state is not self._state:
            self._state = state
            self.tell("state", text, state=state.value, **data)
            if state is AgentState.ERROR:
                self.tell("error", text, **data)

    def tell(self, kind: str, text: str, **data: Json) -> None:
        """Put an event of a type of the feed on its way."""
        request = self._request
        event: dict[str, Any] = {
            "type": kind,
            "sprint": request.sprint,
            "task": request.task,
            "agent": request.agent,
            "role": request.role.value,
            "text": text[:MAX_TEXT],
            "data": data | ({"seat": request.seat.value} if request.seat else {}),
        }
        self._feed.tell(request.project, event)
