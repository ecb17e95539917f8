"""Messages in memory: the part of `MemoryStore` that keeps `ledger.messages.MessageStore`, over `Mail`, its rules."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from ledger._memory_mail import STREAMS, Mail, letter_of
from ledger._memory_state import Consumer, State
from ledger._wire import messages_text
from ledger.clock import Clock
from ledger.errors import ConsumerHeldError, LedgerError, UndeliverableError
from ledger.messages import (
    ConsumerLease,
    DeadLetter,
    InboxEnd,
    Message,
    NewDeadLetter,
    NewMessage,
)


class MemoryMessages:
    """Keeps `ledger.messages.MessageStore`."""

    _clock: Clock
    _state: State

    @property
    def _mail(self) -> Mail:
        return Mail(self._state)

    async def open_inbox(self, project: str, agent: str, *, capacity: int | None = None, reopen: bool = False) -> None:
        self._mail.open(project, agent, capacity=capacity, reopen=reopen)

    async def close_inbox(self, project: str, agent: str | None, reason: str) -> int:
        now, left_over = self._clock(), 0
        for (owner, name), box in self._state.boxes.items():
            if owner != project or agent not in (None, name):
                continue
            box.closed = box.closed if box.closed is not None else reason
            for kept in self._mail.unread(project, name) if name not in STREAMS else ():
                left_over += self._mail.bury(
                    letter_of(kept.message, f"{name} had finished before it was read: {reason}"), now
                )
        return left_over

    async def post(self, messages: Sequence[NewMessage], *, park: bool = False) -> list[Message]:
        now = self._clock()
        try:
            messages_text(messages)
        except (TypeError, ValueError) as error:
            raise LedgerError(f"a message cannot be written: {error}") from error
        if park:
            return [self._mail.park(message, now).read() for message in messages]
        for message in messages:
            if refusal := self._mail.refuses(message):
                raise UndeliverableError(refusal)
        return [self._mail.put(message, now).read() for message in messages]

    async def undelivered(self, limit: int = 100) -> list[Message]:
        waiting = [kept for kept in self._state.messages.values() if kept.delivered_at is None]
        for kept in waiting:
            box = self._state.boxes.get((kept.message.project, kept.message.target))
            if kept.number is None and box is not None:
                box.numbered += 1
                kept.generation, kept.number = box.generation, box.numbered
        numbered = [kept for kept in waiting if kept.number is not None]
        return [kept.read() for kept in sorted(numbered, key=lambda kept: (kept.number, kept.position))[:limit]]

    async def mark_delivered(self, ids: Sequence[str], generation: int | None = None) -> None:
        for kept in (self._state.messages[name] for name in ids if name in self._state.messages):
            if generation in (None, kept.generation) and kept.delivered_at is None:
                kept.delivered_at = self._clock()

    async def redeliver(
        self, project: str | None = None, agent: str | None = None, *, generation: int | None = None, above: int = 0
    ) -> int:
        again = 0
        for (owner, name), box in self._state.boxes.items():
            wanted = project in (None, owner) and agent in (None, name) and generation in (None, box.generation)
            if not wanted or (agent is None and not box.numbered):
                continue
            box.generation, box.numbered = max(box.generation, above) + 1, 0
            for kept in self._mail.all(owner, name):
                if kept.is_unread or kept.delivered_at is None:
                    again += kept.delivered_at is not None
                    kept.delivered_at = kept.generation = kept.number = None
        if again:
            self._state.outbox.set()
        return again

    async def inbox_ends(self) -> list[InboxEnd]:
        return [
            InboxEnd(project=project, name=name, generation=box.generation, number=box.numbered)
            for (project, name), box in sorted(self._state.boxes.items())
            if box.closed is None and box.numbered and self._is_all_delivered(project, name)
        ]

    def _is_all_delivered(self, project: str, name: str) -> bool:
        unread = self._mail.unread(project, name)
        return bool(unread) and all(kept.delivered_at is not None for kept in unread)

    async def relay_turn(self, within: timedelta) -> bool:
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self._state.outbox.wait()
        except TimeoutError:
            return True
        self._state.outbox.clear()
        return True

    async def inbox(self, project: str, agent: str) -> list[Message]:
        return [kept.read() for kept in self._mail.unread(project, agent)]

    async def conversation(
        self, project: str, agent: str | None = None, *, after: int = 0, limit: int = 1000
    ) -> list[Message]:
        found = [
            kept.read()
            for kept in self._state.messages.values()
            if kept.message.project == project
            and kept.position > after
            and agent in (None, kept.message.source, kept.message.target)
        ]
        return found[:limit]

    async def hold_inbox(self, project: str, inbox: str, consumer: str, holder: str, ttl: timedelta) -> ConsumerLease:
        now = self._clock()
        known = self._state.consumers.get((project, inbox, consumer))
        if known and known.holder != holder and known.expires_at > now:
            left = (known.expires_at - now).total_seconds()
            raise ConsumerHeldError(consumer, inbox, known.holder, left)
        renews = known is not None and known.holder == holder and known.expires_at > now
        epoch = (known.epoch if known else 0) + (not renews)
        self._state.consumers[project, inbox, consumer] = Consumer(holder, epoch, now + ttl)
        return ConsumerLease(project=project, inbox=inbox, consumer=consumer, holder=holder, epoch=epoch)

    async def leave_inbox(self, lease: ConsumerLease) -> None:
        key = (lease.project, lease.inbox, lease.consumer)
        known = self._state.consumers.get(key)
        if known and known.holder == lease.holder:
            self._state.consumers[key] = replace(known, expires_at=self._clock())

    async def consumers(self, project: str, inbox: str) -> list[str]:
        now = self._clock()
        held = self._state.consumers.items()
        return sorted(key[2] for key, known in held if key[:2] == (project, inbox) and known.expires_at > now)

    async def bury(self, letters: Sequence[NewDeadLetter]) -> int:
        now = self._clock()
        return sum(self._mail.bury(letter, now) for letter in letters)

    async def dead_letters(self, project: str | None = None, *, settled: bool = False) -> list[DeadLetter]:
        found = (letter for letter in self._state.letters.values() if project in (None, letter.project))
        return sorted(
            (letter for letter in found if settled or letter.settled is None), key=lambda letter: (letter.at, letter.id)
        )

    async def replay_letter(self, id: str, by: str) -> None:
        letter = self._open_letter(id)
        if not letter.is_message:
            raise UndeliverableError(
                f"dead letter {id}: it never was a message of ours and cannot be delivered; drop it"
            )
        box = self._state.boxes.get((letter.project, letter.inbox))
        if box is None:
            raise UndeliverableError(f"dead letter {id}: there is no agent {letter.inbox} in project {letter.project}")
        if box.closed is not None:
            raise UndeliverableError(f"dead letter {id}: {letter.inbox} has finished: {box.closed}")
        kept = self._state.messages[id]
        kept.buried_at = kept.delivered_at = kept.generation = kept.number = None
        self._state.outbox.set()
        self._settle(letter, "replayed", by)

    async def drop_letter(self, id: str, by: str) -> None:
        self._settle(self._open_letter(id), "dropped", by)

    def _open_letter(self, id: str) -> DeadLetter:
        letter = self._state.letters.get(id)
        if letter is None:
            raise UndeliverableError(f"dead letter {id}: there is no such dead letter")
        if letter.settled is not None:
            raise UndeliverableError(f"dead letter {id}: it was {letter.settled} by {letter.settled_by}")
        return letter

    def _settle(self, letter: DeadLetter, how: str, by: str) -> None:
        update = {"settled": how, "settled_by": by, "settled_at": self._clock()}
        self._state.letters[letter.id] = letter.model_copy(update=update)
