"""Cards of agents where others find them: a row in the record, and a hash in Redis for looking."""

from __future__ import annotations

import asyncio

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ledger.teamwork import Card, TeamStore

log = structlog.get_logger(__name__)

PUBLISH_S = 1.0
"""How long Redis may take; the record holds the card anyway."""


def cards_key(project: str) -> str:
    # The braces keep what belongs to a project on one node of a Redis cluster.
    return f"syndic:{{{project}}}:agents"


async def publish_card(store: TeamStore, redis: Redis, project: str, card: Card) -> None:
    """Make a card known. Trouble with Redis is logged and holds nobody up.

    Raises:
        LedgerError: the agent is not of this project.
    """
    await store.publish_card(project, card)
    try:
        async with asyncio.timeout(PUBLISH_S):
            await redis.hset(cards_key(project), card.id, card.model_dump_json())  # pyright: ignore[reportGeneralTypeIssues, reportUnknownMemberType]  # redis-py types one class for both of its clients
    except (RedisError, OSError) as error:
        log.warning("card_not_shown", project=project, agent=card.id, error=str(error)[:200])
