from __future__ import annotations

from decimal import Decimal

import pytest

from ledger.errors import LeaseLostError, LineageError
from ledger.items import ItemStatus
from ledger.rows import Lease
from ledger.store import Store
from ledger.vocabulary import StepKind, StepStatus
from tests.support.records import MINUTE, Hands, intent, message, receipt, thread


@pytest.fixture
async def lease(store: Store, project: str) -> Lease:
    """A run of five ordinals: an input, a model and its two tools, a model, a model that was asked and never heard."""
    await store.open_budget(project, Decimal("10"))
    await store.open_budget(f"{project}/s1/t", None)
    held = await store.acquire_lease(thread(project), "w1", MINUTE)
    await store.apply([
        receipt(held, 0, {"told": True}, kind=StepKind.INPUT),
        intent(held, 1), receipt(held, 1, "first"),
        receipt(held, 2, "a", kind=StepKind.TOOL).model_copy(update={"commit": "c1"}),
        receipt(held, 2, "b", kind=StepKind.TOOL, sub=1),
        intent(held, 3), receipt(held, 3, "second"),
        receipt(held, 4, "c", kind=StepKind.TOOL).model_copy(update={"commit": "c2"}),
        intent(held, 5),
    ])  # fmt: skip
    return held


def target(project: str) -> str:
    return thread(project, lineage="again").thread


async def test_a_fork_begins_with_the_steps_before_and_their_results(store: Store, project: str, lease: Lease) -> None:
    forked = await store.fork(lease.thread, target(project), 3)
    assert (forked.commit, forked.in_doubt, forked.told_again) == ("c1", 1, 0)
    copies = await store.steps(target(project))
    assert [(step.ordinal, step.sub, step.result) for step in copies] == [
        (0, 0, {"told": True}), (1, 0, "first"), (2, 0, "a"), (2, 1, "b"),
    ]  # fmt: skip
    assert {step.origin for step in copies} == {lease.thread}
    assert {step.thread for step in copies} == {target(project)}
    assert [step.request_digest for step in copies] == [
        step.request_digest for step in (await store.steps(lease.thread))[:4]
    ]


async def test_what_was_paid_before_stays_where_it_was_paid(store: Store, project: str, lease: Lease) -> None:
    spent = (await store.budget(project)).spent_usd
    await store.fork(lease.thread, target(project), 3)
    assert {step.cost_usd for step in await store.steps(target(project))} == {Decimal(0)}
    assert sum(row.calls for row in await store.usage(project)) == 2
    budget = await store.budget(project)
    # The call that nobody heard is charged at its bound, and nothing stays reserved.
    assert (budget.reserved_usd, budget.spent_usd) == (Decimal(0), spent + Decimal("0.10"))


async def test_the_old_run_keeps_its_journal_and_loses_its_lease(store: Store, project: str, lease: Lease) -> None:
    await store.fork(lease.thread, target(project), 3)
    assert len(await store.steps(lease.thread)) == 7
    with pytest.raises(LeaseLostError):
        await store.renew_lease(lease, MINUTE)
    [refused] = await store.apply([receipt(lease, 6, kind=StepKind.TOOL)])
    assert refused.status is ItemStatus.LOST_LEASE
    [late] = await store.apply([receipt(lease, 5, "late")])
    assert late.status is ItemStatus.LATE
    assert (await store.in_doubt(project)) == []


async def test_a_copied_step_is_served_and_a_later_one_is_done(store: Store, project: str, lease: Lease) -> None:
    await store.fork(lease.thread, target(project), 3)
    held = await store.acquire_lease(thread(project, lineage="again"), "w2", MINUTE)
    assert held.epoch == 1
    [served] = await store.apply([intent(held, 1)])
    assert served.status is ItemStatus.SERVED
    assert served.step is not None
    assert served.step.result == "first"
    [asked, answered] = await store.apply([intent(held, 3), receipt(held, 3, "another")])
    assert (asked.status, answered.status) == (ItemStatus.OK, ItemStatus.OK)
    [*_, last] = await store.steps(target(project))
    assert (last.result, last.origin, last.status) == ("another", None, StepStatus.DONE)


