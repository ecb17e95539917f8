from __future__ import annotations

from decimal import Decimal

import pytest

from ledger.chain import verify
from ledger.errors import UnknownScopeError
from ledger.items import ItemStatus, Start
from ledger.rows import CostBy, Lease, ThreadInfo
from ledger.store import Store
from ledger.vocabulary import StepStatus
from tests.support.records import MINUTE, intent, receipt, thread


@pytest.fixture
async def lease(store: Store, project: str) -> Lease:
    await store.open_budget(project, Decimal("1"))
    await store.open_budget(f"{project}/s1/t", Decimal("0.50"))
    return await store.acquire_lease(thread(project), "w1", MINUTE)


async def test_opening_a_scope_creates_its_ancestors_and_keeps_existing_limits(store: Store, project: str) -> None:
    made = await store.open_budget(f"{project}/s1/t", Decimal("2"))
    again = await store.open_budget(f"{project}/s1/t", Decimal("3"))
    assert made == again
    assert again.limit_usd == 2
    assert (await store.budget(f"{project}/s1")).limit_usd is None
    assert (await store.budget(project)).limit_usd is None


async def test_an_unknown_scope_is_an_error(store: Store, project: str) -> None:
    with pytest.raises(UnknownScopeError):
        await store.budget(project)
    with pytest.raises(UnknownScopeError):
        await store.raise_budget(project, Decimal(1))


async def test_a_reservation_without_a_budget_is_invalid(store: Store, project: str) -> None:
    lease = await store.acquire_lease(thread(project), "w1", MINUTE)
    [answer] = await store.apply([intent(lease, 0)])
    assert answer.status is ItemStatus.INVALID
    assert f"{project}/s1/t" in (answer.detail or "")


async def test_a_run_that_begins_opens_what_is_missing_of_its_scope(store: Store, project: str) -> None:
    await store.open_budget(project, Decimal(1))
    await store.open_budget(f"{project}/s2/t", Decimal("0.5"))
    started = await store.apply([start(thread(project)), start(thread(project, 2))])
    assert [answer.status for answer in started] == [ItemStatus.OK] * 2
    assert [budget.limit_usd for budget in await store.budget_path(f"{project}/s1/t")] == [Decimal(1), None, None]
    assert (await store.budget(f"{project}/s2/t")).limit_usd == Decimal("0.5")
    leases = [answer.started.lease for answer in started if answer.started]
    charged = await store.apply([intent(lease, 0) for lease in leases])
    assert [answer.status for answer in charged] == [ItemStatus.OK] * 2
    assert (await store.budget(project)).reserved_usd == Decimal("0.20")


async def test_a_run_of_a_project_without_a_budget_opens_none(store: Store, project: str) -> None:
    [answer] = await store.apply([start(thread(project))])
    assert answer.started is not None
    for scope in (project, f"{project}/s1", f"{project}/s1/t"):
        with pytest.raises(UnknownScopeError):
            await store.budget(scope)
    [refused] = await store.apply([intent(answer.started.lease, 0)])
    assert refused.status is ItemStatus.INVALID


def start(info: ThreadInfo) -> Start:
    return Start(info=info, holder="w", ttl=MINUTE)


async def test_reservation_and_settlement_stand_on_every_ancestor(store: Store, project: str, lease: Lease) -> None:
    scopes = [project, f"{project}/s1", f"{project}/s1/t"]
    await store.apply([intent(lease, 0, "0.10"), intent(lease, 1, "0.20")])
    assert {(await store.budget(scope)).reserved_usd for scope in scopes} == {Decimal("0.30")}
    await store.apply([receipt(lease, 0, cost="0.01")])
    for scope in scopes:
        budget = await store.budget(scope)
        assert (budget.reserved_usd, budget.spent_usd, budget.violated) == (Decimal("0.20"), Decimal("0.01"), False)


