"""Whatever is asked, answered, lost, answered late or raised: the tree adds up, and limits hold but for recorded violations."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.items import ItemResult, ItemStatus
from ledger.rows import Budget, Lease, ThreadInfo
from ledger.store import Store
from ledger.vocabulary import StepStatus, Usage
from tests.support.records import MINUTE, intent, receipt, thread

Sum = tuple[Decimal, int]
NOTHING: Sum = (Decimal(0), 0)

LIMITS = {"": ("1", 1000), "/s1": ("0.7", 900), "/s1/t": (None, 500), "/s2": (None, None), "/s2/t": ("0.3", None)}
"""Dollars and tokens by scope below the project."""
PLACES = ["", "/s1/t", "/s1/u", "/s2/t", "/s1/t/run"]
"""Where runs are charged: a planner on the project itself, tasks, and a sub-run below a task."""


def plus(*sums: Sum) -> Sum:
    return sum((usd for usd, _ in sums), Decimal(0)), sum(count for _, count in sums)


@dataclass
class Call:
    """A call as the test knows it; `charged` is what it should stand for on the tree."""

    place: str
    lease: Lease
    ordinal: int
    bound: Sum
    state: StepStatus = StepStatus.RESERVED
    billed: Sum = NOTHING

    @property
    def reserved(self) -> Sum:
        return self.bound if self.state is StepStatus.RESERVED else NOTHING

    @property
    def spent(self) -> Sum:
        return self.bound if self.state is StepStatus.IN_DOUBT else self.billed


@dataclass
class House:
    """Runs at work on one project, and what they should amount to."""

    store: Store
    project: str
    leases: dict[str, Lease] = field(default_factory=dict[str, Lease])
    calls: list[Call] = field(default_factory=list[Call])

    def info(self, place: str) -> ThreadInfo:
        plain = thread(self.project, lineage=place.strip("/").replace("/", "-") or "planner")
        return plain.model_copy(update={"budget_scope": f"{self.project}{place}"})

    async def open(self) -> None:
        for place, (usd, count) in LIMITS.items():
            await self.store.open_budget(f"{self.project}{place}", None if usd is None else Decimal(usd), count)
        for place in PLACES:
            await self.store.open_budget(f"{self.project}{place}", None)
            await self.take_over(place)

    async def take_over(self, place: str) -> None:
        """Another attempt of a run: what the one before has asked and not been answered is in doubt."""
        self.leases[place] = await self.store.acquire_lease(self.info(place), "w1", MINUTE)
        for call in self.calls:
            if call.place == place and call.state is StepStatus.RESERVED:
                call.state = StepStatus.IN_DOUBT

    async def ask(self, place: str, usd: int, count: int) -> None:
        call = Call(place, self.leases[place], len(self.calls), (Decimal(usd) / 100, count))
        [answer] = await self.store.apply([intent(call.lease, call.ordinal, str(call.bound[0]), tokens=count)])
        self.check_admission(answer, place, await self.path(place), call.bound)
        if answer.status is ItemStatus.OK:
            self.calls.append(call)

    async def path(self, place: str) -> list[Budget]:
        parts = f"{self.project}{place}".split("/")
        return [await self.store.budget("/".join(parts[: n + 1])) for n in range(len(parts))]

    def check_admission(self, answer: ItemResult, place: str, path: Sequence[Budget], bound: Sum) -> None:
        if answer.status is ItemStatus.OK:
            assert not any(node.violated for node in path), place
            assert all(within(node) for node in path), place
        elif answer.status is ItemStatus.BLOCKED:
            assert any(node.violated for node in path), place
        else:
            assert answer.status is ItemStatus.OVER_BUDGET
            assert not all(within(node, bound) for node in path), place

    async def answer(self, which: int, share: int, *, failed: bool) -> None:
        """The answer to a call, in time or late, billed by a share of its bound; one that failed is not billed."""
        waiting = [call for call in self.calls if call.state in (StepStatus.RESERVED, StepStatus.IN_DOUBT)]
        if not waiting:
            return
        call = waiting[which % len(waiting)]
        bill: Sum = NOTHING if failed else (call.bound[0] * share / 100, call.bound[1] * share // 100)
        usage = None if failed else Usage(prompt_tokens=bill[1] // 2, completion_tokens=bill[1] - bill[1] // 2)
        call.billed, call.state = bill, StepStatus.FAILED if failed else StepStatus.DONE
        answered = receipt(call.lease, call.ordinal, cost=str(bill[0]), usage=usage, status=call.state)
        [told] = await self.store.apply([answered])
        assert told.status in (ItemStatus.OK, ItemStatus.LATE)

    async def raise_limits(self, place: str, more: int) -> None:
        budget = await self.store.budget(f"{self.project}{place}")
        usd = None if budget.limit_usd is None else budget.limit_usd + Decimal(more) / 100
        count = None if budget.limit_tokens is None else budget.limit_tokens + more
        await self.store.raise_budget(budget.scope, usd, count)

    async def check(self) -> None:
        """Every node holds its own and its children's, no more than its limit but for what is on the record."""
        violations = [entry.body for entry in await self.store.entries(self.project) if entry.kind == "budget_violated"]
        for place in {*LIMITS, *PLACES}:
            budget = await self.store.budget(f"{self.project}{place}")
            below = [call for call in self.calls if call.place == place or call.place.startswith(f"{place}/")]
            assert (budget.reserved_usd, budget.reserved_tokens) == plus(*(call.reserved for call in below)), place
            assert (budget.spent_usd, budget.spent_tokens) == plus(*(call.spent for call in below)), place
            inside = [body for body in violations if f"{body['scope']}/".startswith(f"{budget.scope}/")]
            assert within(budget, margin=plus(*map(excess, inside))), place


