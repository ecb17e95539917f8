"""Tokens on the budget tree: what holds for dollars holds for them, and either limit refuses."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ledger.chain import verify
from ledger.items import Intent, ItemStatus
from ledger.rows import Budget, Lease
from ledger.store import Store
from ledger.vocabulary import Exceeded, StepStatus, Usage
from tests.support.records import MINUTE, Hands, intent, receipt, thread


@pytest.fixture
async def lease(store: Store, project: str) -> Lease:
    await store.open_budget(project, Decimal("9"), 1000)
    await store.open_budget(f"{project}/s1/t", None)
    return await store.acquire_lease(thread(project), "w1", MINUTE)


def asked(lease: Lease, ordinal: int, tokens: int, bound: str = "0.10") -> Intent:
    return intent(lease, ordinal, bound, tokens=tokens)


def tokens(budget: Budget) -> tuple[int | None, int, int]:
    return budget.limit_tokens, budget.reserved_tokens, budget.spent_tokens


async def test_tokens_are_reserved_and_settled_on_every_ancestor(store: Store, project: str, lease: Lease) -> None:
    await store.apply([asked(lease, 0, 300), asked(lease, 1, 200)])
    assert [tokens(await store.budget(scope)) for scope in (project, f"{project}/s1", f"{project}/s1/t")] == [
        (1000, 500, 0),
        (None, 500, 0),
        (None, 500, 0),
    ]
    reasoned = Usage(prompt_tokens=100, completion_tokens=60, cached_tokens=80, reasoning_tokens=50)
    await store.apply([receipt(lease, 0, usage=reasoned)])
    assert tokens(await store.budget(project)) == (1000, 200, 160)


async def test_either_limit_refuses_and_says_which_it_was(store: Store, project: str, lease: Lease) -> None:
    await store.apply([asked(lease, 0, 600), receipt(lease, 0)])
    fits, many, dear = await store.apply([asked(lease, 1, 800), asked(lease, 2, 200), asked(lease, 3, 10, bound="9")])
    assert [answer.status for answer in (fits, many, dear)] == [ItemStatus.OK, *[ItemStatus.OVER_BUDGET] * 2]
    assert many.detail == f"budget {project}: limit 1000 tokens, spent 120, reserved 800, asked for 200"
    assert dear.detail == f"budget {project}: limit 9 USD, spent 0.04, reserved 0.1, asked for 9"
    assert (fits.exceeded, many.exceeded, dear.exceeded) == (None, Exceeded.TOKENS, Exceeded.USD)


async def test_the_limit_of_tokens_may_be_used_up(store: Store, project: str, lease: Lease) -> None:
    fits, over = await store.apply([asked(lease, 0, 1000), asked(lease, 1, 1)])
    assert (fits.status, over.status) == (ItemStatus.OK, ItemStatus.OVER_BUDGET)


async def test_what_bills_no_tokens_needs_no_room(store: Store, project: str, lease: Lease) -> None:
    free = [asked(lease, 1, 0, bound="0"), receipt(lease, 1, cost="0", usage=Usage())]
    answers = await store.apply([asked(lease, 0, 1000), *free])
    assert {answer.status for answer in answers} == {ItemStatus.OK}


async def test_a_failed_call_gives_its_tokens_back(store: Store, project: str, lease: Lease) -> None:
    failed = receipt(lease, 0, None, cost="0", usage=None, status=StepStatus.FAILED)
    await store.apply([asked(lease, 0, 1000), failed])
    assert tokens(await store.budget(project)) == (1000, 0, 0)


async def test_doubt_stays_charged_at_the_bound_until_the_late_answer(store: Store, project: str, lease: Lease) -> None:
    await store.apply([asked(lease, 0, 700)])
    await store.acquire_lease(thread(project), "w1", MINUTE)
    assert tokens(await store.budget(project)) == (1000, 0, 700)
    [late] = await store.apply([receipt(lease, 0)])
    assert late.status is ItemStatus.LATE
    assert tokens(await store.budget(project)) == (1000, 0, 120)


async def test_another_reservation_of_the_same_step_charges_the_first(store: Store, project: str, lease: Lease) -> None:
    again = await store.apply([asked(lease, 0, 300), asked(lease, 0, 300), asked(lease, 0, 301)])
    assert {answer.status for answer in again} == {ItemStatus.OK}
    assert tokens(await store.budget(project)) == (1000, 301, 300)


async def test_reconciling_ends_reservations_of_tokens(store: Store, project: str, lease: Lease, hands: Hands) -> None:
    await store.apply([asked(lease, 0, 700)])
    hands.move(2 * MINUTE)
    assert await store.reconcile(project) == 1
    assert tokens(await store.budget(project)) == (1000, 0, 700)


async def test_more_tokens_than_reserved_are_a_violation_that_blocks(store: Store, project: str, lease: Lease) -> None:
    *_, blocked = await store.apply([asked(lease, 0, 100), receipt(lease, 0), asked(lease, 1, 10)])
    [entry] = await store.entries(project)
    assert verify([entry]).ok
    assert entry.body == {
        "scope": f"{project}/s1/t",
        "thread": lease.thread,
        "ordinal": 0,
        "bound_usd": "0.1",
        "cost_usd": "0.04",
        "bound_tokens": 100,
        "tokens": 120,
    }
    assert blocked.status is ItemStatus.BLOCKED
    await store.raise_budget(project, None, 2000)
    assert (await store.apply([asked(lease, 1, 10)]))[0].status is ItemStatus.OK


async def test_without_a_limit_of_tokens_their_number_blocks_nothing(store: Store, project: str) -> None:
    await store.open_budget(f"{project}/s1/t", Decimal(1))
    lease = await store.acquire_lease(thread(project), "w1", MINUTE)
    answers = await store.apply([asked(lease, 0, 1), receipt(lease, 0), asked(lease, 1, 10**9)])
    assert {answer.status for answer in answers} == {ItemStatus.OK}
    assert await store.entries(project) == []
    assert tokens(await store.budget(project)) == (None, 10**9, 120)


async def test_four_fifths_of_the_tokens_are_noted_once(store: Store, project: str, lease: Lease) -> None:
    for ordinal in range(8):
        await store.apply([asked(lease, ordinal, 120), receipt(lease, ordinal)])
    entries = await store.entries(project)
    assert verify(entries).ok
    low = {"scope": project, "limit_tokens": 1000, "percent": 80}
    assert [(entry.kind, entry.body) for entry in entries] == [("budget_low", low)]


@pytest.mark.parametrize(
    ("usd", "more", "left"), [(None, 3000, ("9", 3000)), ("20", None, ("20", 1000)), ("20", 3000, ("20", 3000))]
)
async def test_raising_one_limit_keeps_the_other(
    store: Store, project: str, lease: Lease, usd: str | None, more: int | None, left: tuple[str, int]
) -> None:
    raised = await store.raise_budget(project, None if usd is None else Decimal(usd), more)
    assert (raised.limit_usd, raised.limit_tokens) == (Decimal(left[0]), left[1])
    assert await store.budget(project) == raised


async def test_a_bound_that_is_no_number_of_tokens_is_invalid(store: Store, project: str, lease: Lease) -> None:
    answers = await store.apply([asked(lease, 0, -1), asked(lease, 1, 10**15)])
    assert [answer.status for answer in answers] == [ItemStatus.INVALID] * 2
