"""Checks the decisions of a chain by the approvers' keys that stand in it: pure, and needs nothing but the entries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from ledger.events import ApprovalRequested, ApproversNamed, DecisionMade
from ledger.rows import Entry
from ledger.signatures import Claims, PublicKey, SignatureError, key_id_of, read_public_key
from ledger.vocabulary import Answer, Json, Record


class DecisionFault(Record):
    """A decision that the record does not bear out."""

    seq: int
    approval: str
    reason: str


class DecisionsChecked(Record):
    """What `check_decisions` found."""

    verified: int = 0
    """Signed decisions that hold."""
    claimed: int = 0
    """Decisions without a signature: who made them is a claim."""
    faults: tuple[DecisionFault, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.faults


def check_decisions(entries: Iterable[Entry]) -> DecisionsChecked:
    """Verify every signature against the keys that the project named, and every quorum against the signatures.

    Args:
        entries: one project's chain from its first entry; whether it is intact is for `ledger.chain.verify` to find out.
    """
    checker = _Checker()
    for entry in entries:
        checker.take(entry)
    return DecisionsChecked(verified=checker.verified, claimed=checker.claimed, faults=tuple(checker.faults))


class _Checker:
    def __init__(self) -> None:
        self.verified = 0
        self.claimed = 0
        self.faults: list[DecisionFault] = []
        self._keys: dict[str, tuple[str, PublicKey]] = {}
        """Key id -> its holder's name, and the key."""
        self._requests: dict[str, ApprovalRequested] = {}
        self._agreed: dict[str, set[str]] = {}
        """Request -> keys that approved it."""

    def take(self, entry: Entry) -> None:
        try:
            if entry.kind == ApproversNamed.kind:
                self._name(ApproversNamed.model_validate(entry.body))
            elif entry.kind == ApprovalRequested.kind:
                request = ApprovalRequested.model_validate(entry.body)
                self._requests[request.approval] = request
            elif entry.kind == DecisionMade.kind:
                self._decide(DecisionMade.model_validate(entry.body), entry.project)
        except SignatureError as error:
            about = str(entry.body.get("approval", "approvers"))
            self.faults.append(DecisionFault(seq=entry.seq, approval=about, reason=str(error)))

    def _name(self, named: ApproversNamed) -> None:
        for approver in named.approvers:
            if approver.get("key") is not None:
                public = read_public_key(cast("dict[str, str]", approver["key"]))
                self._keys[public.id] = (str(approver["name"]), public)

    def _decide(self, made: DecisionMade, project: str) -> None:
        if made.signature is None:
            if made.key_id is not None or self._terms(made).get("signed"):
                raise SignatureError("only a signed decision counts here, and there is no signature")
            self.claimed += 1
            return
        _compare(made, self._claims(made, made.signature), project)
        self.verified += 1
        if made.decision == Answer.APPROVE.value and made.key_id is not None:
            agreed = self._agreed.setdefault(made.approval, set())
            agreed.add(made.key_id)
            quorum = int(self._terms(made).get("quorum") or 1)
            if made.state is None and len(agreed) < quorum:
                raise SignatureError(f"it counted as approved with {len(agreed)} of {quorum} signatures")

    def _terms(self, made: DecisionMade) -> dict[str, Json]:
        request = self._requests.get(made.approval)
        return request.terms or {} if request is not None else {}

    def _claims(self, made: DecisionMade, signature: str) -> Claims:
        key_id = key_id_of(signature)
        if key_id != made.key_id:
            raise SignatureError("it was signed with another key than the entry says")
        if key_id not in self._keys:
            raise SignatureError("the project named no approver with its key")
        name, key = self._keys[key_id]
        if name != made.claimed_by:
            raise SignatureError(f"it was signed with the key of {name}")
        request = self._requests.get(made.approval)
        if request is None or request.digest != made.digest:
            raise SignatureError("the record has no request of that id and digest")
        return key.verify(signature)


def _compare(made: DecisionMade, claims: Claims, project: str) -> None:
    entry = {
        "project": project,
        "approval": made.approval,
        "digest": made.digest,
        "decision": made.decision,
        "by": made.claimed_by,
        "comment": made.comment,
        "id": made.decision_id,
    }
    signed = claims.model_dump(mode="json", include=set(entry))
    if wrong := [name for name, value in entry.items() if signed[name] != value]:
        raise SignatureError(f"what was signed differs from the entry: {', '.join(wrong)}")
