"""Sixty-four agents at once on a budget for ten calls: real Postgres, a real provider over HTTP that bills too much, and kills."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from agents.errors import OverBudgetError
from agents.gateway import MARGIN, Gateway
from agents.model_keys import Access, Wanted
from agents.models import ModelAnswer, ModelRequest
from agents.pricing import Price
from agents.receipts import Pen, StepKey
from agents.rehearsal import provider as rehearsal
from agents.rehearsal import server
from agents.rehearsal.script import Bill, Rule, Saying
from agents.rehearsal.wire import Asked
from agents.steps import Steps
from agents.wiring import Wiring
from ledger.chain import verify
from ledger.items import ItemStatus, Receipt
from ledger.journal import GroupCommit
from ledger.postgres import PostgresStore, create_pool
from ledger.rows import Step, ThreadInfo
from ledger.vocabulary import StepStatus
from tests.support.postgres import Database
from tests.support.records import MINUTE, Hands, intent

AGENTS = 64
ALLOWED = 10
OVERBILLING = Decimal("1.5")
"""What the provider bills at most, as a multiple of the tokens that were counted locally."""

OVERRUN = OVERBILLING / MARGIN - 1
"""The one margin: a reservation covers `MARGIN` times the local count, so each call can exceed its own by this share. All
reservations together never exceed the limit, hence neither can all overruns together exceed this share of it."""

MODEL = "openai/dear"
RATE = Decimal("0.00001")
REQUEST = ModelRequest(purpose="test", messages=({"role": "user", "content": "hello"},), max_tokens=400)


class Killed(Exception):
    """The worker died while the provider answered."""


class Overbiller(rehearsal.Provider):
    """Bills from 0.7 to 1.5 times the local count, by the number of the call and the seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._dice = random.Random(seed)
        self.factors: list[float] = []

    def rule_for(self, asked: Asked) -> Rule:
        self.factors.append(self._dice.choice([0.7, 0.9, 1.2, float(OVERBILLING)]))
        return Rule(say=Saying(text="hello"), bill=Bill(of_estimate=self.factors[-1]), first_byte_s=0.02)


@contextmanager
def overbilling(seed: int) -> Iterator[tuple[Overbiller, str]]:
    seen = Overbiller(seed)
    with server.serving(seen) as url:
        yield seen, f"{url}/v1"


@dataclass(frozen=True)
class Keys:
    url: str

    async def access(self, wanted: Wanted) -> Access:
        return Access("sk-test", self.url)

    def refused(self) -> None:
        raise AssertionError("the key is good")


class Free:
    """Guard and observer of a run that nobody stops or watches."""

    def check(self) -> None: ...
    def holds(self) -> bool:
        return True

    def begins(self, key: StepKey) -> None: ...
    def ended(self, receipt: Receipt) -> None: ...


@dataclass
class Crowd:
    """All agents of one project over one record and one gateway; `victims` die with their first answer on the way."""

    store: PostgresStore
    gateway: Gateway
    scope: str
    shared: bool
    victims: frozenset[int] = frozenset()
    turns: int = 3
    refusals: list[str] = field(default_factory=list)

    def info(self, number: int) -> ThreadInfo:
        task = "t" if self.shared else f"t{number}"
        return ThreadInfo(
            thread=f"p/s1/{task}/engineer-{number}", project="p", sprint=1, task=task, role="engineer",
            agent=f"p.engineer.{number}", budget_scope=f"p/s1/{task}", prompt_version="v1",
        )  # fmt: skip

    async def work(self, number: int) -> None:
        info = self.info(number)
        lease = await self.store.acquire_lease(info, f"w{number}", MINUTE)
        journal = GroupCommit(self.store)

        async def nothing(_commit: str | None) -> None: ...

        steps = Steps(
            await self.store.steps(info.thread),
            Wiring(
                pen=Pen(info, lease, lease.holder), submit=journal.submit_all, record=self.store.record, guard=Free(),
                observer=Free(), before_first_real=nothing,
            ),
        )  # fmt: skip

        async def ask() -> ModelAnswer:
            answer = await self.gateway.complete(REQUEST, (MODEL,))
            if number in self.victims:
                raise Killed
            return answer

        try:
            for ordinal in range(self.turns):
                await steps.model(ordinal, "change", REQUEST, lambda: self.gateway.bound(REQUEST, (MODEL,)), ask)
        except OverBudgetError as error:
            self.refusals.append(str(error))
        except Killed:
            return
        finally:
            await steps.flush()
            await journal.aclose()
        await self.store.release_lease(lease)


