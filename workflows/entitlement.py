"""Whose decision counts: approvers, their keys and the rules of each kind of request. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from ledger.vocabulary import ApprovalKind, Json, OnExpiry, Record, Risk
from workflows.approval_models import ApprovalView, Decision
from workflows.approval_policy import Approver, KindPolicy

if TYPE_CHECKING:
    from ledger.signatures import Claims, PublicKey

RISKS = {
    ApprovalKind.TASK: Risk.LOW,
    ApprovalKind.QUESTION: Risk.LOW,
    ApprovalKind.TOOL: Risk.HIGH,
    ApprovalKind.MERGE: Risk.HIGH,
    ApprovalKind.MILESTONE: Risk.HIGH,
    ApprovalKind.BUDGET: Risk.HIGH,
}
"""What is usually at stake; everything else is of medium risk."""

CLOCKS = timedelta(minutes=5)
"""By how much the clock of a person's machine may differ from the server's."""

NEAR = timedelta(hours=24)
"""How old a signature may be when it is looked at: a day, since decisions also wait for workers that are away."""

PERSON = "person:"
"""Begins the name of a person among the producers; agents stand there with their ids."""


class PolicyError(ValueError):
    """The rules for approvals cannot be kept."""


class KeyHolder(Record):
    """An approver whose key was read."""

    name: str
    key_id: str
    jwk: dict[str, str]
    kinds: tuple[ApprovalKind, ...]

    def may(self, kind: ApprovalKind) -> bool:
        return not self.kinds or kind in self.kinds


class Rules(Protocol):
    """A spec, as far as it says who may decide."""

    @property
    def approvers(self) -> tuple[Approver, ...]: ...

    @property
    def approvals(self) -> dict[ApprovalKind, KindPolicy]: ...


class Refused(Exception):
    """A decision does not count, for this reason."""


class Entitlement:
    """The approvers and rules of one project.

    Raises:
        PolicyError: a key cannot be used, a name or a key is there twice, or the rules demand what nobody can give.
    """

    def __init__(
        self, approvers: Sequence[Approver] = (), rules: Mapping[ApprovalKind, KindPolicy] | None = None
    ) -> None:
        self._approvers = {approver.name: approver for approver in approvers}
        self._rules = dict(rules or {})
        self._keys: dict[str, PublicKey] = {}
        self.holders: dict[str, KeyHolder] = {}
        """Key id -> whose it is."""
        for approver in approvers:
            if [one.name for one in approvers].count(approver.name) > 1:
                raise PolicyError(f"approvers: {approver.name!r} is named twice")
            if approver.key is not None:
                self._read(approver, approver.key)
        if faults := [f"approvals.{kind.value}: {fault}" for kind in self._rules for fault in self._faults(kind)]:
            raise PolicyError("; ".join(faults))

    def _read(self, approver: Approver, key: str | dict[str, str]) -> None:
        # Reading keys loads the cryptography, which most projects need not wait for.
        from ledger.signatures import SignatureError, read_public_key

        try:
            public = read_public_key(key)
        except SignatureError as error:
            raise PolicyError(f"approvers: the key of {approver.name!r}: {error}") from None
        if public.id in self._keys:
            other = self.holders[public.id].name
            raise PolicyError(f"approvers: {other!r} and {approver.name!r} have the same key; each needs their own")
        self._keys[public.id] = public
        self.holders[public.id] = KeyHolder(
            name=approver.name, key_id=public.id, jwk=public.jwk, kinds=approver.kinds
        )  # fmt: skip

    # Rules.

    @property
    def usual(self) -> bool:
        """Whether the brief says nothing: every name may answer, once."""
        return not self._approvers and not self._rules

    def written(self) -> tuple[tuple[dict[str, Json], ...], dict[str, dict[str, Json]]]:
        """Approvers with their keys, and rules, as they go on the record."""
        keys = {holder.name: holder for holder in self.holders.values()}
        approvers = tuple(
            {
                "name": approver.name,
                "kinds": [kind.value for kind in approver.kinds],
                "key": keys[approver.name].jwk if approver.name in keys else None,
                "key_id": keys[approver.name].key_id if approver.name in keys else None,
            }
            for approver in self._approvers.values()
        )
        rules = {kind.value: rule.model_dump(mode="json", exclude_defaults=True) for kind, rule in self._rules.items()}
        return approvers, rules

    def rules(self, kind: ApprovalKind) -> KindPolicy:
        return self._rules.get(kind, _USUAL)

    def demands_keys(self, kind: ApprovalKind) -> bool:
        """Whether only signed decisions count: claimed names cannot be told apart."""
        rules = self.rules(kind)
        return rules.signed or rules.separate or rules.quorum > 1

    def wish(self, kind: ApprovalKind) -> bool | None:
        """Whether to ask whatever autonomy and mode say; None leaves it to them.

        Who demands keys for a kind wants to be asked about it: autonomy and mode are changed by messages that anybody can
        send, who reaches the namespace, and one of them must not replace two signatures.
        """
        wish = self.rules(kind).ask
        return True if wish is None and self.demands_keys(kind) else wish

    def _faults(self, kind: ApprovalKind) -> Iterable[str]:
        rules = self.rules(kind)
        if (rules.on_expiry is OnExpiry.ESCALATE) != bool(rules.then):
            yield "`on_expiry: escalate` and `then` go together: the second says who is asked next"
        if rules.on_expiry is OnExpiry.CONTINUE and RISKS.get(kind) is not Risk.LOW:
            low = ", ".join(kind.value for kind, risk in RISKS.items() if risk is Risk.LOW)
            yield f"`on_expiry: continue` is for low risk alone ({low})"
        if rules.expires_h is not None and any(hours >= rules.expires_h for hours in rules.reminders_h):
            yield f"a reminder comes after the request has expired ({rules.expires_h:g} hours)"
        if any(hours <= 0 for hours in rules.reminders_h):
            yield "a reminder comes some hours after the request, more than 0"
        for place, names in (("who", rules.who), ("then", rules.then)):
            yield from self._faults_of_names(kind, place, names)

    def _faults_of_names(self, kind: ApprovalKind, place: str, names: tuple[str, ...]) -> Iterable[str]:
        rules, able = self.rules(kind), {holder.name for holder in self.holders.values() if holder.may(kind)}
        for name in names:
            approver = self._approvers.get(name)
            if approver is None and self._approvers:
                yield f"`{place}`: {name!r} is none of the approvers"
            elif approver is not None and approver.kinds and kind not in approver.kinds:
                yield f"`{place}`: {name!r} may not decide about {kind.value}"
        if not self.demands_keys(kind) or (place == "then" and not names):
            return
        counted = able & set(names) if names else able
        if len(counted) < rules.quorum:
            why = f"quorum {rules.quorum}" if rules.quorum > 1 else "`separate`" if rules.separate else "`signed`"
            yield (
                f"{why} needs {rules.quorum} of `{place if names else 'approvers'}` with a key, for who decides is "
                f"only proven by signatures; there are {len(counted)}"
            )

    # Decisions.

    def refuse_stranger(self, view: ApprovalView, decision: Decision) -> None:
        """Raises Refused where whoever decides may not answer this request. Their name may be a claim still."""
        approver = self._approvers.get(decision.by)
        if view.who and decision.by not in view.who:
            raise Refused(f"{decision.by} may not answer {view.id}; asked are {', '.join(view.who)}")
        if approver is not None and approver.kinds and view.kind not in approver.kinds:
            raise Refused(f"{decision.by} may not decide about {view.kind.value}")
        if decision.by in view.producers or PERSON + decision.by in view.producers:
            raise Refused(f"{decision.by} had a part in what {view.id} is about and may not answer it")

    def verified(self, view: ApprovalView, decision: Decision, project: str, now: datetime) -> str | None:
        """The id of the key that signed the decision; None where it is not signed and need not be.

        Raises:
            Refused: the signature is missing, does not hold, or is about something else.
        """
        if decision.signature is None:
            if view.signed:
                raise Refused(f"{view.id} takes signed decisions only (syndic {decision.decision.value} --key FILE)")
            return None
        from ledger.signatures import SignatureError, key_id_of

        try:
            key_id = key_id_of(decision.signature)
            if key_id not in self._keys:
                raise Refused(f"no approver of this project has the key {key_id[:60]}")
            claims = self._keys[key_id].verify(decision.signature)
        except SignatureError as error:
            raise Refused(str(error)) from None
        _compare(view, decision, claims, project)
        _check_time(view, claims.time, now)
        if self.holders[key_id].name != decision.by:
            raise Refused(f"sent by {decision.by}, signed with the key of {self.holders[key_id].name}")
        return key_id


_USUAL = KindPolicy()


def _compare(view: ApprovalView, decision: Decision, claims: Claims, project: str) -> None:
    signed = claims.model_dump(exclude={"time"})
    sent = {**{name: getattr(decision, name) for name in signed if name != "project"}, "project": project}
    sent["digest"] = view.digest
    if wrong := [name for name, value in signed.items() if sent[name] != value]:
        raise Refused(f"what was signed differs from the request and what was sent: {', '.join(wrong)}")


def _check_time(view: ApprovalView, time: datetime, now: datetime) -> None:
    if time < view.requested_at - CLOCKS:
        raise Refused(f"it was signed at {time.isoformat()}, before the request was made")
    if not now - NEAR <= time <= now + CLOCKS:
        raise Refused(f"it was signed at {time.isoformat()}, too far from now ({now.isoformat()})")
