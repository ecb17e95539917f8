"""One turn of work for everybody who asks at the same time."""

from __future__ import annotations

import asyncio

import pytest

from ledger.shared import Shared


class Clerk:
    """Counts its turns; each waits until it is let go."""

    def __init__(self) -> None:
        self.turns = 0
        self.go = asyncio.Event()

    async def work(self) -> int:
        self.turns += 1
        turn = self.turns
        await self.go.wait()
        return turn


async def test_who_asks_while_a_turn_is_on_its_way_shares_the_next_one() -> None:
    clerk = Clerk()
    shared = Shared(clerk.work)
    first = asyncio.create_task(shared())
    while not clerk.turns:
        await asyncio.sleep(0)
    later = [asyncio.create_task(shared()) for _ in range(5)]
    await asyncio.sleep(0)
    clerk.go.set()
    assert await first == 1
    assert await asyncio.gather(*later) == [2] * 5
    assert await shared() == 3


async def test_an_error_reaches_all_who_shared_the_turn_and_nobody_after_them() -> None:
    outcomes = iter([OSError("away"), "well"])

    async def work() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    shared = Shared(work)
    failed = await asyncio.gather(shared(), shared(), return_exceptions=True)
    assert [str(error) for error in failed] == ["away", "away"]
    assert await shared() == "well"


async def test_a_waiter_that_is_cancelled_takes_nobody_s_turn_away() -> None:
    clerk = Clerk()
    shared = Shared(clerk.work)
    one, other = asyncio.create_task(shared()), asyncio.create_task(shared())
    while not clerk.turns:
        await asyncio.sleep(0)
    one.cancel()
    clerk.go.set()
    with pytest.raises(asyncio.CancelledError):
        await one
    assert await other == 1