@pytest.mark.parametrize("shared", [True, False], ids=["one task", "a task each"])
@pytest.mark.parametrize("kills", [0, 4])
async def test_sixty_four_agents_on_a_budget_for_ten_calls(database: Database, shared: bool, kills: int) -> None:
    hands, pool = Hands(), create_pool(database.worker, max_size=8)
    await pool.open()
    store = PostgresStore(pool, hands)
    price = Price(RATE, RATE)
    with overbilling(seed=kills + shared) as (provider, url):
        gateway = Gateway(Keys(url), prices={MODEL: price})
        bound = gateway.bound(REQUEST, (MODEL,)).usd
        limit = bound * ALLOWED
        await store.open_budget("p", limit)
        crowd = Crowd(store, gateway, "p", shared, frozenset(range(kills)))
        for number in range(AGENTS):
            await store.open_budget(crowd.info(number).budget_scope, None)
        await asyncio.gather(*(crowd.work(number) for number in range(AGENTS)))
        await gateway.close()

    before = await store.budget("p")
    assert before.reserved_usd == bound * len(await _open(store, crowd))
    hands.move(MINUTE)
    await store.reconcile("p")

    budget, rows = await store.budget("p"), await store.usage("p")
    doubts = await store.in_doubt("p")
    entries = await store.entries("p", limit=10_000)
    violations = [entry.body for entry in entries if entry.kind == "budget_violated"]
    excess = sum((Decimal(body["cost_usd"]) - Decimal(body["bound_usd"]) for body in violations), Decimal(0))

    # Never more than the margin, and every excess is on the record.
    assert budget.reserved_usd == 0
    assert budget.spent_usd <= limit * (1 + OVERRUN)
    assert budget.spent_usd <= limit + excess
    assert violations, "nothing was billed above its bound: nothing was tested"
    assert verify(entries).ok
    # Record, usage and budget agree to the last digit, and with the provider's own count.
    calls = sum(row.calls for row in rows)
    assert budget.spent_usd == sum(row.cost_usd for row in rows)
    assert len(provider.factors) == calls + len(doubts)
    assert len(doubts) <= kills
    assert sum(factor > MARGIN for factor in provider.factors) - len(doubts) <= len(violations)
    assert len(violations) == sum(step.cost_usd > bound for step in await _steps(store, crowd))
    assert bool(doubts) == bool(kills)
    # Most agents were refused before anybody was asked, and what was violated lets nobody through.
    assert len(crowd.refusals) > AGENTS // 2
    for scope in {body["scope"] for body in violations}:
        number = 0 if shared else int(scope.rpartition("/t")[2])
        lease = await store.acquire_lease(crowd.info(number), "later", MINUTE)
        [blocked] = await store.apply([intent(lease, 99, "0.000000001")])
        assert (blocked.status, scope in (blocked.detail or "")) == (ItemStatus.BLOCKED, True)
    await store.close()


async def _steps(store: PostgresStore, crowd: Crowd) -> list[Step]:
    return [step for number in range(AGENTS) for step in await store.steps(crowd.info(number).thread)]


async def _open(store: PostgresStore, crowd: Crowd) -> list[Step]:
    return [step for step in await _steps(store, crowd) if step.status is StepStatus.RESERVED]


async def test_a_run_that_was_out_of_money_goes_on_where_it_stopped(database: Database) -> None:
    pool = create_pool(database.worker, max_size=2)
    await pool.open()
    store = PostgresStore(pool)
    with overbilling(seed=1) as (provider, url):
        gateway = Gateway(Keys(url), prices={MODEL: Price(RATE, RATE)})
        bound = gateway.bound(REQUEST, (MODEL,)).usd
        crowd = Crowd(store, gateway, "p", shared=True, turns=5)
        await store.open_budget("p", bound * 2)
        await store.open_budget("p/s1/t", None)
        await crowd.work(0)
        paid = len(provider.factors)
        assert 0 < paid < 5
        assert len(crowd.refusals) == 1
        while len(await store.steps(crowd.info(0).thread)) < 5:
            # What a person's approval of kind `budget` does.
            await store.raise_budget("p", (await store.budget("p")).spent_usd + bound * 2)
            await crowd.work(0)
        assert len(provider.factors) == 5
        assert (await store.budget("p")).reserved_usd == 0
        await gateway.close()
    await store.close()