async def test_the_limit_itself_may_be_used_up_and_no_more(store: Store, project: str, lease: Lease) -> None:
    fits, over = await store.apply([intent(lease, 0, "0.50"), intent(lease, 1, "0.000000001")])
    assert (fits.status, over.status) == (ItemStatus.OK, ItemStatus.OVER_BUDGET)
    assert over.detail == (f"budget {project}/s1/t: limit 0.5 USD, spent 0, reserved 0.5, asked for 0.000000001")
    assert len(await store.steps(lease.thread)) == 1


async def test_an_ancestor_limits_too(store: Store, project: str, lease: Lease) -> None:
    await store.open_budget(f"{project}/s1/u", None)
    other = await store.acquire_lease(thread(project, task="u"), "w2", MINUTE)
    fits, over = await store.apply([intent(other, 0, "0.80"), intent(lease, 0, "0.30")])
    assert (fits.status, over.status) == (ItemStatus.OK, ItemStatus.OVER_BUDGET)
    assert f"budget {project}:" in (over.detail or "")


async def test_a_bound_is_rounded_up_to_what_can_be_written(store: Store, project: str, lease: Lease) -> None:
    await store.apply([intent(lease, 0, "0.0000000001")])
    assert (await store.budget(project)).reserved_usd == Decimal("0.000000001")


async def test_a_bill_above_the_bound_is_recorded_and_blocks_what_follows(
    store: Store, project: str, lease: Lease
) -> None:
    await store.apply([intent(lease, 0, "0.10")])
    [settled] = await store.apply([receipt(lease, 0, cost="0.11")])
    assert settled.status is ItemStatus.OK
    [entry] = await store.entries(project)
    assert verify([entry]).ok
    assert entry.body == {
        "scope": f"{project}/s1/t",
        "thread": lease.thread,
        "ordinal": 0,
        "bound_usd": "0.1",
        "cost_usd": "0.11",
    }
    [blocked] = await store.apply([intent(lease, 1)])
    assert blocked.status is ItemStatus.BLOCKED
    assert f"{project}/s1/t" in (blocked.detail or "")
    budget = await store.budget(f"{project}/s1/t")
    assert (budget.spent_usd, budget.reserved_usd, budget.violated) == (Decimal("0.11"), 0, True)


async def test_a_violation_blocks_its_own_branch_of_the_tree(store: Store, project: str, lease: Lease) -> None:
    await store.open_budget(f"{project}/s1/u", None)
    other = await store.acquire_lease(thread(project, task="u"), "w2", MINUTE)
    answers = await store.apply([intent(lease, 0), receipt(lease, 0, cost="0.2"), intent(lease, 1), intent(other, 0)])
    assert [answer.status for answer in answers[2:]] == [ItemStatus.BLOCKED, ItemStatus.OK]


async def test_raising_a_budget_clears_the_violation(store: Store, project: str, lease: Lease) -> None:
    await store.apply([intent(lease, 0), receipt(lease, 0, cost="0.11")])
    raised = await store.raise_budget(f"{project}/s1/t", Decimal("0.9"))
    assert (raised.limit_usd, raised.violated) == (Decimal("0.9"), False)
    assert (await store.apply([intent(lease, 1)]))[0].status is ItemStatus.OK


async def test_usage_counts_answers_and_charges_doubt_at_its_bound(store: Store, project: str, lease: Lease) -> None:
    await store.apply(
        [
            intent(lease, 0),
            receipt(lease, 0),
            intent(lease, 1),
            receipt(lease, 1, cost="0.01"),
            intent(lease, 2, "0.07"),
        ]
    )
    await store.acquire_lease(thread(project), "w1", MINUTE)
    rows = {row.model: row for row in await store.usage(project)}
    assert set(rows) == {"m1", "unknown"}
    row, doubted = rows["m1"], rows["unknown"]
    assert (row.sprint, row.task, row.role, row.agent) == (1, "t", "engineer", f"{project}-engineer-1")
    assert (row.calls, row.prompt_tokens, row.completion_tokens, row.cost_usd) == (2, 200, 40, Decimal("0.05"))
    assert (doubted.calls, doubted.in_doubt, doubted.cost_usd) == (0, 1, Decimal("0.07"))


