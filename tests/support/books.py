"""The provider's own count against the record's: every call has its attempt, every cent stands in the same place thrice."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ledger.chain import verify
from ledger.postgres import PostgresStore, create_pool
from ledger.rows import Entry
from tests.support.crowd import FIRST_BILL, Call, Crowd

ATTEMPTS = """
SELECT thread, ordinal, sub, attempt, state, request_digest, cost_usd, bound_usd, (usage ->> 'prompt_tokens')::int
  FROM syndic.attempts ORDER BY 1, 2, 3, 4
"""


@dataclass(frozen=True)
class Attempt:
    place: tuple[str, int, int, int]
    state: str
    request_digest: str
    cost_usd: Decimal
    bound_usd: Decimal
    call: int | None
    """The number of the provider's call that its bill names."""

    @property
    def project(self) -> str:
        return self.place[0].partition("/")[0]


@dataclass(frozen=True)
class Books:
    """Both sides, read when all is done."""

    calls: dict[int, Call]
    attempts: list[Attempt]
    doubted: set[tuple[Any, ...]]
    """Places of attempts that were ever listed in doubt."""
    entries: dict[str, list[Entry]]

    def unanswered(self) -> list[Call]:
        """Calls whose answer was never settled."""
        settled = {attempt.call for attempt in self.attempts}
        return [call for number, call in self.calls.items() if number not in settled]

    def faults(self, steps: int) -> list[str]:
        """What does not fit, where so many model steps had to be done."""
        return [*self._counts(steps), *self._matches(), *(f for name in self.entries for f in self._chain(name))]

    def _counts(self, steps: int) -> list[str]:
        extra = len(self.calls) - steps
        found = [] if 0 <= extra <= len(self.doubted) else [f"{extra} extra calls, {len(self.doubted)} ever in doubt"]
        for attempt in self.attempts:
            if attempt.state not in ("done", "in_doubt"):
                found.append(f"{attempt.place} is left {attempt.state}")
            if attempt.state == "in_doubt" and attempt.place not in self.doubted:
                found.append(f"{attempt.place} came to be in doubt unseen")
        return found

    def _matches(self) -> list[str]:
        """Each settled attempt is the one call that its bill names; each other call is an attempt in doubt of its own."""
        settled = [attempt for attempt in self.attempts if attempt.state == "done"]
        named = Counter(attempt.call for attempt in settled)
        found = [f"call {number} was settled {count} times" for number, count in named.items() if count > 1]
        for attempt in settled:
            call = self.calls.get(attempt.call or 0)
            if call is None or (call.request_digest, call.cost_usd) != (attempt.request_digest, attempt.cost_usd):
                found.append(f"{attempt.place} was settled as {attempt.cost_usd}, the provider's is {call}")
        lost = Counter(call.request_digest for call in self.unanswered())
        listed = Counter(attempt.request_digest for attempt in self.attempts if attempt.state == "in_doubt")
        found += [f"{count} calls {asked[:12]} stand nowhere" for asked, count in (lost - listed).items()]
        asked, ever = Counter(call.request_digest for call in self.calls.values()), Counter(self._doubted_digests())
        found += [
            f"{asked[one]} calls {one[:12]}, {ever[one]} ever in doubt" for one in asked if asked[one] > 1 + ever[one]
        ]
        return found

    def _doubted_digests(self) -> list[str]:
        return [attempt.request_digest for attempt in self.attempts if attempt.place in self.doubted]

    def _chain(self, project: str) -> list[str]:
        """The ledger verifies, and adds up to what was settled."""
        entries = self.entries[project]
        found = [] if verify(entries).ok else [f"{project}: the ledger does not verify"]
        costs = (entry.body.get("cost_usd") for entry in entries if _bills(entry))
        written = sum((Decimal(cost) for cost in costs if cost is not None), Decimal(0))
        settled = self.settled(project)
        return found if written == settled else [*found, f"{project}: ledger {written}, settled {settled}"]

    def settled(self, project: str) -> Decimal:
        own = (attempt for attempt in self.attempts if attempt.project == project and attempt.state == "done")
        return sum((attempt.cost_usd for attempt in own), Decimal(0))

    def charged(self, project: str) -> Decimal:
        """True costs, and the bounds of what is in doubt."""
        own = (attempt for attempt in self.attempts if attempt.project == project and attempt.state == "in_doubt")
        return self.settled(project) + sum((attempt.bound_usd for attempt in own), Decimal(0))


def _bills(entry: Entry) -> bool:
    """A late answer that was used stands there as a step as well."""
    return entry.kind == "step_recorded" or (entry.kind == "late_answer" and not entry.body["used"])


def read_books(crowd: Crowd, projects: list[str]) -> Books:
    rows = crowd.audit.rows(ATTEMPTS)
    return Books(
        calls={call.number: call for call in crowd.provider.seen},
        attempts=[Attempt(row[:4], *row[4:8], None if row[8] is None else row[8] - FIRST_BILL) for row in rows],
        doubted=set(crowd.audit.doubted()),
        entries=asyncio.run(_entries(crowd.stack.addresses["database_url"], projects)),
    )


def money_faults(crowd: Crowd, books: Books, projects: list[str]) -> list[str]:
    """Budget, usage, steps and attempts say the same of each project, and nothing is left reserved."""
    found: list[str] = []
    usage = dict(crowd.audit.rows("SELECT project, sum(cost_usd) FROM syndic.usage GROUP BY 1"))
    for scope, reserved, spent, violated in crowd.audit.rows(
        "SELECT scope, reserved_usd, spent_usd, violated FROM syndic.budgets"
    ):
        project = scope.partition("/")[0]
        if (reserved, violated) != (0, False):
            found.append(f"{scope}: {reserved} is left reserved, violated is {violated}")
        if not spent == usage[project] == books.charged(project):
            found.append(f"{scope}: spent {spent}, usage {usage[project]}, attempts {books.charged(project)}")
    surplus = sum(
        (Decimal(entry.body["cost_usd"]) for name in projects for entry in books.entries[name] if _unused(entry)),
        Decimal(0),
    )
    [(steps,)] = crowd.audit.rows("SELECT sum(cost_usd) FROM syndic.steps WHERE status = 'done'")
    settled = sum((books.settled(name) for name in projects), Decimal(0))
    bill = sum((call.cost_usd for call in books.calls.values()), Decimal(0))
    lost = sum((call.cost_usd for call in books.unanswered()), Decimal(0))
    if not steps + surplus == settled == bill - lost:
        found.append(f"steps {steps} + {surplus}, settled {settled}, the provider's bill {bill} - {lost}")
    return found


def _unused(entry: Entry) -> bool:
    return entry.kind == "late_answer" and not entry.body["used"]


async def _entries(url: str, projects: list[str]) -> dict[str, list[Entry]]:
    pool = create_pool(url, max_size=2)
    await pool.open()
    store = PostgresStore(pool)
    found = {project: await store.entries(project, limit=10_000) for project in projects}
    await store.close()
    return found
