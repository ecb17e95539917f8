"""What the in-memory twin does with messages, as `ledger/sql/migrations/0011_bus.sql` does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger._memory_state import Box, KeptMessage, State
from ledger.chain import compact
from ledger.messages import CAPACITY, EVERYONE, MAX_PAYLOAD_BYTES, TEAM, DeadLetter, NewDeadLetter, NewMessage

STREAMS = (EVERYONE, TEAM)


@dataclass(frozen=True)
class Mail:
    """What can be done with the messages of a state."""

    state: State

    def open(self, project: str, name: str, *, capacity: int | None = None, reopen: bool = False) -> None:
        box = self.state.boxes.setdefault((project, name), Box(capacity or CAPACITY))
        box.capacity = capacity or box.capacity
        if reopen:
            box.closed = None

    def all(self, project: str, name: str) -> list[KeptMessage]:
        place = (project, name)
        return [kept for kept in self.state.messages.values() if (kept.message.project, kept.message.target) == place]

    def unread(self, project: str, name: str) -> list[KeptMessage]:
        return [kept for kept in self.all(project, name) if kept.is_unread]

    def team(self, message: NewMessage) -> list[str]:
        """Whose inboxes a message for the team goes into."""
        names = (
            name
            for (project, name), box in self.state.boxes.items()
            if project == message.project and box.closed is None and name not in (*STREAMS, message.source)
        )
        return sorted(names)

    def refuses(self, message: NewMessage) -> str | None:
        """Why a message cannot be sent."""
        if message.id in self.state.messages:
            return None
        size = len(compact(message.payload).encode())
        if size > MAX_PAYLOAD_BYTES:
            return (
                f"a payload of {size} bytes is over the limit of {MAX_PAYLOAD_BYTES}; keep it as an artifact and send "
                "its reference"
            )
        if message.target == EVERYONE:
            return None
        names = self.team(message) if message.target == TEAM else [message.target]
        return next((refusal for name in names if (refusal := self._refuses(message.project, name))), None)

    def _refuses(self, project: str, name: str) -> str | None:
        box = self.state.boxes.get((project, name))
        if box is None:
            return f"there is no agent {name} in project {project}"
        if box.closed is not None:
            return f"{name} has finished: {box.closed}"
        if len(self.unread(project, name)) >= box.capacity:
            return f"the inbox of {name} is full: {box.capacity} unread messages; wait until some are read"
        return None

    def put(self, message: NewMessage, now: datetime) -> KeptMessage:
        known = self.state.messages.get(message.id)
        if known is not None:
            return known
        kept = self._insert(message, now)
        if message.target in STREAMS:
            self.open(message.project, message.target)
        if message.target == TEAM:
            for name in self.team(message):
                self._insert(message.model_copy(update={"id": f"{message.id}/to/{name}", "target": name}), now)
        self.state.outbox.set()
        return kept

    def put_read(self, message: NewMessage, now: datetime) -> None:
        """A message that a step writes and reads at once: nobody waits for it, so nothing is delivered."""
        if message.target not in STREAMS and message.id not in self.state.messages:
            self._insert(message, now).delivered_at = now

    def park(self, message: NewMessage, now: datetime) -> KeptMessage:
        """For senders that cannot be told; what is refused becomes a dead letter."""
        refusal = self.refuses(message)
        kept = self.put(message, now)
        if refusal is not None:
            self.bury(letter_of(message, refusal), now)
        return kept

    def bury(self, letter: NewDeadLetter, now: datetime) -> bool:
        if letter.is_message:
            kept = self.state.messages.get(letter.id)
            if kept is None or not kept.is_unread:
                return False
            kept.buried_at, kept.delivered_at = now, kept.delivered_at or now
        elif letter.id in self.state.letters:
            return True
        self.state.letters[letter.id] = DeadLetter(**letter.model_dump(), at=now)
        return True

    def refusal_of_reading(self, ids: Sequence[str]) -> str | None:
        """Why a step cannot read these messages."""
        found = (self.state.messages[id] for id in ids if id in self.state.messages)
        for kept in sorted(found, key=lambda kept: kept.position):
            if kept.read_by_step is not None:
                return f"message {kept.message.id} was read by step {kept.read_by_step}"
            if kept.buried_at is not None:
                return f"message {kept.message.id} lies among the dead letters"
        return None

    def _insert(self, message: NewMessage, now: datetime) -> KeptMessage:
        kept = KeptMessage(message, compact(message.payload), len(self.state.messages) + 1, now)
        return self.state.messages.setdefault(message.id, kept)


def letter_of(message: NewMessage, reason: str) -> NewDeadLetter:
    return NewDeadLetter(
        id=message.id,
        project=message.project,
        inbox=message.target,
        reason=reason,
        deliveries=0,
        body=compact(message.payload),
    )
