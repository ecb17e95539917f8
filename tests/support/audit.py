"""What the record did while a test killed and froze its writers: triggers of the tests' own on the tables of the record."""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg

WATCH = """
CREATE TABLE public.audit (
    seq bigserial PRIMARY KEY, what text NOT NULL, thread text NOT NULL, ordinal integer, sub integer, attempt integer,
    kind text, status text, epoch bigint, lease bigint, worker text);

CREATE FUNCTION public.audit_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.audit (what, thread, ordinal, sub, attempt, kind, status, epoch, lease, worker)
    VALUES ('step', NEW.thread, NEW.ordinal, NEW.sub, NEW.attempt, NEW.kind, NEW.status, NEW.epoch,
            (SELECT t.epoch FROM syndic.threads AS t WHERE t.thread = NEW.thread), NEW.worker);
    IF NEW.status = 'done' THEN
        PERFORM pg_notify('steps', NEW.thread || ' ' || NEW.ordinal);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON syndic.steps FOR EACH ROW EXECUTE FUNCTION public.audit_step();

CREATE FUNCTION public.audit_doubt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.audit (what, thread, ordinal, sub, attempt, epoch, worker)
    VALUES ('doubt', NEW.thread, NEW.ordinal, NEW.sub, NEW.attempt, NEW.epoch, NEW.worker);
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER UPDATE ON syndic.attempts FOR EACH ROW
    WHEN (NEW.state = 'in_doubt' AND OLD.state <> 'in_doubt') EXECUTE FUNCTION public.audit_doubt();

CREATE FUNCTION public.audit_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.audit (what, thread, epoch) VALUES ('lease', NEW.thread, NEW.epoch);
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OF epoch ON syndic.threads FOR EACH ROW EXECUTE FUNCTION public.audit_lease();
"""
"""A row's number is drawn while the writer holds the lock on the thread, so that the numbers tell who came first."""


@dataclass(frozen=True)
class Audit:
    """Reads the record as its owner; each step that is done is told on the channel `steps`."""

    url: str

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query.encode(), values or None).fetchall()

    def watch(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(WATCH)

    def wait_for_steps(self, count: int) -> None:
        """Until so many more steps are done."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("LISTEN steps")
            with closing(connection.notifies(timeout=120)) as news:
                for _ in range(count):
                    next(news)

    def doubted(self) -> list[tuple[Any, ...]]:
        """(thread, ordinal, sub, attempt) of all that was ever listed in doubt, settled since or not."""
        return self.rows("SELECT thread, ordinal, sub, attempt FROM public.audit WHERE what = 'doubt' ORDER BY seq")

    def intruders(self) -> list[str]:
        """Writes of runs that had lost their lease.

        The journal stamps the epoch itself, so it is no witness of its own: under one epoch of a thread only one worker
        may write, and none after the next epoch was taken. The exception by design is the late answer of a model: it
        settles an attempt in doubt, is the one that is used, and stands on the ledger as such.
        """
        late = {
            (row[0], row[1], row[2])
            for row in self.rows(
                "SELECT body ->> 'thread', (body ->> 'ordinal')::int, (body ->> 'sub')::int FROM syndic.ledger "
                "WHERE kind = 'late_answer' AND (body ->> 'used')::boolean"
            )
        }
        epochs: dict[str, int] = {}
        writers: dict[tuple[str, int], set[str]] = defaultdict(set)
        found: list[str] = []
        columns = "what, thread, ordinal, sub, kind, status, epoch, lease, worker"
        for what, thread, ordinal, sub, kind, status, epoch, lease, worker in self.rows(
            f"SELECT {columns} FROM public.audit ORDER BY seq"
        ):
            if what == "lease":
                epochs[thread] = epoch
            elif what == "step" and status != "in_doubt":
                place = f"{thread} {ordinal}.{sub} {kind} {status} by {worker} at epoch {epoch} of {epochs[thread]}"
                if lease != epochs[thread]:
                    found.append(f"{place}: the lease was at {lease}")
                if epoch != epochs[thread]:
                    if (kind, status) != ("model", "done") or (thread, ordinal, sub) not in late:
                        found.append(place)
                    continue
                writers[thread, epoch].add(worker)
        return found + [f"{place}: {sorted(names)}" for place, names in writers.items() if len(names) > 1]
