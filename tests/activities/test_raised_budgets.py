"""Two workflows ask for more of the same budget, and two people answer."""

from __future__ import annotations

from decimal import Decimal

from temporalio.testing import ActivityEnvironment

from activities.contracts import OpenBudget
from activities.record import Records
from agents.feed import Feed
from ledger.memory import MemoryStore
from tests.support.records import Hands


async def test_a_smaller_answer_takes_nothing_back_of_a_larger_one() -> None:
    store = MemoryStore(Hands())
    records = Records(store, Feed(None))  # pyright: ignore[reportArgumentType] - nothing is published
    await store.open_budget("p", Decimal(1))
    for asked, stands in ((4, 4), (2, 4), (5, 5)):
        request = OpenBudget(scope="p", limit_usd=Decimal(asked), raised=True)
        view = await ActivityEnvironment().run(records.open_budget, request)
        assert view.limit_usd == stands
    for tokens, stands in ((4000, 4000), (2000, 4000)):
        request = OpenBudget(scope="p", limit_usd=None, limit_tokens=tokens, raised=True)
        view = await ActivityEnvironment().run(records.open_budget, request)
        assert (view.limit_usd, view.limit_tokens) == (5, stands)
    kept = [entry.body.get("limit_tokens") for entry in await store.entries("p")]
    assert kept == [None, None, None, 4000, 2000]
