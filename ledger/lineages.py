"""Lineages: a run that goes on from an earlier step of another one, and runs that nobody goes on with."""

from __future__ import annotations

from typing import Protocol

from ledger.vocabulary import Record


class Forked(Record):
    """What a new thread begins with."""

    commit: str | None = None
    """Of its last step that changed files; None where none of them did."""
    in_doubt: int = 0
    """Calls of the old thread that nobody has answered, charged at their bound from now on."""
    told_again: int = 0
    """Messages that the old thread read at steps that are done again; they are unread for the new one."""


class LineageStore(Protocol):
    """The part of the record that begins and ends lineages."""

    async def fork(self, source: str, target: str, step: int) -> Forked:
        """Begin a thread with copies of another one's steps before `step`, which are served and cost nothing.

        The old thread keeps its journal, loses its lease and is settled: what it has asked and not heard is in doubt. The
        same call again changes nothing.

        Raises:
            LineageError: there is no such thread, it has no result for one of these steps, or the new name is taken.
        """
        ...

    async def retire(self, project: str, sprint: int, task: str) -> int:
        """Take the leases of all runs of a task and settle what they asked; returns how many calls are in doubt now."""
        ...
