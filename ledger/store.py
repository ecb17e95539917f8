"""What the record can do, as one protocol that Postgres and the in-memory twin both keep.

Everything a worker writes while an agent runs goes through `apply`, the group commit: items are processed in order, each
gets a result of its own, and one item's refusal never rolls back its neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Protocol

from ledger.items import Item, ItemResult
from ledger.lineages import LineageStore
from ledger.messages import MessageStore
from ledger.rows import (
    Budget,
    CostBy,
    CostRow,
    Entry,
    Head,
    Lease,
    NewEntry,
    StandingRow,
    Step,
    ThreadInfo,
    UsageRow,
)
from ledger.teamwork import TeamStore
from ledger.vocabulary import Standing


class Store(MessageStore, TeamStore, LineageStore, Protocol):
    """The record. Every method is safe to call again with the same arguments."""

    async def record(self, entries: Sequence[NewEntry]) -> list[Entry]:
        """Append in order; an entry whose key exists is returned as it stands."""
        ...

    async def entries(self, project: str, *, after: int = 0, limit: int = 1000) -> list[Entry]: ...

    async def head(self, project: str) -> Head: ...

    async def acquire_lease(self, info: ThreadInfo, holder: str, ttl: timedelta) -> Lease:
        """Take the thread with a higher epoch, at once where it is free, expired or held by the same holder.

        Attempts that an earlier epoch left `reserved` become `in_doubt` and stay charged at their bound.

        Raises:
            LeaseHeldError: another holder's lease is still running; carries the seconds left.
        """
        ...

    async def renew_lease(self, lease: Lease, ttl: timedelta) -> None:
        """Raises LeaseLostError where the epoch has moved on."""
        ...

    async def release_lease(self, lease: Lease) -> None: ...

    async def steps(self, thread: str) -> list[Step]:
        """All steps of the thread in (ordinal, sub) order, with their results."""
        ...

    async def apply(self, items: Sequence[Item], *, brief: bool = False) -> list[ItemResult]:
        """One answer each, in order; with `brief` an answer `OK` does not repeat the step that was written."""
        ...

    async def in_doubt(self, project: str) -> list[Step]:
        """Attempts that were asked and whose answer was never journaled."""
        ...

    async def open_budget(self, scope: str, limit_usd: Decimal | None, limit_tokens: int | None = None) -> Budget:
        """Create the node (and missing ancestors without a limit); an existing node keeps its limits.

        Scopes without a limit of their own are opened by the runs that begin on them.
        """
        ...

    async def raise_budget(self, scope: str, limit_usd: Decimal | None, limit_tokens: int | None = None) -> Budget:
        """Set new limits, of which None stays as it is; clear the violation here and below."""
        ...

    async def budget(self, scope: str) -> Budget:
        """Raises UnknownScopeError."""
        ...

    async def budget_path(self, scope: str) -> list[Budget]:
        """The scope's budget after those of its ancestors, root first. Raises UnknownScopeError."""
        ...

    async def usage(self, project: str) -> list[UsageRow]: ...

    async def cost(self, project: str, by: CostBy) -> list[CostRow]:
        """What a project has spent, in the order of the names."""
        ...

    async def put_artifact(self, content: bytes, media_type: str = "text/plain") -> str:
        """Keep the bytes; returns their SHA-256 in hex."""
        ...

    async def get_artifact(self, digest: str) -> bytes:
        """Raises UnknownArtifactError."""
        ...

    async def set_standing(self, subject: str, standing: Standing, reason: str) -> None: ...

    async def standing(self, subject: str) -> StandingRow | None: ...

    async def halted(self, subjects: Sequence[str]) -> StandingRow | None:
        """The first of the subjects, in their order, that may not work."""
        ...

    async def reconcile(self, project: str) -> int:
        """End what no run holds any more: expire leases, turn their reserved attempts in-doubt. Returns how many."""
        ...

    async def lapsed(self) -> list[str]:
        """Projects with something for `reconcile` to end."""
        ...

    async def projects(self) -> list[str]:
        """Projects that have a chain."""
        ...

    async def close(self) -> None: ...
