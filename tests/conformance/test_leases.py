from __future__ import annotations

import pytest

from ledger.errors import LeaseHeldError, LeaseLostError
from ledger.items import ItemStatus
from ledger.store import Store
from ledger.vocabulary import Standing, StepKind, StepStatus
from tests.support.records import MINUTE, Hands, intent, receipt, thread


async def test_a_held_thread_is_refused_with_the_seconds_left(store: Store, project: str, hands: Hands) -> None:
    await store.acquire_lease(thread(project), "w1", MINUTE)
    hands.move(MINUTE / 2)
    with pytest.raises(LeaseHeldError, match="w1") as caught:
        await store.acquire_lease(thread(project), "w2", MINUTE)
    assert caught.value.seconds_left == pytest.approx(30)


async def test_the_epoch_grows_with_every_acquisition(store: Store, project: str, hands: Hands) -> None:
    first = await store.acquire_lease(thread(project), "w1", MINUTE)
    again = await store.acquire_lease(thread(project), "w1", MINUTE)
    hands.move(MINUTE)
    other = await store.acquire_lease(thread(project), "w2", MINUTE)
    await store.release_lease(other)
    last = await store.acquire_lease(thread(project), "w3", MINUTE)
    assert [lease.epoch for lease in (first, again, other, last)] == [1, 2, 3, 4]


async def test_a_renewed_lease_runs_longer(store: Store, project: str, hands: Hands) -> None:
    lease = await store.acquire_lease(thread(project), "w1", MINUTE)
    hands.move(MINUTE / 2)
    await store.renew_lease(lease, MINUTE)
    hands.move(MINUTE * 0.75)
    with pytest.raises(LeaseHeldError):
        await store.acquire_lease(thread(project), "w2", MINUTE)


async def test_a_lost_lease_cannot_be_renewed_and_its_release_takes_nothing_away(
    store: Store, project: str, hands: Hands
) -> None:
    old = await store.acquire_lease(thread(project), "w1", MINUTE)
    hands.move(MINUTE)
    new = await store.acquire_lease(thread(project), "w2", MINUTE)
    with pytest.raises(LeaseLostError):
        await store.renew_lease(old, MINUTE)
    await store.release_lease(old)
    await store.renew_lease(new, MINUTE)


async def test_a_new_lease_leaves_open_attempts_in_doubt_and_charged(store: Store, project: str) -> None:
    await store.open_budget(f"{project}/s1/t", None)
    lease = await store.acquire_lease(thread(project), "w1", MINUTE)
    await store.apply([intent(lease, 0, "0.25")])
    assert await store.in_doubt(project) == []
    await store.acquire_lease(thread(project), "w1", MINUTE)
    [step] = await store.in_doubt(project)
    assert (step.ordinal, step.status, step.cost_usd) == (0, StepStatus.IN_DOUBT, pytest.approx(0.25, abs=0))
    budget = await store.budget(project)
    assert (budget.reserved_usd, budget.spent_usd) == (0, step.cost_usd)
    assert [step.status for step in await store.steps(lease.thread)] == [StepStatus.IN_DOUBT]


async def test_reconcile_ends_runs_whose_lease_ran_out(store: Store, project: str, hands: Hands) -> None:
    await store.open_budget(f"{project}/s1/t", None)
    await store.open_budget(f"{project}/s1/u", None)
    old = await store.acquire_lease(thread(project), "w1", MINUTE)
    await store.apply([intent(old, 0)])
    hands.move(MINUTE)
    alive = await store.acquire_lease(thread(project, task="u"), "w2", MINUTE)
    await store.apply([intent(alive, 0)])
    assert project in await store.lapsed()
    assert await store.reconcile(project) == 1
    assert project not in await store.lapsed()
    assert await store.reconcile(project) == 0
    assert [step.thread for step in await store.in_doubt(project)] == [old.thread]
    [gone, kept] = await store.apply(
        [receipt(old, 1, kind=StepKind.TOOL), receipt(alive, 0)],
    )
    assert (gone.status, kept.status) == (ItemStatus.LOST_LEASE, ItemStatus.OK)


async def test_reconcile_finds_attempts_of_a_released_thread(store: Store, project: str) -> None:
    await store.open_budget(f"{project}/s1/t", None)
    lease = await store.acquire_lease(thread(project), "w1", MINUTE)
    await store.apply([intent(lease, 0)])
    await store.release_lease(lease)
    assert await store.reconcile(project) == 1
    assert len(await store.in_doubt(project)) == 1


async def test_of_several_subjects_the_first_that_may_not_work_is_named(store: Store, project: str) -> None:
    sprint, task = f"{project}/s1", f"{project}/s1/t"
    await store.set_standing(sprint, Standing.ACTIVE, "")
    assert await store.halted((project, sprint, task)) is None
    await store.set_standing(task, Standing.PAUSED, "lunch")
    await store.set_standing(project, Standing.PAUSED, "holidays")
    found = await store.halted((project, sprint, task))
    assert found is not None
    assert (found.subject, found.reason) == (project, "holidays")
