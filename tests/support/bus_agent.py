"""One agent as a process: sends its share of messages, reads its inbox, relays for all, and dies at a given moment.

`python -m tests.support.bus_agent '<Life as JSON>'`
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from redis.asyncio import Redis

from agents.bus import Relay
from agents.consuming import ConsumerSeat, consume
from agents.envelope import Envelope
from agents.errors import AlreadyReadError
from agents.inbox import Inbox
from ledger.items import ItemStatus
from ledger.messages import Message, NewMessage
from ledger.postgres import PostgresStore, create_pool
from ledger.rows import Lease, ThreadInfo
from ledger.vocabulary import Record, StepKind
from tests.support.processes import die_with_parent
from tests.support.records import MINUTE, receipt

POINTS = ("handed", "committed", "acknowledged", "sent", "numbered", "added")
"""Before the commit; between it and XACK; after XACK; after the outbox's commit; between numbering and XADD; between XADD
and the note that it was delivered."""
PATIENCE = 8
"""Messages read after which a process that was to die as the relay, and never had the turn, dies as a reader."""
PACE_S = 0.05


class Life(Record):
    """What a process is told: who it is, whom it writes to, and where it dies (nowhere: `point` is None)."""

    project: str
    agent: str
    targets: tuple[str, ...]
    """Addressee of its n-th message."""
    dsn: str
    redis_port: int
    log: str
    """File that gets a line for each death: where it was."""
    point: str | None = None
    passes: int = 1


class Death:
    """Counts how often a moment was passed, and kills the process there."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._passed = dict.fromkeys(POINTS, 0)

    def pass_by(self, point: str) -> None:
        self._passed[point] += 1
        wanted = self._life.point
        impatient = wanted is not None and point == "committed" and self._passed[point] >= PATIENCE
        if impatient or (point == wanted and self._passed[point] >= self._life.passes):
            self.come(point)

    def come(self, point: str) -> None:
        with Path(self._life.log).open("a") as log:
            log.write(f"{point}\n")
        os.kill(os.getpid(), signal.SIGKILL)


class MortalStore(PostgresStore):
    death: Death

    async def undelivered(self, limit: int = 100) -> list[Message]:
        found = await super().undelivered(limit)
        if found:
            self.death.pass_by("numbered")
        return found

    async def mark_delivered(self, ids: Iterable[str], generation: int | None = None) -> None:
        self.death.pass_by("added")
        await super().mark_delivered(list(ids), generation)


class MortalInbox(Inbox):
    death: Death

    async def acknowledge(self, ids: Iterable[str]) -> None:
        await super().acknowledge(ids)
        self.death.pass_by("acknowledged")


def info(project: str, agent: str, task: str) -> ThreadInfo:
    return ThreadInfo(
        thread=f"{project}/s1/{task}/{agent}", project=project, sprint=1, task=task, role="engineer", agent=agent,
        budget_scope=project, prompt_version="1",
    )  # fmt: skip


def message_of(project: str, agent: str, target: str, n: int) -> NewMessage:
    payload = {"n": n, "text": f"{agent} says {n}"}
    return NewMessage(
        id=f"{agent}/{n}", project=project, source=agent, target=target, type="CONTEXT_SHARE", payload=payload
    )


class Agent:
    def __init__(self, life: Life, store: MortalStore, redis: Redis) -> None:
        self._life = life
        self._store = store
        self._redis = redis
        self._stopping = asyncio.Event()
        self._ordinal = 0

    async def live(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stopping.set)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Relay(self._store, self._redis).run(self._stopping))
            tasks.create_task(self._send())
            tasks.create_task(self._read())

    async def _send(self) -> None:
        life = self._life
        lease = await self._store.acquire_lease(info(life.project, life.agent, "send"), life.agent, MINUTE * 10)
        sent = {step.ordinal for step in await self._store.steps(lease.thread)}
        for n, target in enumerate(life.targets):
            if n in sent:
                continue
            message = message_of(life.project, life.agent, target, n)
            [done] = await self._store.apply([receipt(lease, n, kind=StepKind.TOOL, outbox=(message,))])
            assert done.status is ItemStatus.OK, done.detail
            self._store.death.pass_by("sent")
            try:
                await asyncio.wait_for(self._stopping.wait(), PACE_S)
            except TimeoutError:
                continue
            return

    async def _read(self) -> None:
        life = self._life
        lease = await self._store.acquire_lease(info(life.project, life.agent, "read"), life.agent, MINUTE * 10)
        self._ordinal = len(await self._store.steps(lease.thread))
        inbox = MortalInbox(self._redis, self._store, life.project, life.agent)
        inbox.death = self._store.death
        seat = ConsumerSeat(self._store, life.project, life.agent, holder=life.agent)

        async def handle(envelope: Envelope) -> None:
            await self._handle(envelope, lease)

        await consume(inbox, seat, handle, self._stopping)

    async def _handle(self, envelope: Envelope, lease: Lease) -> None:
        """The effect is a step whose result names the message."""
        self._store.death.pass_by("handed")
        if "poison" in envelope.payload:
            raise ValueError("indigestible")
        if "deadly" in envelope.payload:
            self._store.death.come("deadly")
        effect = {"id": envelope.id, "source": envelope.source, "n": envelope.payload["n"]}
        step = receipt(lease, self._ordinal, effect, kind=StepKind.INPUT, acknowledged=(envelope.id,))
        [done] = await self._store.apply([step])
        if done.status is ItemStatus.TAKEN:
            raise AlreadyReadError(done.detail)
        assert done.status is ItemStatus.OK, done
        self._ordinal += 1
        self._store.death.pass_by("committed")


async def main(life: Life) -> None:
    pool = create_pool(life.dsn, max_size=1)
    await pool.open()
    store = MortalStore(pool)
    store.death = Death(life)
    redis = Redis(port=life.redis_port)
    try:
        await Agent(life, store, redis).live()
    finally:
        await redis.aclose()
        await store.close()


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(main(Life.model_validate_json(sys.argv[1])))
