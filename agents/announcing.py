"""Telling the live feed and the heartbeat what a run does, without ever holding the run up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from agents.feed import Feed
from agents.receipts import StepKey
from agents.runs import AgentRun
from ledger.store import Receipt
from ledger.teamwork import Card
from ledger.vocabulary import AgentState, ArtifactRef, Json, StepKind

MAX_TEXT = 500
PARTIAL_S = (0.25, 2.0)
"""Seconds to the first event about an answer that is coming in, which then double up to the second number: a quick answer
needs none, and many long ones must not crowd out the feed."""
MAX_WAITING = 1000
"""Events that wait for a slow Redis; more are dropped, since the feed is only for watching."""
GATHER_S = 0.05
"""How long an event waits for others, so that a quick run is a few round trips and not thirty; the end waits for none."""
DRAIN_S = 2.0
"""How long the end of a run waits for its last events."""

Beat = Callable[[int, str], None]


class Announcer:
    """Publishes one run's events in order from a task of its own."""

    def __init__(self, feed: Feed, request: AgentRun, beat: Beat) -> None:
        self._feed = feed
        self._request = request
        self._beat = beat
        self._waiting: asyncio.Queue[dict[str, Json] | Card | None] = asyncio.Queue(MAX_WAITING)
        self._publishing: asyncio.Task[None] | None = None
        self._leaving: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._state: AgentState | None = None
        self._said = ""
        self._characters = 0
        self._wait_s = PARTIAL_S[0]
        self._next = 0.0

    async def __aenter__(self) -> Announcer:
        self._publishing = asyncio.create_task(self._publish(), name="announcer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._publishing is not None
        self._leaving.set_result(None)
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)
        done, _ = await asyncio.wait([self._publishing], timeout=DRAIN_S)
        if not done:
            self._publishing.cancel()

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
        if not self._waiting.full():
            self._waiting.put_nowait(card)

    def state(self, state: AgentState, text: str = "", **data: Json) -> None:
        """The agent's state changed; the same state again is not told twice."""
        if state is not self._state:
            self._state = state
            self.tell("state", text, state=state.value, **data)
            if state is AgentState.ERROR:
                self.tell("error", text, **data)

    def tell(self, kind: str, text: str, **data: Json) -> None:
        """Put an event of a type of the feed into the queue."""
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
        if not self._waiting.full():
            self._waiting.put_nowait(event)

    async def _publish(self) -> None:
        while (event := await self._waiting.get()) is not None:
            taken = [event]
            await asyncio.wait([self._leaving], timeout=GATHER_S)
            while not self._waiting.empty() and event is not None:
                if (event := self._waiting.get_nowait()) is not None:
                    taken.append(event)
            events = [one for one in taken if not isinstance(one, Card)]
            cards = [one for one in taken if isinstance(one, Card)]
            await self._feed.publish(self._request.project, *events, cards=cards[-1:])
            if event is None:
                return
