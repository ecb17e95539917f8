from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from ledger.errors import LedgerError, StoreUnreachableError
from ledger.items import Item, ItemResult, ItemStatus, Receipt
from ledger.journal import MANY, GroupCommit
from ledger.memory import MemoryStore
from ledger.rows import Lease
from ledger.vocabulary import StepKind
from tests.support.records import MINUTE, receipt, thread


class GatedStore(MemoryStore):
    """Applies a batch when it is let through, and can break."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.batches: list[list[int]] = []
        self.error: Exception | None = None

    async def apply(self, items: Sequence[Item], *, brief: bool = False) -> list[ItemResult]:
        assert brief
        self.batches.append([item.ordinal for item in items if isinstance(item, Receipt)])
        await self.gate.wait()
        if self.error:
            raise self.error
        return await super().apply(items)


@pytest.fixture
def store() -> GatedStore:
    return GatedStore()


@pytest.fixture
async def lease(store: GatedStore) -> Lease:
    return await store.acquire_lease(thread(), "w", MINUTE)


async def until_started(store: GatedStore, batches: int) -> None:
    async with asyncio.timeout(5):
        while len(store.batches) < batches:
            await asyncio.sleep(0)


async def test_what_waits_while_a_batch_is_written_becomes_the_next_batch(store: GatedStore, lease: Lease) -> None:
    journal = GroupCommit(store, max_batch=3)
    first = asyncio.create_task(journal.submit(receipt(lease, 0, kind=StepKind.TOOL)))
    await until_started(store, 1)
    rest = [asyncio.create_task(journal.submit(receipt(lease, n, kind=StepKind.TOOL))) for n in range(1, 6)]
    await asyncio.sleep(0)
    store.gate.set()
    answers = await asyncio.gather(first, *rest)
    assert store.batches == [[0], [1, 2, 3], [4, 5]]
    assert [answer.status for answer in answers] == [ItemStatus.OK] * 6
    assert [step.ordinal for step in await store.steps(lease.thread)] == list(range(6))


async def test_items_submitted_together_keep_their_order_and_stay_together(store: GatedStore, lease: Lease) -> None:
    store.gate.set()
    journal = GroupCommit(store, max_batch=2)
    together = [receipt(lease, n, kind=StepKind.TOOL) for n in (4, 2, 9)]
    alone = receipt(lease, 5, kind=StepKind.TOOL)
    answers, answer = await asyncio.gather(journal.submit_all(together), journal.submit(alone))
    assert [one.status for one in (*answers, answer)] == [ItemStatus.OK] * 4
    assert store.batches == [[4, 2, 9], [5]]


async def test_nothing_submitted_is_nothing_written(store: GatedStore) -> None:
    assert await GroupCommit(store).submit_all([]) == []
    assert store.batches == []


@pytest.mark.parametrize("started", [True, False])
async def test_a_cancelled_waiter_does_not_cancel_the_write(store: GatedStore, lease: Lease, started: bool) -> None:
    journal = GroupCommit(store)
    blocker = asyncio.create_task(journal.submit(receipt(lease, 0, kind=StepKind.TOOL)))
    await until_started(store, 1)
    waiter = blocker if started else asyncio.create_task(journal.submit(receipt(lease, 1, kind=StepKind.TOOL)))
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    store.gate.set()
    await journal.aclose()
    await asyncio.gather(blocker, return_exceptions=True)
    assert len(await store.steps(lease.thread)) == (1 if started else 2)


async def test_an_error_of_the_store_reaches_every_waiter_of_its_batch_and_no_other(
    store: GatedStore, lease: Lease
) -> None:
    store.gate.set()
    store.error = StoreUnreachableError()
    journal = GroupCommit(store)
    tries = await asyncio.gather(
        *(journal.submit(receipt(lease, n, kind=StepKind.TOOL)) for n in range(3)), return_exceptions=True
    )
    assert [type(error) for error in tries] == [StoreUnreachableError] * 3
    store.error = None
    assert (await journal.submit(receipt(lease, 0, kind=StepKind.TOOL))).status is ItemStatus.OK


async def test_an_error_that_nobody_waits_for_is_not_left_behind(store: GatedStore, lease: Lease) -> None:
    journal = GroupCommit(store)
    waiter = asyncio.create_task(journal.submit(receipt(lease, 0, kind=StepKind.TOOL)))
    await until_started(store, 1)
    waiter.cancel()
    store.error = StoreUnreachableError()
    store.gate.set()
    await journal.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiter


async def test_closing_writes_what_waits_and_takes_no_more(store: GatedStore, lease: Lease) -> None:
    journal = GroupCommit(store, max_batch=1)
    waiters = [asyncio.create_task(journal.submit(receipt(lease, n, kind=StepKind.TOOL))) for n in range(3)]
    await until_started(store, 1)
    closing = asyncio.create_task(journal.aclose())
    await asyncio.sleep(0)
    store.gate.set()
    await closing
    assert all(waiter.done() or not waiter.cancelled() for waiter in waiters)
    assert len(await store.steps(lease.thread)) == 3
    with pytest.raises(LedgerError, match="closed"):
        await journal.submit(receipt(lease, 9, kind=StepKind.TOOL))
    await asyncio.gather(*waiters)


@pytest.fixture
def gather_s(monkeypatch: pytest.MonkeyPatch) -> float:
    """Long enough that a busy machine does not decide the test."""
    monkeypatch.setattr("ledger.journal.GATHER_S", 0.5)
    return 0.5


@pytest.fixture
async def leases(store: GatedStore) -> list[Lease]:
    return [await store.acquire_lease(thread(lineage=f"l{n}"), "w", MINUTE) for n in range(MANY)]


async def busy_journal(store: GatedStore, leases: Sequence[Lease]) -> GroupCommit:
    """All of them have just written."""
    store.gate.set()
    journal = GroupCommit(store)
    await asyncio.gather(*(journal.submit(receipt(lease, 0, kind=StepKind.TOOL)) for lease in leases))
    return journal


async def test_where_many_runs_write_the_next_batch_gathers_for_a_moment(
    store: GatedStore, leases: list[Lease], gather_s: float
) -> None:
    journal = await busy_journal(store, leases)
    one = asyncio.create_task(journal.submit(receipt(leases[0], 1, kind=StepKind.TOOL)))
    await asyncio.sleep(gather_s / 50)
    assert not one.done()
    await asyncio.gather(one, journal.submit(receipt(leases[1], 2, kind=StepKind.TOOL)))
    assert store.batches == [[0] * MANY, [1, 2]]


async def test_a_writer_that_is_stopped_while_a_batch_gathers_leaves_nobody_waiting(
    store: GatedStore, leases: list[Lease], gather_s: float
) -> None:
    journal = await busy_journal(store, leases)
    waiter = asyncio.create_task(journal.submit(receipt(leases[0], 1, kind=StepKind.TOOL)))
    await asyncio.sleep(gather_s / 50)
    [writer] = [task for task in asyncio.all_tasks() if task.get_name() == "group-commit"]
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter


async def test_a_few_runs_wait_for_nobody(store: GatedStore, leases: list[Lease], gather_s: float) -> None:
    journal = await busy_journal(store, leases[: MANY - 1])
    begun = asyncio.get_running_loop().time()
    for n in range(1, 10):
        await journal.submit(receipt(leases[0], n, kind=StepKind.TOOL))
    assert asyncio.get_running_loop().time() - begun < gather_s
