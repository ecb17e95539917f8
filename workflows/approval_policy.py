"""Who may decide what: the brief's `approvers` and `approvals`. Models only, with what each can say about itself."""

from __future__ import annotations

from pydantic import Field

from ledger.vocabulary import ApprovalKind, Brief, OnExpiry


class Approver(Brief):
    """A person who may decide, with the public key by which their decisions are verified."""

    name: str = Field(min_length=1, max_length=80)
    key: str | dict[str, str] | None = None
    """Ed25519, public: a JWK, as an object or as text, or a PEM."""
    kinds: tuple[ApprovalKind, ...] = ()
    """What they may decide; empty: every kind."""


class KindPolicy(Brief):
    """The rules for one kind of request; what is left out is as without a policy."""

    ask: bool | None = None
    """Whether to ask at all, whatever autonomy and mode say; None leaves it to them."""
    who: tuple[str, ...] = Field(default=(), max_length=50)
    """Names of those who may answer; empty: everyone, and with `signed` every approver of the kind."""
    quorum: int = Field(default=1, ge=1, le=20)
    """How many different verified persons must approve. One rejection or revision settles a request."""
    expires_h: float | None = Field(default=None, gt=0, le=24 * 366)
    """Hours until a request expires; None: the brief's `approval_timeout_minutes`."""
    reminders_h: tuple[float, ...] = Field(default=(), max_length=20)
    """Hours after the request at which it is called to mind."""
    on_expiry: OnExpiry = OnExpiry.REJECT
    then: tuple[str, ...] = Field(default=(), max_length=50)
    """Whom to ask next, for another `expires_h`, where `on_expiry` is `escalate`."""
    signed: bool = False
    """Whether only signed decisions count."""
    bound: bool = False
    """Whether a decision must carry the digest of what it is about."""
    tools: tuple[str, ...] = Field(default=(), max_length=100)
    """Of kind `tool`: tools of which a person confirms every call, whatever autonomy and mode say."""
    separate: bool = False
    """Whether persons who had a part in what is decided may not answer; agents never may."""
