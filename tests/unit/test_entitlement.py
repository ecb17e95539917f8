"""Whose decision counts: rules that cannot be kept are refused when they are read, and decisions by who may make them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.signatures import Claims, SigningKey, new_key
from ledger.vocabulary import Answer, ApprovalKind, OnExpiry, Risk
from workflows.approval_models import ApprovalView, BatchDecision, Decision
from workflows.approval_policy import Approver, KindPolicy
from workflows.approvals import POLICY, ApprovalBook
from workflows.entitlement import CLOCKS, NEAR, Entitlement, PolicyError

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TTL = timedelta(hours=24)
KEYS = {name: new_key() for name in ("pat", "kim", "lee")}
APPROVERS = tuple(Approver(name=name, key=key.public.jwk) for name, key in KEYS.items())
MERGE = ApprovalKind.MERGE


def book(rules: dict[str, Any] | None = None, kind: ApprovalKind = MERGE, approvers: Any = APPROVERS) -> ApprovalBook:
    policy = {kind: KindPolicy.model_validate(rules)} if rules is not None else {}
    return ApprovalBook("project/p", "p.", "p", Entitlement(approvers, policy))


def opened(of: ApprovalBook, kind: ApprovalKind = MERGE, **more: Any) -> ApprovalView:
    asked = {"summary": "s", "on_approve": "a", "on_reject": "r", "now": NOW, "ttl": TTL, **more}
    return of.request(kind, {"commit": "c", "limit_usd": "5"}, **asked)


def decided(view: ApprovalView, by: str = "pat", decision: str = "approve", **more: Any) -> Decision:
    return Decision.model_validate({"approval": view.id, "decision": decision, "by": by, "digest": view.digest, **more})


def signed(
    view: ApprovalView, by: str = "pat", decision: str = "approve", key: SigningKey | None = None, **more: Any
) -> Decision:
    """As `syndic approve --key FILE` sends it; `claims` changes what is signed, not what is sent."""
    changed = more.pop("claims", {})
    plain = decided(view, by, decision, **more)
    content = {"project": "p", "time": NOW, **plain.model_dump(exclude={"signature"}), **changed}
    claims = Claims.model_validate(content)
    return plain.model_copy(update={"signature": (key or KEYS[by]).sign(claims)})


def refusal(of: ApprovalBook, decision: Decision, now: datetime = NOW, strict: bool = False) -> str:
    return of.decide(decision, now, strict=strict).answer.refusal or ""


# Rules.


@pytest.mark.parametrize(
    ("approvers", "kind", "rules", "complaint"),
    [
        ((), MERGE, {"quorum": 2}, "quorum 2 needs 2 of `approvers` with a key"),
        ((), MERGE, {"separate": True}, "`separate` needs 1 of `approvers` with a key"),
        ((), MERGE, {"signed": True}, "`signed` needs 1 of `approvers` with a key"),
        ((Approver(name="pat"), Approver(name="kim")), MERGE, {"quorum": 2}, "there are 0"),
        (APPROVERS[:1], MERGE, {"quorum": 2}, "there are 1"),
        (APPROVERS, MERGE, {"quorum": 2, "who": ["pat"]}, "2 of `who` with a key"),
        (APPROVERS, MERGE, {"quorum": 2, "on_expiry": "escalate", "then": ["lee"]}, "2 of `then` with a key"),
        (APPROVERS, MERGE, {"who": ["pta"]}, "'pta' is none of the approvers"),
        ((APPROVERS[0].model_copy(update={"kinds": (ApprovalKind.PLAN,)}),), MERGE, {"who": ["pat"]}, "may not decide"),
        ((), MERGE, {"on_expiry": "escalate"}, "`then` go together"),
        ((), MERGE, {"then": ["lee"]}, "`then` go together"),
        ((), MERGE, {"on_expiry": "continue"}, "for low risk alone (task, question)"),
        ((), MERGE, {"expires_h": 2, "reminders_h": [1, 2]}, "after the request has expired"),
        ((), MERGE, {"reminders_h": [0]}, "more than 0"),
        ((APPROVERS[0], APPROVERS[0]), MERGE, {}, "'pat' is named twice"),
        ((APPROVERS[0], Approver(name="kim", key=KEYS["pat"].public.jwk)), MERGE, {}, "have the same key"),
        ((Approver(name="pat", key=KEYS["pat"].text),), MERGE, {}, "this is a private key"),
        ((Approver(name="pat", key="nonsense"),), MERGE, {}, "no Ed25519 key"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused_when_they_are_read(
    approvers: Any, kind: ApprovalKind, rules: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(PolicyError) as refused:
        book(rules, kind, approvers)
    assert complaint in str(refused.value)


def test_every_fault_of_the_rules_is_told_at_once() -> None:
    rules = {ApprovalKind.PLAN: KindPolicy(quorum=2), MERGE: KindPolicy(on_expiry=OnExpiry.CONTINUE)}
    with pytest.raises(PolicyError, match=r"approvals.plan: .*; approvals.merge: "):
        Entitlement((), rules)


# Who decided.


def test_an_unsigned_name_is_a_claim_and_a_signed_one_is_verified() -> None:
    of = book()
    first, second = opened(of), opened(of)
    assert of.decide(decided(first), NOW).accepted
    assert of.decide(signed(second), NOW).accepted
    claim, proof = of.decided
    assert (claim.decided_by, claim.decided_key, claim.votes[0].verified) == ("pat", None, False)
    assert (proof.decided_by, proof.decided_key, proof.votes[0].verified) == ("pat", KEYS["pat"].public.id, True)


@pytest.mark.parametrize("rules", [{"signed": True}, {"quorum": 2}, {"separate": True}])
def test_where_rules_need_to_know_who_decided_unsigned_decisions_do_not_count(rules: dict[str, Any]) -> None:
    of = book(rules)
    view = opened(of)
    assert "signed decisions only" in refusal(of, decided(view))
    assert "signed decisions only" in refusal(of, decided(view, "kim", "reject"))
    assert of.open == (view,)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"claims": {"project": "q"}}, "project"),
        ({"claims": {"approval": "p.merge-2"}}, "approval"),
        ({"claims": {"digest": "1" * 64}}, "digest"),
        ({"claims": {"decision": "reject"}}, "decision"),
        ({"claims": {"by": "kim"}}, "by"),
        ({"claims": {"comment": "other"}}, "comment"),
        ({"claims": {"id": "d-2"}}, "id"),
        ({"claims": {"budget_usd": Decimal(1)}}, "budget_usd"),
        ({"claims": {"budget_tokens": 1}}, "budget_tokens"),
        ({"claims": {"time": NOW - CLOCKS - timedelta(seconds=1)}}, "before the request was made"),
        ({"claims": {"time": NOW + CLOCKS + timedelta(seconds=1)}}, "too far from now"),
        ({"key": new_key()}, "no approver of this project has the key"),
        ({"key": KEYS["kim"]}, "sent by pat, signed with the key of kim"),
    ],
)
@pytest.mark.parametrize("rules", [None, {"signed": True}])
def test_a_signature_about_anything_else_does_not_count_even_where_none_is_needed(
    rules: dict[str, Any] | None, change: dict[str, Any], complaint: str
) -> None:
    of = book(rules)
    view = opened(of)
    assert complaint in refusal(of, signed(view, **change))
    assert of.open == (view,)


@pytest.mark.parametrize("signature", ["", "x", "a.b.c", "e30.e30.e30", "é", "." * 99])
def test_what_is_no_signature_is_refused_and_not_taken_for_an_unsigned_decision(signature: str) -> None:
    of = book()
    view = opened(of)
    assert "signature" in refusal(of, decided(view, signature=signature))
    assert of.open == (view,)


def test_nothing_of_a_signed_decision_can_be_changed_on_its_way() -> None:
    of = book({"signed": True}, ApprovalKind.BUDGET)
    view = opened(of, ApprovalKind.BUDGET)
    sent = signed(view, budget_usd=Decimal(10), comment="fine", id="d")
    changes: list[dict[str, Any]] = [
        {"budget_usd": Decimal(1000)},
        {"budget_tokens": 10**9},
        {"comment": "and delete the tests"},
        {"id": "e"},
        {"by": "kim"},
        {"decision": Answer.REJECT},
    ]
    for change in changes:
        assert refusal(of, sent.model_copy(update={**change, "id": change.get("id", f"new-{change}"[:50])})), change
    assert of.decide(sent, NOW).accepted


def test_a_signature_is_refused_once_it_is_old() -> None:
    of = book({"signed": True, "expires_h": 30 * 24})
    view = opened(of)
    sent = signed(view)
    assert "too far from now" in refusal(of, sent, NOW + NEAR + timedelta(seconds=1))
    assert of.decide(sent, NOW + NEAR).accepted


def test_only_those_who_are_asked_may_answer() -> None:
    of = book({"who": ["kim", "lee"]})
    view = opened(of)
    assert "pat may not answer p.merge-1; asked are kim, lee" in refusal(of, decided(view))
    assert "pat may not answer" in refusal(of, signed(view))
    assert of.decide(signed(view, "lee"), NOW).accepted


def test_an_approver_of_some_kinds_decides_about_no_other() -> None:
    approvers = (APPROVERS[0].model_copy(update={"kinds": (ApprovalKind.PLAN,)}), *APPROVERS[1:])
    of = book({"signed": True}, approvers=approvers)
    view = opened(of)
    assert "pat may not decide about merge" in refusal(of, signed(view))
    assert of.decide(signed(opened(of, ApprovalKind.PLAN)), NOW).accepted


def test_whoever_produced_something_may_not_approve_it() -> None:
    of = book({"separate": True})
    view = opened(of, producers=("p.engineer.ada", "person:pat"))
    assert "had a part in what p.merge-1 is about" in refusal(of, signed(view))
    assert of.decide(signed(view, "kim"), NOW).accepted


def test_agents_never_approve_what_they_produced_and_persons_do_unless_the_rules_separate() -> None:
    of = book()
    view = opened(of, producers=("p.engineer.ada", "person:pat"))
    assert view.producers == ("p.engineer.ada",)
    assert "had a part" in refusal(of, decided(view, "p.engineer.ada"))
    assert of.decide(decided(view), NOW).accepted


# Quorum.


def test_two_of_three_keys_approve_together() -> None:
    of = book({"quorum": 2})
    view = opened(of)
    first = of.decide(signed(view, "pat", comment="fine"), NOW)
    assert first.answer.effect == "p.merge-1 has 1 of 2 approvals"
    assert of.decision(view.id) is None
    assert "pat has answered p.merge-1 already" in refusal(of, signed(view, "pat", id="again"))
    second = of.decide(signed(view, "lee", comment="go"), NOW)
    assert second.answer.effect == "p.merge-1 approved"
    acting = of.decision(view.id)
    assert acting is not None
    assert (acting.by, acting.comment) == ("pat, lee", "pat: fine\nlee: go")
    assert [vote.key for vote in of.decided[0].votes] == [KEYS["pat"].public.id, KEYS["lee"].public.id]


@pytest.mark.parametrize(("decision", "state"), [("reject", "rejected"), ("revise", "revised")])
def test_one_objection_settles_what_others_have_approved(decision: str, state: str) -> None:
    of = book({"quorum": 3})
    view = opened(of)
    assert of.decide(signed(view, "pat"), NOW).accepted
    assert of.decide(signed(view, "kim", decision, comment="no"), NOW).accepted
    acting = of.decision(view.id)
    assert acting is not None
    assert (of.decided[0].state, acting.by, acting.comment) == (state, "kim", "kim: no")


def test_those_who_agree_agree_on_the_same_limit() -> None:
    of = book({"quorum": 2}, ApprovalKind.BUDGET)
    view = opened(of, ApprovalKind.BUDGET)
    assert of.decide(signed(view, "pat", budget_usd=Decimal(10)), NOW).accepted
    assert "pat approved with budget_usd=10" in refusal(of, signed(view, "kim", budget_usd=Decimal(1000)))
    assert of.decide(signed(view, "kim", budget_usd=Decimal("10.0")), NOW).accepted
    acting = of.decision(view.id)
    assert acting is not None
    assert acting.budget_usd == 10


# Digest and batches.


@pytest.mark.parametrize(("rules", "strict"), [({"bound": True}, False), (None, True)])
def test_where_a_digest_is_needed_a_decision_without_one_is_refused(rules: dict[str, Any] | None, strict: bool) -> None:
    of = book(rules)
    view = opened(of, strict=strict)
    assert view.bound
    assert "needs a decision with the digest" in refusal(of, decided(view, digest=None), strict=strict)
    assert of.decide(decided(view), NOW, strict=strict).accepted


def test_a_mode_that_became_strict_needs_the_digest_of_what_was_asked_before() -> None:
    of = book()
    view = opened(of)
    assert "needs a decision with the digest" in refusal(of, decided(view, digest=None), strict=True)


def batch(kind: ApprovalKind = MERGE, **more: Any) -> BatchDecision:
    return BatchDecision.model_validate({"all_of": kind, "decision": "approve", "by": "pat", **more})


def test_a_batch_decides_about_every_open_request_of_its_kind_and_about_no_other() -> None:
    of = book()
    other = opened(of, ApprovalKind.PLAN)
    views = [opened(of), opened(of)]
    pairs = of.decide_all(batch(id="b"), NOW)
    assert [decision.approval for decision, _ in pairs] == [view.id for view in views]
    assert all(ruling.accepted for _, ruling in pairs)
    assert of.open == (other,)
    ((_, again),) = of.decide_all(batch(id="b"), NOW)
    assert not again.first
    assert again.answer.effect == "p.merge-1 approved; p.merge-2 approved"


def test_a_batch_without_anything_to_decide_is_refused() -> None:
    ((_, ruling),) = book().decide_all(batch(), NOW)
    assert "no request of kind merge is open" in (ruling.answer.refusal or "")


@pytest.mark.parametrize("rules", [{"bound": True}, {"signed": True}, {"quorum": 2}, {"separate": True}])
def test_a_batch_is_refused_where_decisions_name_what_they_are_about(rules: dict[str, Any]) -> None:
    of = book(rules)
    view = opened(of)
    ((_, ruling),) = of.decide_all(batch(), NOW)
    assert "a batch names neither" in (ruling.answer.refusal or "")
    assert of.open == (view,)


def test_a_batch_is_refused_in_strict_mode_and_for_requests_that_were_made_in_it() -> None:
    of = book()
    opened(of, strict=True)
    for strict in (True, False):
        ((_, ruling),) = of.decide_all(batch(), NOW, strict=strict)
        assert "a batch names neither" in (ruling.answer.refusal or "")


def test_a_batch_is_decided_one_by_one_so_that_one_refusal_keeps_no_other() -> None:
    of = book({"who": ["pat"]}, ApprovalKind.BUDGET)
    opened(of, ApprovalKind.BUDGET)
    of.request(
        ApprovalKind.BUDGET, {"limit_usd": "50"}, summary="s", on_approve="a", on_reject="r", now=NOW, ttl=TTL
    )  # fmt: skip
    pairs = of.decide_all(batch(ApprovalKind.BUDGET, budget_usd="10"), NOW)
    assert [ruling.accepted for _, ruling in pairs] == [True, False]


# Time.


def test_reminders_come_in_order_and_those_missed_become_one() -> None:
    of = book({"reminders_h": [2, 1, 12, 400], "expires_h": 401})
    view = opened(of)
    assert of.due(view.id) == NOW + timedelta(hours=1)
    assert of.remind(view.id, NOW + timedelta(hours=1)).reminded == 1
    assert of.remind(view.id, NOW + timedelta(hours=13)).reminded == 2
    assert of.due(view.id) == NOW + timedelta(hours=400)


def test_a_reminder_after_the_end_is_none() -> None:
    of = book({"reminders_h": [1, 24, 48]})
    view = opened(of)
    assert view.reminders == (NOW + timedelta(hours=1),)
    of.remind(view.id, NOW + timedelta(hours=1))
    assert of.due(view.id) == view.expires_at == NOW + TTL


def test_others_are_asked_once_with_a_new_expiry_and_those_before_are_too_late() -> None:
    of = book({"who": ["pat"], "on_expiry": "escalate", "then": ["lee"], "expires_h": 10, "reminders_h": [9]})
    view = opened(of)
    later = NOW + timedelta(hours=10)
    view = of.lapse(view.id, later)
    assert (view.state, view.who, view.then, view.expires_at) == ("open", ("lee",), (), later + timedelta(hours=10))
    assert of.due(view.id) == later + timedelta(hours=9)
    assert "pat may not answer" in refusal(of, decided(view), later)
    ended = of.lapse(view.id, later + timedelta(hours=10))
    assert ended.state == "expired"
    assert of.decision(view.id) is None


def test_after_an_escalation_a_decision_counts() -> None:
    of = book({"who": ["pat"], "on_expiry": "escalate", "then": ["lee"], "quorum": 1, "signed": True})
    view = opened(of)
    of.lapse(view.id, NOW + TTL)
    sent = signed(view, "lee", claims={"time": NOW + TTL})
    assert of.decide(sent, NOW + TTL).accepted


def test_work_of_low_risk_goes_on_by_its_rules_and_nobody_has_answered() -> None:
    of = book({"on_expiry": "continue"}, ApprovalKind.TASK)
    view = of.lapse(opened(of, ApprovalKind.TASK).id, NOW + TTL)
    acting = of.decision(view.id)
    assert acting is not None
    assert (view.state, acting.decision, acting.by, of.answered) == ("continued", Answer.APPROVE, POLICY, 0)
    assert "continued already" in refusal(of, decided(view), NOW + TTL)


@pytest.mark.parametrize("more", [{"risk": Risk.MEDIUM}, {"strict": True}])
def test_work_of_higher_risk_or_in_strict_mode_never_goes_on_by_itself(more: dict[str, Any]) -> None:
    of = book({"on_expiry": "continue"}, ApprovalKind.TASK)
    view = opened(of, ApprovalKind.TASK, **more)
    assert view.on_expiry is OnExpiry.REJECT
    assert of.lapse(view.id, NOW + TTL).state == "expired"


def test_a_mode_that_became_strict_lets_nothing_go_on_by_itself() -> None:
    of = book({"on_expiry": "continue"}, ApprovalKind.TASK)
    assert of.lapse(opened(of, ApprovalKind.TASK).id, NOW + TTL, strict=True).state == "expired"


def test_a_decision_is_consumed_once_by_the_work_that_it_led_to() -> None:
    of = book()
    view = opened(of)
    assert of.consume(view.id, "too early") is None
    of.decide(decided(view), NOW)
    consumed = of.consume(view.id, "merge sprint 1")
    assert consumed is not None
    assert consumed.consumed == "merge sprint 1"
    assert of.consume(view.id, "something else") is None


# Whatever comes.

PEOPLE = st.sampled_from(["pat", "kim", "lee", "mallory"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["plain", "signed", "forged", "batch", "lapse"]), PEOPLE, st.sampled_from(list(Answer))),
    max_size=14,
)


@given(STEPS, st.integers(1, 3), st.booleans())
def test_whatever_comes_nothing_is_approved_without_its_quorum_of_different_keys(
    steps: list[tuple[str, str, Answer]], quorum: int, separate: bool
) -> None:
    of = book({"quorum": quorum, "signed": True, "separate": separate})
    view = opened(of, producers=("person:lee",))
    for what, by, answer in steps:
        key = KEYS.get(by, FORGED)
        if what == "lapse":
            of.remind(view.id, NOW)
        elif what == "batch":
            of.decide_all(batch(decision=answer, by=by), NOW)
        elif what == "plain":
            of.decide(decided(view, by, answer.value, comment="c"), NOW)
        else:
            of.decide(signed(view, by, answer.value, key=FORGED if what == "forged" else key, comment="c"), NOW)
    now = of.view(view.id)
    keys = {vote.key for vote in now.votes}
    assert None not in keys
    assert len(keys) == len(now.votes)
    assert keys <= {key.public.id for name, key in KEYS.items() if not (separate and name == "lee")}
    if now.state == "approved":
        assert len(keys) == quorum
    assert (of.decision(view.id) is None) == (now.state == "open")


FORGED = new_key()
