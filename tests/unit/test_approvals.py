"""Requests and decisions: bound to a digest, counted once, expiring, refused with a reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.vocabulary import Answer, ApprovalKind
from workflows.approval_models import ApprovalView, Decision
from workflows.approvals import ApprovalBook

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TTL = timedelta(hours=1)


def opened(book: ApprovalBook, kind: ApprovalKind = ApprovalKind.PLAN, **subject: Any) -> ApprovalView:
    return book.request(kind, subject or {"plan": "x"}, summary="s", on_approve="a", on_reject="r", now=NOW, ttl=TTL)


def decided(view: ApprovalView, decision: Answer = Answer.APPROVE, **more: Any) -> Decision:
    return Decision(approval=view.id, decision=decision, by="pat", **more)


@pytest.fixture
def book() -> ApprovalBook:
    return ApprovalBook("project/p", "p.")


def test_ids_name_the_workflow_the_kind_and_the_number(book: ApprovalBook) -> None:
    views = [opened(book), opened(book), opened(book, ApprovalKind.BUDGET)]
    assert [view.id for view in views] == ["p.plan-1", "p.plan-2", "p.budget-1"]


def test_the_digest_is_of_what_is_shown_whatever_the_order_of_keys(book: ApprovalBook) -> None:
    first = opened(book, a=1, b=[2])
    assert first.digest == opened(book, b=[2], a=1).digest
    assert first.digest != opened(book, a=1, b=[3]).digest


def test_a_decision_settles_its_request_and_says_who(book: ApprovalBook) -> None:
    view = opened(book)
    ruling = book.decide(decided(view, digest=view.digest, comment="fine"), NOW)
    assert ruling.accepted
    (settled,) = book.decided
    assert (settled.state, settled.decided_by, settled.comment) == ("approved", "pat", "fine")
    assert book.open == ()
    assert book.decision(view.id) == decided(view, digest=view.digest, comment="fine")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"digest": "0" * 64}, "what was shown has changed"),
        ({"approval": "p.plan-7"}, "there is no approval 'p.plan-7'"),
        ({"decision": Answer.REVISE}, "revise needs a comment"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_request_stays_open(
    book: ApprovalBook, change: dict[str, Any], reason: str
) -> None:
    view = opened(book)
    ruling = book.decide(decided(view).model_copy(update=change), NOW)
    assert reason in (ruling.answer.refusal or "")
    assert book.open == (view,)


def test_an_unknown_id_is_answered_with_those_that_are_open(book: ApprovalBook) -> None:
    view = opened(book)
    ruling = book.decide(decided(view).model_copy(update={"approval": "nope"}), NOW)
    assert "open: p.plan-1" in (ruling.answer.refusal or "")


def test_a_decision_counts_once(book: ApprovalBook) -> None:
    view = opened(book)
    assert book.decide(decided(view), NOW).accepted
    assert "approved already" in (book.decide(decided(view, Answer.REJECT), NOW).answer.refusal or "")
    assert book.answered == 1


def test_the_same_decision_id_is_the_first_one_again_also_when_it_was_refused(book: ApprovalBook) -> None:
    view = opened(book)
    refused = book.decide(decided(view, digest="0" * 64, id="d"), NOW)
    again = book.decide(decided(view, digest="0" * 64, id="d"), NOW)
    assert again.answer == refused.answer
    assert not again.first
    assert book.open == (view,)


def test_a_decision_id_is_not_taken_twice_for_different_decisions(book: ApprovalBook) -> None:
    view = opened(book)
    assert not book.decide(decided(view, digest="0" * 64, id="d"), NOW).accepted
    other = book.decide(decided(view, id="d"), NOW)
    assert "was used for another decision" in (other.answer.refusal or "")
    assert other.first
    assert book.decide(decided(view, id="e"), NOW).accepted


def test_a_late_decision_is_refused(book: ApprovalBook) -> None:
    view = opened(book)
    assert "expired" in (book.decide(decided(view), NOW + TTL).answer.refusal or "")
    assert book.decide(decided(view), NOW + TTL - timedelta(seconds=1)).accepted


def test_an_expired_or_withdrawn_request_takes_no_decision(book: ApprovalBook) -> None:
    view, other = opened(book), opened(book)
    book.expire(view.id)
    book.withdraw()
    assert [one.state for one in book.decided] == ["expired", "expired"]
    assert not book.decide(decided(view), NOW).accepted
    assert book.settled(other.id)
    assert book.decision(other.id) is None


def test_expiry_never_undoes_a_decision(book: ApprovalBook) -> None:
    view = opened(book)
    book.decide(decided(view), NOW)
    assert book.expire(view.id).state == "approved"


@pytest.mark.parametrize(
    ("more", "accepted"),
    [
        ({}, False),
        ({"budget_usd": Decimal(5)}, False),
        ({"budget_usd": Decimal("5.01")}, True),
        ({"decision": Answer.REJECT}, True),
        ({"decision": Answer.REVISE, "comment": "less"}, False),
    ],
)
def test_a_budget_is_approved_only_with_a_higher_limit(
    book: ApprovalBook, more: dict[str, Any], accepted: bool
) -> None:
    view = opened(book, ApprovalKind.BUDGET, limit_usd="5")
    assert book.decide(decided(view).model_copy(update=more), NOW).accepted is accepted


@pytest.mark.parametrize(
    ("met", "more", "accepted"),
    [
        ("tokens", {"budget_usd": Decimal(9)}, "the limit of 1000 tokens was met"),
        ("tokens", {"budget_tokens": 1000}, "more than the present limit of 1000"),
        ("tokens", {"budget_tokens": 1001}, None),
        ("tokens", {"budget_tokens": 1001, "budget_usd": Decimal(4)}, "more than the present limit of 5"),
        ("usd", {"budget_tokens": 1001}, "needs budget_usd"),
        ("usd", {"budget_tokens": 1001, "budget_usd": Decimal(9)}, None),
        (None, {}, "needs budget_usd"),
        (None, {"budget_tokens": 1001}, None),
        (None, {"budget_usd": Decimal(9)}, None),
    ],
)
def test_the_limit_that_was_met_must_be_raised_and_none_lowered(
    book: ApprovalBook, met: str | None, more: dict[str, Any], accepted: str | None
) -> None:
    view = opened(book, ApprovalKind.BUDGET, limit_usd="5", limit_tokens=1000, exceeded=met)
    answer = book.decide(decided(view).model_copy(update=more), NOW).answer
    assert (answer.refusal is None) if accepted is None else (accepted in (answer.refusal or ""))


def test_tokens_alone_raise_no_budget_that_limits_none(book: ApprovalBook) -> None:
    view = opened(book, ApprovalKind.BUDGET, limit_usd="5")
    assert not book.decide(decided(view).model_copy(update={"budget_tokens": 9}), NOW).accepted


DECISIONS = st.builds(
    Decision,
    approval=st.sampled_from(["p.plan-1", "p.plan-2", "p.budget-1", "p.plan-9"]),
    decision=st.sampled_from(Answer),
    by=st.just("pat"),
    digest=st.sampled_from([None, "0" * 64]),
    comment=st.sampled_from(["", "words"]),
    id=st.sampled_from([None, "a", "b"]),
    budget_usd=st.sampled_from([None, Decimal(1), Decimal(9)]),
    budget_tokens=st.sampled_from([None, 1, 9000]),
)


@given(st.lists(st.tuples(DECISIONS, st.integers(0, 7200)), max_size=12))
def test_whatever_is_decided_no_request_is_settled_twice_and_nothing_raises(
    decisions: list[tuple[Decision, int]],
) -> None:
    book = ApprovalBook("project/p", "p.")
    for kind in (ApprovalKind.PLAN, ApprovalKind.PLAN, ApprovalKind.BUDGET):
        opened(book, kind, limit_usd="5")
    accepted: list[str] = []
    for decision, seconds in decisions:
        ruling = book.decide(decision, NOW + timedelta(seconds=seconds))
        assert (ruling.answer.effect is None) != (ruling.answer.refusal is None)
        if ruling.accepted and ruling.first:
            accepted.append(decision.approval)
    assert len(accepted) == len(set(accepted)) == book.answered
    assert len(book.open) + len(book.decided) == 3
