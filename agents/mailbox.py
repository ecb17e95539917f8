"""What an agent at work is told by others: read from the record, with its delivery settled on the bus afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError

from agents.bus import Inbox
from agents.messages import MessageType
from ledger.store import Message, Store

log = structlog.get_logger(__name__)

_FOR_MODELS = frozenset({MessageType.FEEDBACK, MessageType.REVIEW_RESULT})


@dataclass(frozen=True)
class Mailbox:
    """One agent's messages. The record says what is unread, so a run needs no Redis to hear of its feedback."""

    store: Store
    project: str
    agent: str
    inbox: Inbox | None = None

    async def unread(self) -> list[Message]:
        """Messages for the model that no step has read, oldest first."""
        return [message for message in await self.store.inbox(self.project, self.agent) if message.type in _FOR_MODELS]

    async def settle(self) -> None:
        """Acknowledge on the bus what steps have read; trouble with Redis only delays that."""
        if self.inbox is None:
            return
        try:
            await self.inbox.read()
            unread = {message.id for message in await self.store.inbox(self.project, self.agent)}
            await self.inbox.acknowledge(id for id in self.inbox.handed_out() if id not in unread)
        except (RedisError, OSError) as error:
            log.warning("inbox_unavailable", project=self.project, agent=self.agent, error=str(error)[:200])
