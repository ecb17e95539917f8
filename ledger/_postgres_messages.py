"""Messages in Postgres: the part of `PostgresStore` that keeps `ledger.messages.MessageStore`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

from ledger._gathered import Gathered
from ledger._session import Rows, Session
from ledger._signals import OutboxSignals
from ledger._wire import message_of, messages_text
from ledger.clock import Clock
from ledger.errors import ConsumerHeldError, LedgerError, UndeliverableError
from ledger.messages import ConsumerLease, DeadLetter, InboxEnd, Message, NewDeadLetter, NewMessage


class PostgresMessages:
    """Named statements over the messages' tables."""

    _session: Session
    _gathered: dict[str, Gathered]
    _signals: OutboxSignals
    _clock: Clock

    async def open_inbox(self, project: str, agent: str, *, capacity: int | None = None, reopen: bool = False) -> None:
        values = {"project": project, "name": agent, "capacity": capacity, "reopen": reopen, "now": self._clock()}
        await self._session.rows("open_inbox", values)

    async def close_inbox(self, project: str, agent: str | None, reason: str) -> int:
        values = {"project": project, "name": agent, "reason": reason, "now": self._clock()}
        [row] = await self._session.rows("close_inbox", values)
        return row["left_over"]

    async def post(self, messages: Sequence[NewMessage], *, park: bool = False) -> list[Message]:
        if not messages:
            return []
        try:
            text = messages_text(messages)
        except (TypeError, ValueError) as error:
            raise LedgerError(f"a message cannot be written: {error}") from error
        return _messages(await self._session.rows("post", {"messages": text, "park": park, "now": self._clock()}))

    async def undelivered(self, limit: int = 100) -> list[Message]:
        return _messages(await self._session.rows("undelivered", {"limit": limit}))

    async def mark_delivered(self, ids: Sequence[str], generation: int | None = None) -> None:
        values = {"ids": list(ids), "generation": generation, "now": self._clock()}
        await self._session.rows("mark_delivered", values)

    async def redeliver(
        self, project: str | None = None, agent: str | None = None, *, generation: int | None = None, above: int = 0
    ) -> int:
        values = {"project": project, "name": agent, "generation": generation, "above": above}
        [row] = await self._session.rows("redeliver", values)
        return row["again"]

    async def inbox_ends(self) -> list[InboxEnd]:
        return [InboxEnd.model_validate(row) for row in await self._session.rows("inbox_ends")]

    async def relay_turn(self, within: timedelta) -> bool:
        return await self._signals.turn(within)

    async def inbox(self, project: str, agent: str) -> list[Message]:
        return _messages(await self._gathered["inbox"].rows(project=project, agent=agent))

    async def conversation(
        self, project: str, agent: str | None = None, *, after: int = 0, limit: int = 1000
    ) -> list[Message]:
        values = {"project": project, "agent": agent, "after": after, "limit": limit}
        return _messages(await self._session.rows("conversation", values))

    async def hold_inbox(self, project: str, inbox: str, consumer: str, holder: str, ttl: timedelta) -> ConsumerLease:
        values = {"project": project, "inbox": inbox, "consumer": consumer, "holder": holder}
        [row] = await self._session.rows("hold_inbox", {**values, "now": self._clock(), "ttl": ttl})
        if row["seconds_left"] is not None:
            raise ConsumerHeldError(consumer, inbox, row["holder"], row["seconds_left"])
        return ConsumerLease(**values, epoch=row["epoch"])

    async def leave_inbox(self, lease: ConsumerLease) -> None:
        await self._session.rows("leave_inbox", {**lease.model_dump(), "now": self._clock()})

    async def consumers(self, project: str, inbox: str) -> list[str]:
        values = {"project": project, "inbox": inbox, "now": self._clock()}
        return [row["consumer"] for row in await self._session.rows("consumers", values)]

    async def bury(self, letters: Sequence[NewDeadLetter]) -> int:
        # A body may hold what is no text for Postgres: a NUL is the one character that it refuses.
        fit = [letter.model_copy(update={"body": _printable(letter.body)}) for letter in letters]
        text = json.dumps([letter.model_dump() for letter in fit])
        [row] = await self._session.rows("bury", {"letters": text, "now": self._clock()})
        return row["buried"]

    async def dead_letters(self, project: str | None = None, *, settled: bool = False) -> list[DeadLetter]:
        rows = await self._session.rows("dead_letters", {"project": project, "settled": settled})
        return [DeadLetter.model_validate(row) for row in rows]

    async def replay_letter(self, id: str, by: str) -> None:
        await self._settle(id, "replayed", by)

    async def drop_letter(self, id: str, by: str) -> None:
        await self._settle(id, "dropped", by)

    async def _settle(self, id: str, how: str, by: str) -> None:
        [row] = await self._session.rows("settle_letter", {"id": id, "how": how, "by": by, "now": self._clock()})
        if row["refusal"] is not None:
            raise UndeliverableError(f"dead letter {id}: {row['refusal']}")


def _messages(rows: Rows) -> list[Message]:
    return [message_of(row) for row in rows]


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
