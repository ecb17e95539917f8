"""Making ledger entries from events."""

from __future__ import annotations

from ledger.events import Event
from ledger.rows import NewEntry


def entry(project: str, key: str, event: Event) -> NewEntry:
    """One entry for a project's chain; `key` makes a repeated write the first one again."""
    return NewEntry(project=project, key=key, kind=event.kind, body=event.body())
