"""Errors of the record. The docstring is the default message."""

from __future__ import annotations


class LedgerError(Exception):
    """The record could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class LeaseHeldError(LedgerError):
    """Another run holds this thread."""

    def __init__(self, thread: str, holder: str, seconds_left: float) -> None:
        super().__init__(f"thread {thread} is held by {holder} for another {seconds_left:.1f} s")
        self.holder = holder
        self.seconds_left = seconds_left


class LeaseLostError(LedgerError):
    """Another run has taken this thread over."""


class ConsumerHeldError(LedgerError):
    """Another process reads this inbox under the same name."""

    def __init__(self, consumer: str, inbox: str, holder: str, seconds_left: float) -> None:
        super().__init__(
            f"consumer {consumer} of inbox {inbox} is {holder} for another {seconds_left:.1f} s; two may not share a name"
        )
        self.seconds_left = seconds_left


class UndeliverableError(LedgerError):
    """A message cannot be sent: there is no such addressee, it has finished, or its inbox is full."""


class UnknownScopeError(LedgerError):
    """There is no budget of that scope."""


class UnknownArtifactError(LedgerError):
    """There is no artifact with that digest."""


class LineageError(LedgerError):
    """A run cannot go on from that step."""


class KeyConflictError(LedgerError):
    """An entry with the same key but another kind or body is already on the ledger."""


class InvalidEntryError(LedgerError):
    """The body of an entry does not fit its kind."""


class ChainBrokenError(LedgerError):
    """An entry does not fit the chain."""


class StoreUnreachableError(LedgerError):
    """The database cannot be reached."""


class SchemaError(LedgerError):
    """The database's schema is newer or older than this build."""
