"""Messages on the record: what agents tell each other, who can be written to, and what could not be read.

The record keeps, Redis delivers (`agents/bus.py`). A message is written once by its derived id, numbered within its inbox,
delivered any number of times, read by one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from ledger.vocabulary import Json, Record

EVERYONE = "*"
"""The target of messages for the project's own stream, which is for whoever follows the project; no agent's inbox gets them."""

TEAM = "team"
"""The target of messages for every open inbox of the project but the sender's."""

MAX_PAYLOAD_BYTES = 65_536
"""As JSON in UTF-8; `ledger/sql` has the same number. What is larger is kept as an artifact, and its reference is sent."""

CAPACITY = 1_000
"""Unread messages that an inbox takes unless it was opened with another number."""

SCHEMA_VERSION = 1
"""Of the envelope that messages travel in."""


class NewMessage(Record):
    """A message between agents. `id` is derived by the sender, so that a repeated write is the same message."""

    id: str
    project: str
    source: str
    target: str
    """An agent id, `*` for the project's own stream, or `team` for every agent of the project but the sender."""
    type: str
    payload: dict[str, Json]
    correlation: str | None = None
    schema_version: int = SCHEMA_VERSION


class MessageState(StrEnum):
    WAITING = "waiting"
    """For the relay."""
    DELIVERED = "delivered"
    READ = "read"
    DEAD = "dead"
    """Among the dead letters."""


class Message(NewMessage):
    position: int
    at: datetime
    read_by_step: str | None = None
    generation: int | None = None
    number: int | None = None
    """With the generation the id of its entry in the stream of its inbox; given when the relay first looks at it."""
    delivered_at: datetime | None = None
    buried_at: datetime | None = None

    @property
    def entry(self) -> str:
        """Id of its entry in the stream of its inbox."""
        return f"{self.generation or 0}-{self.number or 0}"

    @property
    def state(self) -> MessageState:
        if self.read_by_step is not None:
            return MessageState.READ
        if self.buried_at is not None:
            return MessageState.DEAD
        return MessageState.WAITING if self.delivered_at is None else MessageState.DELIVERED


class InboxEnd(Record):
    """Where the stream of an inbox should end when Redis has lost nothing: at the entry `generation-number`."""

    project: str
    name: str
    generation: int
    number: int


class ConsumerLease(Record):
    """The right to read an inbox under a consumer's name."""

    project: str
    inbox: str
    consumer: str
    holder: str
    epoch: int


class NewDeadLetter(Record):
    """Something to put aside. `id` is the message's, or made of stream and entry where it never was a message."""

    id: str
    project: str
    inbox: str
    reason: str
    deliveries: int
    """How often it was handed out before it was given up; 0 where it never came that far."""
    body: str
    is_message: bool = True


class DeadLetter(NewDeadLetter):
    at: datetime
    settled: str | None = None
    """`replayed` or `dropped`."""
    settled_by: str | None = None
    settled_at: datetime | None = None


class MessageStore(Protocol):
    """The part of the record that holds messages. Every method is safe to call again with the same arguments."""

    async def open_inbox(self, project: str, agent: str, *, capacity: int | None = None, reopen: bool = False) -> None:
        """From now on the agent can be written to; its first lease does the same. A finished one only with `reopen`."""
        ...

    async def close_inbox(self, project: str, agent: str | None, reason: str) -> int:
        """The agent (None: everyone of the project) has finished; what it has not read becomes dead letters: how many."""
        ...

    async def post(self, messages: Sequence[NewMessage], *, park: bool = False) -> list[Message]:
        """Write to the outbox; a known id is returned as it stands.

        Args:
            messages: Written all or none.
            park: For senders that cannot be told: what is refused becomes a dead letter instead.

        Raises:
            UndeliverableError: There is no such addressee, it has finished, its inbox is full, or the payload is too large.
        """
        ...

    async def undelivered(self, limit: int = 100) -> list[Message]:
        """Messages that the relay has not yet handed to Redis, numbered, those of one inbox in the order of their numbers."""
        ...

    async def mark_delivered(self, ids: Sequence[str], generation: int | None = None) -> None:
        """Redis has them; with `generation` only those that still are of it."""
        ...

    async def redeliver(
        self, project: str | None = None, agent: str | None = None, *, generation: int | None = None, above: int = 0
    ) -> int:
        """Redis lost something: unread messages become undelivered, in a new generation. Returns how many had been delivered.

        Args:
            project: None for all.
            agent: Its inbox alone.
            generation: Only where the inbox is still at this one, so that two relays do not do it twice.
            above: The new generation exceeds this too (Redis is ahead of the record).
        """
        ...

    async def inbox_ends(self) -> list[InboxEnd]:
        """Where the streams of open inboxes end that hold something unread and have nothing undelivered."""
        ...

    async def relay_turn(self, within: timedelta) -> bool:
        """Wait until something may be undelivered, or the time is up; True where it is this store's turn to deliver."""
        ...

    async def inbox(self, project: str, agent: str) -> list[Message]:
        """Messages to the agent that no step has read, oldest first."""
        ...

    async def conversation(
        self, project: str, agent: str | None = None, *, after: int = 0, limit: int = 1000
    ) -> list[Message]:
        """A project's messages after a position, oldest first; with `agent` those from it and to it."""
        ...

    async def hold_inbox(self, project: str, inbox: str, consumer: str, holder: str, ttl: timedelta) -> ConsumerLease:
        """Take or renew the right to read an inbox under a consumer's name.

        Raises:
            ConsumerHeldError: Another holder reads under this name.
        """
        ...

    async def leave_inbox(self, lease: ConsumerLease) -> None: ...

    async def consumers(self, project: str, inbox: str) -> list[str]:
        """Names under which the inbox is being read at the moment: their leases are running."""
        ...

    async def bury(self, letters: Sequence[NewDeadLetter]) -> int:
        """Put aside with a reason; a message that a step has read stays read. Returns how many were put aside."""
        ...

    async def dead_letters(self, project: str | None = None, *, settled: bool = False) -> list[DeadLetter]:
        """Oldest first; with `settled` also those that were replayed or dropped."""
        ...

    async def replay_letter(self, id: str, by: str) -> None:
        """Deliver it again, as the newest message of its inbox.

        Raises:
            UndeliverableError: It cannot be; the text says why.
        """
        ...

    async def drop_letter(self, id: str, by: str) -> None:
        """Raises UndeliverableError where there is no such open dead letter."""
        ...
