"""The record in Postgres: the `Store` that everything but tests uses.

Reads are plain statements; writes are the functions of schema `syndic`, so that a worker's login needs no right to
change a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from ledger._chain_writer import ChainWriter
from ledger._gathered import Gathered
from ledger._migrations import check_schema, grant_worker, migrate
from ledger._postgres_lineages import PostgresLineages
from ledger._postgres_messages import PostgresMessages
from ledger._postgres_teamwork import PostgresTeamwork
from ledger._session import OwnSession, Pool, Session
from ledger._signals import OutboxSignals
from ledger._wire import (
    Prepared,
    answer_of,
    entries_text,
    entry_of,
    money,
    prepare,
    step_of,
)
from ledger.clock import Clock, utc_now
from ledger.errors import (
    InvalidEntryError,
    LeaseHeldError,
    LeaseLostError,
    LedgerError,
    UnknownArtifactError,
    UnknownScopeError,
)
from ledger.items import Item, ItemResult, ItemStatus
from ledger.rows import (
    GENESIS,
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
from ledger.vocabulary import Standing, scope_path

GATHERED = ("inbox", "steps", "recall", "open_budget", "budget_path", "publish_card", "release_lease")
"""What every run asks, and most ask at the same moments."""

__all__ = ["PostgresStore", "check_schema", "create_pool", "grant_worker", "migrate"]


def create_pool(dsn: str, *, min_size: int = 1, max_size: int = 8, timeout: timedelta = timedelta(seconds=10)) -> Pool:
    """A closed pool fit for `PostgresStore` (one round trip a statement); open it before use.

    Args:
        dsn: of the workers' login.
        min_size: connections that are kept.
        max_size: connections at most.
        timeout: how long a statement may wait for a connection.
    """
    return AsyncConnectionPool[AsyncConnection[Any]](
        dsn,
        kwargs={"autocommit": True, "options": "-c timezone=UTC", "application_name": "syndic"},
        min_size=min_size,
        max_size=max_size,
        timeout=timeout.total_seconds(),
        open=False,
        name="syndic",
    )


class PostgresStore(PostgresMessages, PostgresTeamwork, PostgresLineages):
    """Keeps `ledger.store.Store`.

    Times, those of leases too, come from `clock`: where machines disagree a lease may be taken early, which its
    fencing number makes harmless.
    """

    def __init__(self, pool: Pool, clock: Clock = utc_now) -> None:
        self._pool = pool
        self._session = Session(pool)
        self._signals = OutboxSignals(pool.conninfo if isinstance(pool.conninfo, str) else "")
        self._clock = clock
        self._writing = OwnSession(pool)
        self._chains = ChainWriter(self._writing)
        self._gathered = {name: Gathered(self._session, name) for name in GATHERED}

    async def record(self, entries: Sequence[NewEntry]) -> list[Entry]:
        if not entries:
            return []
        try:
            text = entries_text(entries, self._clock())
        except (TypeError, ValueError) as error:
            raise InvalidEntryError(str(error)) from error
        return [entry_of(row) for row in await self._chains.record(text, len(entries))]

    async def entries(self, project: str, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        values = {"project": project, "after": after, "limit": limit}
        return [entry_of(row) for row in await self._session.rows("entries", values)]

    async def head(self, project: str) -> Head:
        row = await self._session.one("head", {"project": project})
        return Head(project=project, **(row or {"seq": 0, "hash": GENESIS}))

    async def projects(self) -> list[str]:
        return [row["project"] for row in await self._session.rows("projects")]

    async def acquire_lease(self, info: ThreadInfo, holder: str, ttl: timedelta) -> Lease:
        values = {"info": info.model_dump_json(), "holder": holder, "now": self._clock(), "ttl": ttl}
        [row] = await self._session.rows("acquire_lease", values)
        if row["seconds_left"] is not None:
            raise LeaseHeldError(info.thread, row["holder"], row["seconds_left"])
        return Lease(thread=info.thread, holder=holder, epoch=row["epoch"])

    async def renew_lease(self, lease: Lease, ttl: timedelta) -> None:
        row = await self._session.one("renew_lease", {**lease.model_dump(), "expires": self._clock() + ttl})
        if not row or not row["renewed"]:
            raise LeaseLostError

    async def release_lease(self, lease: Lease) -> None:
        await self._gathered["release_lease"].rows(**lease.model_dump())

    async def reconcile(self, project: str) -> int:
        [row] = await self._session.rows("reconcile", {"project": project, "now": self._clock()})
        return row["ended"]

    async def lapsed(self) -> list[str]:
        return [row["project"] for row in await self._session.rows("lapsed", {"now": self._clock()})]

    async def steps(self, thread: str) -> list[Step]:
        return [step_of(row["step"]) for row in await self._gathered["steps"].rows(thread=thread)]

    async def apply(self, items: Sequence[Item], *, brief: bool = False) -> list[ItemResult]:
        now = self._clock()
        results: list[ItemResult | None] = []
        fit: list[Prepared] = []
        for item in items:
            if item.chained and results and results[-1] is not None:
                results.append(ItemResult(status=ItemStatus.SKIPPED))
                continue
            try:
                fit.append(prepare(item, now, brief=brief))
                results.append(None)
            except (LedgerError, TypeError, ValueError, ArithmeticError) as error:
                results.append(ItemResult(status=ItemStatus.INVALID, detail=str(error)[:500]))
        answers = iter(await self._answers(fit, now))
        return [result or next(answers) for result in results]

    async def _answers(self, fit: Sequence[Prepared], now: object) -> list[ItemResult]:
        if not fit:
            return []
        text = f"[{','.join(prepared.text for prepared in fit)}]"
        [row] = await self._chains.apply({"items": text, "now": now})
        return [answer_of(answer, prepared) for answer, prepared in zip(row["answers"], fit, strict=True)]

    async def in_doubt(self, project: str) -> list[Step]:
        return [Step.model_validate(row) for row in await self._session.rows("in_doubt", {"project": project})]

    async def open_budget(self, scope: str, limit_usd: Decimal | None, limit_tokens: int | None = None) -> Budget:
        [row] = await self._gathered["open_budget"].rows(**_limits(scope, limit_usd, limit_tokens))
        return Budget.model_validate(row)

    async def raise_budget(self, scope: str, limit_usd: Decimal | None, limit_tokens: int | None = None) -> Budget:
        row = await self._session.one("raise_budget", _limits(scope, limit_usd, limit_tokens))
        return self._known(scope, row)

    async def budget(self, scope: str) -> Budget:
        return self._known(scope, await self._session.one("budget", {"scope": scope}))

    async def budget_path(self, scope: str) -> list[Budget]:
        path = scope_path(scope)
        rows = await self._gathered["budget_path"].rows(scopes=path)
        if len(rows) < len(path):
            raise UnknownScopeError(f"there is no budget of scope {scope}")
        return [Budget.model_validate(row) for row in rows]

    @staticmethod
    def _known(scope: str, row: dict[str, Any] | None) -> Budget:
        if row is None:
            raise UnknownScopeError(f"there is no budget of scope {scope}")
        return Budget.model_validate(row)

    async def usage(self, project: str) -> list[UsageRow]:
        return [UsageRow.model_validate(row) for row in await self._session.rows("usage", {"project": project})]

    async def cost(self, project: str, by: CostBy) -> list[CostRow]:
        values = {"project": project, "dimension": by.value}
        return [CostRow.model_validate(row) for row in await self._session.rows("cost", values)]

    async def put_artifact(self, content: bytes, media_type: str = "text/plain") -> str:
        [row] = await self._session.rows("put_artifact", {"content": content, "media_type": media_type})
        return row["digest"]

    async def get_artifact(self, digest: str) -> bytes:
        row = await self._session.one("get_artifact", {"digest": digest})
        if row is None:
            raise UnknownArtifactError(f"there is no artifact {digest}")
        return bytes(row["content"])

    async def set_standing(self, subject: str, standing: Standing, reason: str) -> None:
        values = {"subject": subject, "standing": standing.value, "reason": reason, "now": self._clock()}
        await self._session.rows("set_standing", values)

    async def standing(self, subject: str) -> StandingRow | None:
        row = await self._session.one("standing", {"subject": subject})
        return None if row is None else StandingRow.model_validate(row)

    async def halted(self, subjects: Sequence[str]) -> StandingRow | None:
        row = await self._session.one("halted", {"subjects": list(subjects)})
        return None if row is None else StandingRow.model_validate(row)

    async def close(self) -> None:
        await self._signals.close()
        await self._writing.close()
        await self._pool.close()


def _limits(scope: str, limit_usd: Decimal | None, limit_tokens: int | None) -> dict[str, Any]:
    return {"scope": scope, "limit": None if limit_usd is None else money(limit_usd), "tokens": limit_tokens}