async def test_cost_is_summed_by_whatever_is_asked_for(store: Store, project: str, lease: Lease) -> None:
    await store.open_budget(f"{project}/s2/u", None)
    other = await store.acquire_lease(thread(project, 2, "u"), "w2", MINUTE)
    await store.apply(
        [
            intent(lease, 0),
            receipt(lease, 0),
            intent(lease, 1),
            receipt(lease, 1, cost="0", status=StepStatus.FAILED),
            intent(other, 0, "0.07"),
        ]
    )
    await store.acquire_lease(thread(project, 2, "u"), "w2", MINUTE)
    found = {
        by: [(row.name, row.calls, row.in_doubt, str(row.cost_usd)) for row in await store.cost(project, by)]
        for by in CostBy
    }
    agent = f"{project}-engineer-1"
    assert found == {
        CostBy.AGENT: [(agent, 1, 1, "0.11")],
        CostBy.ROLE: [("engineer", 1, 1, "0.11")],
        CostBy.MODEL: [("m1", 1, 0, "0.04"), ("unknown", 0, 1, "0.07")],
        CostBy.SPRINT: [("s1", 1, 0, "0.04"), ("s2", 0, 1, "0.07")],
        CostBy.DAY: [("2026-01-02", 1, 1, "0.11")],
        CostBy.TASK: [("s1/t", 1, 0, "0.04"), ("s2/u", 0, 1, "0.07")],
    }
    [row] = await store.cost(project, CostBy.ROLE)
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens, row.reasoning_tokens) == (100, 20, 0, 0)


async def test_amounts_are_read_without_trailing_zeros(store: Store, project: str) -> None:
    await store.open_budget(f"{project}/x", None)
    budget = await store.budget(f"{project}/x")
    assert (str(budget.spent_usd), str(budget.reserved_usd)) == ("0", "0")


async def test_a_raised_project_lets_a_task_go_on_that_a_violation_had_blocked(
    store: Store, project: str, lease: Lease
) -> None:
    await store.apply([intent(lease, 0), receipt(lease, 0, cost="0.11")])
    await store.raise_budget(project, Decimal("2"))
    assert not (await store.budget(f"{project}/s1/t")).violated
    assert (await store.apply([intent(lease, 1)]))[0].status is ItemStatus.OK


async def test_four_fifths_spent_are_noted_once_for_each_scope_and_limit(
    store: Store, project: str, lease: Lease
) -> None:
    async def notices() -> list[tuple[str, str]]:
        entries = await store.entries(project)
        assert verify(entries).ok
        return [(entry.body["scope"], entry.body["limit_usd"]) for entry in entries if entry.kind == "budget_low"]

    task = f"{project}/s1/t"
    await store.apply([intent(lease, 0, "0.40"), receipt(lease, 0, cost="0.39")])
    assert await notices() == []
    await store.apply([intent(lease, 1, "0.05"), receipt(lease, 1, cost="0.01")])
    assert await notices() == [(task, "0.5")]
    await store.apply([intent(lease, 2, "0.05"), receipt(lease, 2, cost="0.05")])
    assert await notices() == [(task, "0.5")]
    await store.raise_budget(task, Decimal("0.8"))
    await store.apply([intent(lease, 3, "0.35"), receipt(lease, 3, cost="0.35")])
    assert await notices() == [(task, "0.5"), (project, "1"), (task, "0.8")]


async def test_doubt_counts_as_spent_until_the_late_answer_says_what_it_was(
    store: Store, project: str, lease: Lease
) -> None:
    await store.apply([intent(lease, 0, "0.30")])
    await store.acquire_lease(thread(project), "w1", MINUTE)
    doubted = await store.budget(project)
    assert (doubted.reserved_usd, doubted.spent_usd) == (0, Decimal("0.30"))
    await store.apply([receipt(lease, 0, cost="0.02")])
    settled = await store.budget(project)
    assert (settled.reserved_usd, settled.spent_usd) == (0, Decimal("0.02"))
    assert settled.spent_usd == sum(row.cost_usd for row in await store.usage(project))
