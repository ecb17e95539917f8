"""Endings that several nodes give."""

from __future__ import annotations

from agents.state import Ending
from ledger.vocabulary import OutcomeKind


def failed(summary: str) -> Ending:
    """The run could not give a result."""
    return Ending(kind=OutcomeKind.FAILED, summary=summary)
