"""The part of the Postgres store that begins and ends lineages."""

from __future__ import annotations

from ledger._session import Session
from ledger.clock import Clock
from ledger.errors import LineageError
from ledger.lineages import Forked


class PostgresLineages:
    """Keeps `ledger.lineages.LineageStore`."""

    _session: Session
    _clock: Clock

    async def fork(self, source: str, target: str, step: int) -> Forked:
        values = {"source": source, "target": target, "step": step, "now": self._clock()}
        [row] = await self._session.rows("fork", values)
        if (refusal := row["answer"].get("refusal")) is not None:
            raise LineageError(refusal)
        return Forked.model_validate(row["answer"])

    async def retire(self, project: str, sprint: int, task: str) -> int:
        [row] = await self._session.rows("retire", {"project": project, "sprint": sprint, "task": task})
        return row["in_doubt"]
