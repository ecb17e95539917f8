"""Whatever happens in whatever order: both stores give the same answers and end in the same state."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from ledger.chain import verify
from ledger.errors import LedgerError
from ledger.items import Item, ItemResult, ItemStatus, Mark, Start
from ledger.memory import MemoryStore
from ledger.postgres import PostgresStore, create_pool
from ledger.rows import CostBy, Lease
from ledger.store import Store
from ledger.teamwork import Card
from ledger.vocabulary import AgentState, Role, Standing, StepKind, StepStatus, Usage
from tests.support.postgres import Database
from tests.support.records import BILLED, MINUTE, Hands, intent, message, note, receipt, thread

SEEN: Counter[ItemStatus] = Counter()


@pytest.fixture
async def twins(database: Database, hands: Hands) -> AsyncIterator[tuple[Store, Store]]:
    pool = create_pool(database.worker, max_size=1)
    await pool.open()
    yield MemoryStore(hands), PostgresStore(pool, hands)
    await pool.close()


class Chance:
    """Random doings of two runs, old epochs and changed requests included."""

    def __init__(self, seed: int, project: str) -> None:
        self.dice = random.Random(seed)
        self.project = project
        self.leases: list[Lease] = []

    def items(self) -> list[Item]:
        dice = self.dice
        drawn = [self.item() if dice.random() < 0.9 else self.frame() for _ in range(dice.randrange(1, 8))]
        return [item.model_copy(update={"chained": dice.random() < 0.3}) for item in drawn]

    def frame(self) -> Item:
        """How a run begins or ends."""
        dice, project = self.dice, self.project
        lease = dice.choice(self.leases[-4:])
        if dice.random() < 0.3:
            return Start(info=thread(project, lineage=dice.choice("ab")), holder=dice.choice(["w1", "w2"]), ttl=MINUTE)
        where = dice.choice([project, project, project, "elsewhere"])
        card = Card(id=f"{where}.qa", name="qa", role=Role.QA, title="QA", state=dice.choice(list(AgentState)))
        return Mark(
            thread=lease.thread, epoch=lease.epoch, project=project, card=dice.choice([None, card]),
            entries=(note(f"{project}-{dice.randrange(12)}", dice.choice("ab") * (dice.random() < 0.2), project),),
            artifact=dice.choice([None, f'"{dice.random()}"']), releases=dice.choice([None, None, "w1", "w2"]),
        )  # fmt: skip

    def item(self) -> Item:
        dice = self.dice
        lease = dice.choice(self.leases[-4:])
        ordinal, ask = dice.randrange(12), dice.choice(["q"] * 12 + ["other"])
        if dice.random() < 0.45:
            bound = dice.choice(["0.10", "0.10", "0.30", "0.0000000001"])
            tokens = dice.choice([0, 100, 100, 400])
            heard = dice.choice([None, None, (), tuple(f"{self.project}-{n}" for n in range(6))])
            asked = intent(lease, ordinal, bound, ask=ask, name=dice.choice(["m1", "m1", "m2"]), tokens=tokens)
            return asked.model_copy(update={"heard": heard})
        kind = dice.choice([StepKind.MODEL] * 5 + [StepKind.TOOL, StepKind.INPUT] * 2)
        status = StepStatus.FAILED if dice.random() < 0.25 else StepStatus.DONE
        cost = dice.choice(["0", "0.05", "0.10", "0.12345678949"])
        name = f"{self.project}-{dice.randrange(12)}"
        return receipt(
            lease,
            ordinal,
            {"said": dice.random(), "raw": "\x00\ud83d"},
            kind=kind,
            cost=cost,
            usage=dice.choice([None, Usage(prompt_tokens=60, completion_tokens=30, reasoning_tokens=20), BILLED]),
            ask=ask,
            status=status,
            entries=(note(name, dice.choice("ab") * (dice.random() < 0.1), self.project),) * dice.randrange(3),
            outbox=(message(name, dice.choice(["qa", "qa", "qa", "nobody", None]), self.project, n=ordinal),)
            * dice.randrange(2),
            acknowledged=(f"{self.project}-{dice.randrange(12)}",) * dice.randrange(2),
        )

    async def disturb(self, stores: tuple[Store, Store], hands: Hands) -> None:
        dice, project = self.dice, self.project
        hands.move(MINUTE * dice.random())
        subject = dice.choice([project, f"{project}/s1/t", f"{project}-engineer-1"])
        scope, limit = dice.choice([project, f"{project}/s1/t"]), Decimal(dice.randrange(1, 30)) / 10
        tokens = dice.choice([None, dice.randrange(1, 4000)])
        what, standing = dice.randrange(9), dice.choice([Standing.ACTIVE, Standing.ACTIVE, Standing.PAUSED])
        seed = dice.randrange(6)
        info, holder = thread(project, lineage=dice.choice("ab")), dice.choice(["w1", "w2"])
        told: list[object] = []
        for store in stores:
            if what == 0:
                told.append(await store.set_standing(subject, standing, "so"))
            elif what == 1:
                told.append(await store.raise_budget(scope, limit, tokens))
            elif what == 2:
                told.append(await store.reconcile(project))
            elif what == 3 and self.leases:
                told.append(await store.release_lease(self.leases[-1]))
            elif what == 6:
                told.append(await store.open_inbox(project, "qa", capacity=5, reopen=seed % 2 == 0))
            elif what == 7:
                told.append(await store.close_inbox(project, "qa", "done") if seed % 3 == 0 else None)
            elif what == 8:
                told.append([m.id for m in await store.undelivered(10_000) if m.project == project])
                told[-1] = [told[-1], await store.redeliver(project)]
            else:
                told.append(await attempt(store, info, holder))
        assert told[0] == told[1]
        if isinstance(told[0], Lease):
            self.leases.append(told[0])


async def attempt(store: Store, info, holder: str) -> Lease | str:
    try:
        return await store.acquire_lease(info, holder, MINUTE)
    except LedgerError as error:
        return str(error)


def comparable(answer: ItemResult) -> ItemResult:
    # The wording of an invalid item's fault is each store's own.
    if answer.started is not None:  # positions in the database count the messages of other tests too
        unread = tuple(message.model_copy(update={"position": 0}) for message in answer.started.unread)
        return answer.model_copy(update={"started": answer.started.model_copy(update={"unread": unread})})
    return answer.model_copy(update={"detail": None}) if answer.status is ItemStatus.INVALID else answer


async def state(store: Store, project: str) -> dict[str, object]:
    entries = await store.entries(project)
    assert verify(entries).ok
    return {
        "entries": entries,
        "steps": [await store.steps(thread(project, lineage=lineage).thread) for lineage in "ab"],
        "in_doubt": await store.in_doubt(project),
        "usage": await store.usage(project),
        "cost": {by: await store.cost(project, by) for by in CostBy},
        "budgets": [await store.budget(scope) for scope in (project, f"{project}/s1", f"{project}/s1/t")],
        "messages": [m.model_dump(exclude={"position"}) for m in await store.conversation(project)],
        "inbox": [m.id for m in await store.inbox(project, "qa")],
        "dead": await store.dead_letters(project, settled=True),
        "cards": await store.cards(project),
    }


@pytest.mark.parametrize("seed", range(8))
async def test_random_runs_end_alike(twins: tuple[Store, Store], project: str, hands: Hands, seed: int) -> None:
    chance = Chance(seed, project)
    for store in twins:
        await store.open_budget(project, Decimal("1.5"), 1500)
        await store.open_budget(f"{project}/s1/t", Decimal("1"))
        await store.open_inbox(project, "qa", capacity=8)
    for lineage in "ab":
        [lease, _] = [await store.acquire_lease(thread(project, lineage=lineage), "w1", MINUTE) for store in twins]
        chance.leases.append(lease)
    for _ in range(40):
        items = chance.items()
        [one, two] = [await store.apply(items) for store in twins]
        assert list(map(comparable, one)) == list(map(comparable, two))
        SEEN.update(answer.status for answer in one)
        chance.leases += [answer.started.lease for answer in one if answer.started]
        if chance.dice.random() < 0.5:
            await chance.disturb(twins, hands)
    [one, two] = [await state(store, project) for store in twins]
    for part, kept in one.items():
        assert kept == two[part], part


def test_chance_has_seen_every_answer() -> None:
    if sum(SEEN.values()) > 1000:
        assert set(SEEN) == set(ItemStatus)