async def test_the_same_fork_again_changes_nothing(store: Store, project: str, lease: Lease) -> None:
    first = await store.fork(lease.thread, target(project), 3)
    held = await store.acquire_lease(thread(project, lineage="again"), "w2", MINUTE)
    await store.apply([receipt(held, 3, "d", kind=StepKind.TOOL).model_copy(update={"commit": "c3"})])
    again = await store.fork(lease.thread, target(project), 3)
    assert again.commit == first.commit
    assert len(await store.steps(target(project))) == 5
    await store.renew_lease(held, MINUTE)


async def test_a_fork_of_a_fork_names_the_thread_in_which_a_step_was_done(
    store: Store, project: str, lease: Lease
) -> None:
    await store.fork(lease.thread, target(project), 3)
    held = await store.acquire_lease(thread(project, lineage="again"), "w2", MINUTE)
    await store.apply([receipt(held, 3, "d", kind=StepKind.TOOL)])
    third = thread(project, lineage="third").thread
    await store.fork(target(project), third, 4)
    origins = [step.origin for step in await store.steps(third)]
    assert origins == [lease.thread] * 4 + [target(project)]


@pytest.mark.parametrize("step", [-1, 0, 6, 99])
async def test_a_step_that_has_no_result_before_it_is_refused(
    store: Store, project: str, lease: Lease, step: int
) -> None:
    with pytest.raises(LineageError, match="no step"):
        await store.fork(lease.thread, target(project), step)
    await store.renew_lease(lease, MINUTE)
    assert await store.steps(target(project)) == []


async def test_a_name_that_is_taken_and_a_run_that_is_not_there_are_refused(
    store: Store, project: str, lease: Lease
) -> None:
    await store.fork(lease.thread, target(project), 3)
    with pytest.raises(LineageError, match="exists already"):
        await store.fork(lease.thread, target(project), 2)
    with pytest.raises(LineageError, match="no run"):
        await store.fork(f"{lease.thread}-nobody", f"{target(project)}-x", 1)


async def test_messages_that_later_steps_read_are_unread_for_the_new_run(
    store: Store, project: str, lease: Lease, hands: Hands
) -> None:
    agent = thread(project).agent
    sent = [
        message(f"{project}-early", project=project, text="early"),
        message(f"{project}-late", project=project, text="late"),
        message(f"{project}-answer", project=project, text="yes").model_copy(
            update={"type": "RESPONSE", "correlation": f"{lease.thread}/2"}
        ),
        message(f"{project}-stale", project=project, text="no").model_copy(
            update={"type": "RESPONSE", "correlation": f"{lease.thread}/7"}
        ),
    ]
    await store.post(sent)
    read = [
        receipt(lease, 6, "x", kind=StepKind.INPUT, acknowledged=(sent[0].id,)),
        receipt(lease, 7, "x", kind=StepKind.INPUT, acknowledged=tuple(item.id for item in sent[1:])),
    ]
    await store.apply([receipt(lease, 5, "third"), *read])
    assert await store.inbox(project, agent) == []
    forked = await store.fork(lease.thread, target(project), 7)
    assert forked.told_again == 2  # the answer to a question that is not asked any more stays unheard
    assert [item.payload["text"] for item in await store.inbox(project, agent)] == ["late", "yes"]
    await store.fork(lease.thread, target(project), 7)
    assert len(await store.inbox(project, agent)) == 2


async def test_retiring_a_task_takes_the_leases_of_all_its_runs(store: Store, project: str, lease: Lease) -> None:
    other = await store.acquire_lease(thread(project, task="other"), "w2", MINUTE)
    assert await store.retire(project, 1, "t") == 1
    with pytest.raises(LeaseLostError):
        await store.renew_lease(lease, MINUTE)
    await store.renew_lease(other, MINUTE)
    assert (await store.budget(project)).reserved_usd == 0
    assert await store.retire(project, 1, "t") == 0
