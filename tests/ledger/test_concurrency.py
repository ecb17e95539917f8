"""Several workers, each with a connection of its own, over one budget tree and one chain."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal

import psycopg
import pytest

from ledger.chain import verify
from ledger.items import ItemStatus, Start
from ledger.journal import GroupCommit
from ledger.postgres import PostgresStore, create_pool
from ledger.rows import Lease
from ledger.store import Store
from ledger.vocabulary import StepKind
from tests.support.postgres import Database
from tests.support.records import MINUTE, intent, message, note, receipt, thread

PROJECTS = ("pa", "pb")
WORKERS = 6


async def open_store(database: Database) -> PostgresStore:
    pool = create_pool(database.worker, max_size=1)
    await pool.open()
    return PostgresStore(pool)


async def run(journal: GroupCommit, lease: Lease, seed: int) -> int:
    """One agent run of twelve turns that stops at the limit; returns how many answers it paid for."""
    dice, paid = random.Random(seed), 0
    project = lease.thread[:2]
    other = PROJECTS[1 - PROJECTS.index(project)]
    for ordinal in range(0, 24, 2):
        if (await journal.submit(intent(lease, ordinal, "0.10"))).status is ItemStatus.OVER_BUDGET:
            break
        key = f"{lease.thread}:{ordinal}"
        # Entries on both chains, in either order: what a careless lock order would deadlock on.
        entries = [note(key, project=project), note(key, project=other)]
        dice.shuffle(entries)
        cost = f"0.{dice.randrange(11):02d}"
        done = await journal.submit(receipt(lease, ordinal, cost=cost, entries=tuple(entries)))
        assert done.status is ItemStatus.OK, done.detail
        paid += 1
        outbox = (message(key, project=project),)
        await journal.submit(receipt(lease, ordinal + 1, kind=StepKind.TOOL, outbox=outbox))
    return paid


async def work(store: Store, worker: int) -> int:
    journal = GroupCommit(store, max_batch=5)
    places = [(project, n) for n in range(3) for project in PROJECTS]
    # Runs on scopes that their neighbours open too, in other orders.
    random.Random(worker).shuffle(places)
    leases = await asyncio.gather(*(begin(journal, project, worker, n) for project, n in places))
    paid = await asyncio.gather(*(run(journal, lease, worker * 100 + n) for n, lease in enumerate(leases)))
    await journal.aclose()
    return sum(paid)


async def begin(journal: GroupCommit, project: str, worker: int, number: int) -> Lease:
    info = thread(project, worker % 3, f"t{worker % 4}", f"l{worker}-{number}")
    answer = await journal.submit(Start(info=info, holder=f"w{worker}", ttl=MINUTE))
    assert answer.started is not None, answer
    return answer.started.lease


async def watch(store: Store, done: asyncio.Event) -> int:
    """Looks at the budgets while others write."""
    looks = 0
    while not done.is_set():
        for project in PROJECTS:
            budget = await store.budget(project)
            assert budget.limit_usd is not None
            assert budget.spent_usd + budget.reserved_usd <= budget.limit_usd
        looks += 1
    return looks


async def test_workers_at_once_neither_deadlock_nor_overspend(database: Database) -> None:
    stores = [await open_store(database) for _ in range(WORKERS + 1)]
    limits = dict(zip(PROJECTS, (Decimal("4"), Decimal("1000")), strict=True))
    for project, limit in limits.items():
        await stores[0].open_budget(project, limit)
    done = asyncio.Event()
    watcher = asyncio.create_task(watch(stores[-1], done))
    paid = await asyncio.gather(*(work(store, n) for n, store in enumerate(stores[:-1])))
    done.set()
    assert await watcher > 0

    spent = Decimal(0)
    for project, limit in limits.items():
        budget = await stores[0].budget(project)
        assert budget.reserved_usd == 0
        assert budget.spent_usd <= limit
        spent += budget.spent_usd
        entries = await stores[0].entries(project, limit=10_000)
        assert verify(entries).ok
        assert sum(entry.kind == "note" for entry in entries) == sum(paid)
        assert [entry.key for entry in entries if entry.kind != "note"] == (
            ["budget_low:pa:4"] if project == "pa" else []
        )
    near = (await stores[0].budget("pa")).spent_usd > limits["pa"] - 2
    assert near, "the limit was never near: nothing was tested"
    rows = [row for project in PROJECTS for row in await stores[0].usage(project)]
    assert spent == sum(row.cost_usd for row in rows)
    assert sum(row.calls for row in rows) == sum(paid)
    with psycopg.connect(database.owner) as connection:
        deadlocks = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert deadlocks.fetchone() == (0,)
    for store in stores:
        await store.close()


async def test_the_same_reservation_from_two_workers_counts_once(shared: Database) -> None:
    one, two = await open_store(shared), await open_store(shared)
    await one.open_budget("p/s1/t", None)
    lease = await one.acquire_lease(thread(), "w", MINUTE)
    for ordinal in range(20):
        asked = await asyncio.gather(one.apply([intent(lease, ordinal)]), two.apply([intent(lease, ordinal)]))
        assert {answer.status for [answer] in asked} == {ItemStatus.OK}
        told = await asyncio.gather(one.apply([receipt(lease, ordinal)]), two.apply([receipt(lease, ordinal)]))
        assert sorted(answer.status for [answer] in told) == [ItemStatus.OK, ItemStatus.SERVED]
    budget = await one.budget("p")
    assert (budget.reserved_usd, budget.spent_usd) == (0, Decimal("0.80"))
    await one.close()
    await two.close()


@pytest.mark.parametrize("round_", range(5))
async def test_a_takeover_comes_before_or_after_a_whole_batch(shared: Database, round_: int) -> None:
    one, two = await open_store(shared), await open_store(shared)
    project = f"p{round_}"
    await one.open_budget(f"{project}/s1/t", None)
    lease = await one.acquire_lease(thread(project), "w", MINUTE)
    items = [item for n in range(20) for item in (intent(lease, n), receipt(lease, n))]
    answers, taken = await asyncio.gather(one.apply(items), two.acquire_lease(thread(project), "w", MINUTE))
    statuses = {answer.status for answer in answers}
    assert statuses in ({ItemStatus.OK}, {ItemStatus.LOST_LEASE})
    assert taken.epoch == 2
    assert (await one.budget(project)).reserved_usd == 0
    await one.close()
    await two.close()


@pytest.mark.parametrize("round_", range(5))
async def test_runs_that_begin_at_once_open_their_budgets_once_and_wait_for_nobody_who_waits_for_them(
    database: Database, round_: int
) -> None:
    stores = [await open_store(database) for _ in range(WORKERS)]
    for project in PROJECTS:
        await stores[0].open_budget(project, Decimal(9))
    places = [(project, sprint, f"t{task}") for project in PROJECTS for sprint in range(3) for task in range(4)]

    async def begin_all(worker: int) -> None:
        own = random.Random(round_ * WORKERS + worker).sample(places, len(places))
        starts = [Start(info=thread(*place, f"l{worker}"), holder="w", ttl=MINUTE) for place in own]
        assert {answer.status for answer in await stores[worker].apply(starts)} == {ItemStatus.OK}

    await asyncio.gather(*(begin_all(worker) for worker in range(WORKERS)))
    with psycopg.connect(database.owner) as connection:
        opened = connection.execute("SELECT depth, count(*) FROM syndic.budgets GROUP BY depth ORDER BY depth")
        assert opened.fetchall() == [(1, 2), (2, 6), (3, 24)]
        deadlocks = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert deadlocks.fetchone() == (0,)
    for store in stores:
        await store.close()


async def test_names_that_no_index_can_hold_cost_no_neighbour_its_run(shared: Database) -> None:
    store = await open_store(shared)
    await store.open_budget("p", Decimal(1))
    long = "".join(map(str, range(3000)))
    infos = (
        thread(task="scope").model_copy(update={"budget_scope": f"p/{long}"}),
        thread(task="agent").model_copy(update={"agent": long}),
        thread(task="short"),
    )
    begun = await store.apply([Start(info=info, holder="w", ttl=MINUTE) for info in infos])
    assert [answer.status for answer in begun] == [ItemStatus.OK, ItemStatus.INVALID, ItemStatus.OK]
    leases = [answer.started.lease for answer in begun if answer.started]
    answers = await store.apply([intent(lease, 0) for lease in leases])
    assert [answer.status for answer in answers] == [ItemStatus.INVALID, ItemStatus.OK]
    await store.close()