def within(node: Budget, asked: Sum = NOTHING, *, margin: Sum = NOTHING) -> bool:
    usd, count = node.spent_usd + node.reserved_usd + asked[0], node.spent_tokens + node.reserved_tokens + asked[1]
    return (node.limit_usd is None or usd <= node.limit_usd + margin[0]) and (
        node.limit_tokens is None or count <= node.limit_tokens + margin[1]
    )


def excess(body: dict) -> Sum:
    usd = Decimal(body["cost_usd"]) - Decimal(body["bound_usd"])
    return max(usd, Decimal(0)), max(body.get("tokens", 0) - body.get("bound_tokens", 0), 0)


PLACE = st.sampled_from(PLACES)
DOINGS = st.one_of(
    st.tuples(st.just("ask"), PLACE, st.integers(0, 30), st.integers(0, 400)),
    st.tuples(st.just("ask"), PLACE, st.integers(0, 30), st.integers(0, 400)),
    st.tuples(st.just("answer"), st.integers(0, 9), st.integers(0, 100)),
    st.tuples(st.just("overcharge"), st.integers(0, 9), st.integers(101, 150)),
    st.tuples(st.just("fail"), st.integers(0, 9)),
    st.tuples(st.just("take over"), PLACE),
    st.tuples(st.just("raise"), st.sampled_from(sorted(LIMITS)), st.integers(1, 300)),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(doings=st.lists(DOINGS, min_size=5, max_size=40))
async def test_the_tree_adds_up_and_limits_hold(store: Store, doings: list[tuple]) -> None:
    house = House(store, f"p-{secrets.token_hex(6)}")
    await house.open()
    for what, *how in doings:
        match what:
            case "ask":
                await house.ask(*how)
            case "answer" | "overcharge":
                await house.answer(*how, failed=False)
            case "fail":
                await house.answer(how[0], 0, failed=True)
            case "take over":
                await house.take_over(how[0])
            case _:
                await house.raise_limits(*how)
        await house.check()
    for place in PLACES:
        await house.take_over(place)
    await house.check()
    assert all(node.reserved_tokens == node.reserved_usd == 0 for node in await house.path("/s1/t/run"))
