"""The clock that the record is given, so that tests can turn it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present as a timezone-aware UTC datetime."""


def utc_now() -> datetime:
    """The machine's own clock."""
    return datetime.now(UTC)
