"""What an agent at work is told by others: read from the record, with its delivery settled on the bus afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog
from redis.exceptions import RedisError

from agents.inbox import Inbox
from ledger.messages import Message
from ledger.store import Store

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Mailbox:
    """One agent's messages. The record says what is unread, so a run needs no Redis to hear of its feedback."""

    store: Store
    project: str
    agent: str
    inbox: Inbox
    passed: set[str] = field(default_factory=set[str])
    """Ids of messages that wait there and are for another run of the same agent."""

    async def unread(self) -> list[Message]:
        """Messages that no step has read, oldest first."""
        return await self.store.inbox(self.project, self.agent)

    async def unread_of(self, agent: str) -> list[Message]:
        """What a colleague of this project has not read."""
        return await self.store.inbox(self.project, agent)

    async def open(self, agent: str) -> None:
        """Let a colleague of this project be written to, also one that has not worked yet."""
        await self.store.open_inbox(self.project, agent)

    async def settle(self) -> None:
        """Acknowledge on the bus what steps have read; trouble with Redis only delays that."""
        try:
            await self.inbox.settle()
        except (RedisError, OSError) as error:
            log.warning("inbox_unavailable", project=self.project, agent=self.agent, error=str(error)[:200])
