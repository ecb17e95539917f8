"""A budget that is nearly spent is said once on the feed, and with every outcome to whoever asked for the run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from activities.soft_limit import soft_limit_notices
from agents.feed import Feed
from ledger.memory import MemoryStore
from tests.support.records import MINUTE, Hands, intent, receipt, thread


class Keys:
    """What a feed writes with: one command, and a pipeline of others."""

    def __init__(self) -> None:
        self.kept: set[str] = set()
        self.events: list[str] = []

    async def set(self, key: str, _value: str, *, nx: bool) -> bool | None:
        known = key in self.kept
        self.kept.add(key)
        return None if known and nx else True

    @asynccontextmanager
    async def pipeline(self, **_: Any) -> AsyncIterator[Keys]:
        yield self

    def eval(self, _script: str, _keys: int, _stream: str, _most: int, *events: str) -> None:
        self.events += events

    async def execute(self) -> None:
        pass


async def spend(store: MemoryStore, amount: str, ordinal: int) -> None:
    lease = await store.acquire_lease(thread(), "w", MINUTE)
    await store.apply([intent(lease, ordinal, amount, tokens=120), receipt(lease, ordinal, cost=amount)])


async def test_a_notice_comes_at_four_fifths_once_on_the_feed_and_again_for_a_raised_limit() -> None:
    store, redis = MemoryStore(Hands()), Keys()
    feed = Feed(redis)  # pyright: ignore[reportArgumentType] - only what a feed uses
    await store.open_budget("p", Decimal("1"))
    await store.open_budget("p/s1/t", None)
    await spend(store, "0.79", 0)
    assert await soft_limit_notices(await store.budget_path("p/s1/t"), feed) == ()
    await spend(store, "0.01", 1)
    [notice] = await soft_limit_notices(await store.budget_path("p/s1/t"), feed)
    assert notice.startswith("budget p: 80 % of 1.00 USD are spent")
    assert await soft_limit_notices(await store.budget_path("p/s1/t"), feed) == (notice,)
    assert len(redis.events) == 1
    await store.raise_budget("p", Decimal("2"))
    assert await soft_limit_notices(await store.budget_path("p/s1/t"), feed) == ()
    await spend(store, "0.90", 2)
    assert len(await soft_limit_notices(await store.budget_path("p/s1/t"), feed)) == 1
    assert len(redis.events) == 2


async def test_tokens_have_a_notice_of_their_own() -> None:
    store, redis = MemoryStore(Hands()), Keys()
    await store.open_budget("p", Decimal("1"), 1000)
    await store.open_budget("p/s1/t", None)
    for ordinal in range(7):
        await spend(store, "0.01", ordinal)
    feed = Feed(redis)  # pyright: ignore[reportArgumentType] - only what a feed uses
    [notice] = await soft_limit_notices(await store.budget_path("p/s1/t"), feed)
    assert notice.startswith("budget p: 80 % of 1,000 tokens are spent")
    assert len(redis.events) == 1
