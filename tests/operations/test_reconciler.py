"""Leases and reservations of runs that never come back end by themselves."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

from ledger.errors import StoreUnreachableError
from ledger.memory import MemoryStore
from tests.support.records import MINUTE, Hands, intent, receipt, thread
from workers.reconciler import reconcile, reconciling

SOON = timedelta(milliseconds=1)


async def test_a_reservation_whose_run_is_gone_becomes_doubt_and_a_living_one_stays() -> None:
    hands = Hands()
    store = MemoryStore(hands)
    for scope in ("p/s1/t", "q/s1/t"):
        await store.open_budget(scope, None)
    gone = await store.acquire_lease(thread("p"), "w1", MINUTE)
    await store.apply([intent(gone, 0, "0.10")])
    assert await reconcile(store) == 0
    hands.move(MINUTE)
    alive = await store.acquire_lease(thread("q"), "w2", MINUTE)
    await store.apply([intent(alive, 0, "0.20")])
    assert await reconcile(store) == 1
    assert (await store.budget("p")).reserved_usd == 0
    assert (await store.budget("p")).spent_usd == Decimal("0.10")
    assert (await store.budget("q")).reserved_usd == Decimal("0.20")
    await store.apply([receipt(gone, 0, cost="0.03")])
    assert (await store.budget("p")).spent_usd == Decimal("0.03")


class Shaky(MemoryStore):
    """A record that is away at first."""

    def __init__(self) -> None:
        super().__init__(Hands())
        self.looks = 0
        self.answered = asyncio.Event()

    async def lapsed(self) -> list[str]:
        self.looks += 1
        if self.looks < 3:
            raise StoreUnreachableError
        self.answered.set()
        return await super().lapsed()


async def test_it_goes_on_when_the_record_was_away_and_ends_with_the_worker() -> None:
    store = Shaky()
    async with reconciling(store, SOON):
        await asyncio.wait_for(store.answered.wait(), 10)
    looks = store.looks
    await asyncio.sleep(0)
    assert store.looks == looks
