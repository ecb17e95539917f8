"""Decisions of a chain, verified with nothing but its entries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.chain import seal
from ledger.decisions import check_decisions
from ledger.events import ApprovalRequested, ApproversNamed, DecisionMade, Event
from ledger.rows import GENESIS, Entry, Head, NewEntry
from ledger.signatures import Claims, SigningKey, new_key
from ledger.vocabulary import Answer

AT = datetime(2030, 1, 1, tzinfo=UTC)
DIGEST = "a" * 64
PAT, KIM = new_key(), new_key()


def named(**keys: SigningKey) -> ApproversNamed:
    return ApproversNamed(
        workflow_id="project/p",
        approvers=tuple(
            {"name": name, "key": key.public.jwk, "key_id": key.public.id, "kinds": []} for name, key in keys.items()
        ),
    )


def requested(**terms: Any) -> ApprovalRequested:
    return ApprovalRequested(
        workflow_id="project/p", approval="p.merge-1", approval_kind="merge", digest=DIGEST, summary="s", terms=terms
    )


def made(key: SigningKey | None = PAT, by: str = "pat", **more: Any) -> DecisionMade:
    claims = Claims(
        project="p", approval="p.merge-1", digest=DIGEST, decision=Answer.APPROVE, by=by, time=AT, comment="go", id="d"
    )
    content = {
        "workflow_id": "project/p",
        "approval": "p.merge-1",
        "approval_kind": "merge",
        "decision": "approve",
        "claimed_by": by,
        "digest": DIGEST,
        "comment": "go",
        "decision_id": "d",
        "key_id": key and key.public.id,
        "signature": key and key.sign(claims),
    }
    return DecisionMade.model_validate({**content, **more})


def chained(*events: Event) -> Sequence[Entry]:
    head, entries = Head(project="p", seq=0, hash=GENESIS), []
    for event in events:
        entry = seal(NewEntry(project="p", key=f"k{head.seq}", kind=event.kind, body=event.body()), AT, head)
        entries.append(entry)
        head = Head(project="p", seq=entry.seq, hash=entry.hash)
    return entries


def test_signed_decisions_verify_from_the_chain_alone_and_claims_are_counted_as_claims() -> None:
    found = check_decisions(chained(named(pat=PAT), requested(), made(), made(None)))
    assert (found.verified, found.claimed, found.ok) == (1, 1, True)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"comment": "other"}, "differs from the entry: comment"),
        ({"decision": "reject"}, "differs from the entry: decision"),
        ({"decision_id": None}, "differs from the entry: id"),
        ({"claimed_by": "kim"}, "signed with the key of pat"),
        ({"key_id": KIM.public.id}, "another key than the entry says"),
        ({"signature": None}, "there is no signature"),
        ({"digest": "b" * 64}, "no request of that id and digest"),
        ({"approval": "p.merge-2"}, "no request of that id and digest"),
        ({"signature": "x.y.z"}, "no compact JWS"),
    ],
)
def test_an_entry_that_says_something_else_than_its_signature_is_found(change: dict[str, Any], complaint: str) -> None:
    decision = made(**change) if "claimed_by" not in change else made().model_copy(update=change)
    found = check_decisions(chained(named(pat=PAT, kim=KIM), requested(), decision))
    (fault,) = found.faults
    assert complaint in fault.reason
    assert fault.seq == 3


def test_a_key_that_the_project_did_not_name_verifies_nothing() -> None:
    for entries in (chained(named(kim=KIM), requested(), made()), chained(requested(), made(), named(pat=PAT))):
        (fault,) = check_decisions(entries).faults
        assert "named no approver" in fault.reason


def test_a_request_that_takes_signed_decisions_only_is_not_settled_by_a_claim() -> None:
    (fault,) = check_decisions(chained(named(pat=PAT), requested(signed=True), made(None))).faults
    assert "no signature" in fault.reason


def test_a_quorum_counts_different_keys() -> None:
    first = made(state="open")
    whole = chained(named(pat=PAT, kim=KIM), requested(quorum=2, signed=True), first, made(KIM, "kim"))
    assert check_decisions(whole).ok
    twice = chained(named(pat=PAT, kim=KIM), requested(quorum=2, signed=True), first, made())
    (fault,) = check_decisions(twice).faults
    assert "approved with 1 of 2 signatures" in fault.reason
