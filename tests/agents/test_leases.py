"""Holding a thread: what ends a run from outside, and how soon."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from agents.errors import HaltedError, LostLeaseError, RunStoppedError
from agents.leases import RENEW_EVERY, TTL, HeldLease
from ledger.errors import LeaseHeldError, StoreUnreachableError
from ledger.memory import MemoryStore
from ledger.rows import Lease, ThreadInfo
from ledger.vocabulary import Standing
from tests.agents.conftest import eventually

INFO = ThreadInfo(
    thread="p/s1/t/engineer-1", project="p", sprint=1, task="t", role="engineer", agent="p.engineer.ada",
    budget_scope="p", prompt_version="v1",
)  # fmt: skip


def held(store: MemoryStore, holder: str = "one", *, ttl_s: float = 15, every_s: float = 0.01) -> HeldLease:
    return HeldLease(
        store, INFO, holder, asyncio.Event(), ttl=timedelta(seconds=ttl_s), renew_every=timedelta(seconds=every_s)
    )


def refused(lease: HeldLease, error: type[Exception]) -> bool:
    try:
        lease.check()
    except error:
        return True
    return False


def test_a_revoked_agent_is_noticed_within_five_seconds_and_renewal_has_three_tries() -> None:
    assert timedelta(seconds=5) > RENEW_EVERY
    assert 3 * RENEW_EVERY < TTL


async def test_a_lease_is_given_back_at_the_end() -> None:
    store = MemoryStore()
    async with held(store) as lease:
        lease.check()
        with pytest.raises(LeaseHeldError):
            async with held(store, "two"):
                pass
    async with held(store, "two") as again:
        assert again.lease.epoch == 2


@pytest.mark.parametrize("subject", ["p", "p/s1", "p/s1/t", "p.engineer.ada"])
async def test_a_change_of_standing_stops_the_next_step_between_model_calls(subject: str) -> None:
    store = MemoryStore()
    async with held(store) as lease:
        await store.set_standing(subject, Standing.REVOKED, "misbehaved")
        await eventually(lambda: refused(lease, HaltedError))
        await store.set_standing(subject, Standing.ACTIVE, "forgiven")
        await eventually(lambda: not refused(lease, HaltedError))


async def test_a_lease_that_was_taken_over_is_lost_and_not_given_back() -> None:
    store = MemoryStore()
    async with held(store) as stale:
        # The same holder may take over at once, as the next attempt of one activity does.
        taken = await store.acquire_lease(INFO, "one", timedelta(seconds=15))
        await eventually(lambda: refused(stale, LostLeaseError))
        assert not stale.holds()
    await store.renew_lease(taken, timedelta(seconds=15))


async def test_a_process_that_was_frozen_does_not_trust_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    async with held(store, every_s=60) as lease:
        now = time.monotonic()
        monkeypatch.setattr("agents.leases.time.monotonic", lambda: now + 16)
        assert not lease.holds()
        with pytest.raises(LostLeaseError):
            lease.check()


async def test_a_database_that_is_away_for_a_moment_costs_no_lease() -> None:
    class Flaky(MemoryStore):
        failures = 3

        async def renew_lease(self, lease: Lease, ttl: timedelta) -> None:
            if self.failures:
                self.failures -= 1
                raise StoreUnreachableError
            await super().renew_lease(lease, ttl)

    store = Flaky(clock=lambda: datetime.now(UTC))
    async with held(store) as lease:
        await eventually(lambda: store.failures == 0)
        lease.check()


async def test_a_stopping_worker_starts_no_step() -> None:
    stopping = asyncio.Event()
    async with HeldLease(MemoryStore(), INFO, "one", stopping) as lease:
        stopping.set()
        with pytest.raises(RunStoppedError):
            lease.check()
        assert lease.holds()


class Swallowing(MemoryStore):
    """Drops the first cancellation that meets it, as a connection pool under Python 3.11 can."""

    renewing = swallowed = False

    async def renew_lease(self, lease: Lease, ttl: timedelta) -> None:
        self.renewing = True
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self.swallowed:
                raise
            self.swallowed = True


async def test_a_run_ends_although_a_pool_swallowed_the_end_of_its_renewing() -> None:
    store = Swallowing()
    async with asyncio.timeout(5):
        async with held(store):
            await eventually(lambda: store.renewing)
    assert store.swallowed
