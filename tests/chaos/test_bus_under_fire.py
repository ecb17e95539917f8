"""Messages among agents in processes of their own, while readers, senders and relays are killed and Redis forgets."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from agents.appending import inbox_key
from ledger.messages import NewMessage
from ledger.postgres import PostgresStore, create_pool
from tests.support.bus_agent import POINTS, Life, message_of
from tests.support.postgres import Database, migrated_database, running_postgres
from tests.support.redis import RedisServer

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "fire"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scale:
    agents: int
    messages: int
    kills: int
    restarts: int
    deadline_s: float


SMALL = Scale(agents=3, messages=60, kills=6, restarts=1, deadline_s=100)
FULL = Scale(agents=20, messages=1_000, kills=100, restarts=5, deadline_s=900)


@dataclass
class Crowd:
    """The agents' processes: keeps each alive until all is read, and knows how each of them died."""

    scale: Scale
    database: Database
    server: RedisServer
    log: Path
    dice: random.Random = field(default_factory=lambda: random.Random(20260728))
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    planned: int = 0

    def __post_init__(self) -> None:
        names = [f"{PROJECT}.engineer.a{n}" for n in range(self.scale.agents)]
        share = self.scale.messages // self.scale.agents
        self.targets: dict[str, tuple[str, ...]] = {}
        for place, name in enumerate(names):
            others = [names[(place + 1 + n % (len(names) - 1)) % len(names)] for n in range(share)]
            self.dice.shuffle(others)
            self.targets[name] = tuple(others)

    def spawn(self, agent: str) -> None:
        point, passes = None, 1
        if self.seeded_deaths < self.scale.kills:
            point, passes = POINTS[self.planned % len(POINTS)], self.dice.randrange(2, 5)
            self.planned += 1
        life = Life(
            project=PROJECT, agent=agent, targets=self.targets[agent], dsn=self.database.worker,
            redis_port=self.server.port, log=str(self.log), point=point, passes=passes,
        )  # fmt: skip
        command = [sys.executable, "-m", "tests.support.bus_agent", life.model_dump_json()]
        self.processes[agent] = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)

    def replace_the_dead(self) -> None:
        for agent, process in list(self.processes.items()):
            code = process.poll()
            if code is None:
                continue
            assert code == -signal.SIGKILL, f"{agent} ended with {code}"
            self.spawn(agent)

    @property
    def deaths(self) -> Counter[str]:
        """How many died where."""
        return Counter(self.log.read_text().split() if self.log.exists() else ())

    @property
    def seeded_deaths(self) -> int:
        return self.deaths.total() - self.deaths["deadly"]

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def asking(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database.owner, autocommit=True) as connection:
        yield connection


def count(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


READ = "SELECT count(*) FROM syndic.messages WHERE read_by_step IS NOT NULL"
DEAD = "SELECT count(*) FROM syndic.dead_letters"


async def prepare(database: Database, crowd: Crowd) -> list[NewMessage]:
    """Inboxes, and two messages that cannot be digested among those for the first agents."""
    pool = create_pool(database.worker)
    await pool.open()
    store = PostgresStore(pool)
    names = list(crowd.targets)
    for name in [*names, "stranger"]:
        await store.open_inbox(PROJECT, name)
    poison = [
        message_of(PROJECT, "stranger", names[place], place).model_copy(update={"payload": {"n": place, kind: True}})
        for place, kind in enumerate(("poison", "deadly"))
    ]
    await store.post(poison)
    await store.close()
    return poison


def run(crowd: Crowd, connection: psycopg.Connection[Any]) -> None:
    """Until every message is read: replace who dies, restart Redis at shares of the way, and flush it once."""
    scale, started = crowd.scale, time.monotonic()
    moments = [scale.messages * (n + 1) // (scale.restarts + 2) for n in range(scale.restarts + 1)]
    flush_at = moments[len(moments) // 2]
    for agent in crowd.targets:
        crowd.spawn(agent)
    while True:
        assert time.monotonic() - started < scale.deadline_s, status(crowd, connection)
        crowd.replace_the_dead()
        read = count(connection, READ)
        while moments and read >= moments[0]:
            if moments.pop(0) == flush_at:
                crowd.server.client().flushall()
            else:
                crowd.server.kill()
                crowd.server.start()
        if read == scale.messages and count(connection, DEAD) == 2:
            return
        time.sleep(0.05)


def status(crowd: Crowd, connection: psycopg.Connection[Any]) -> str:
    unread = connection.execute("SELECT * FROM syndic.unread").fetchall()
    letters = connection.execute("SELECT id, reason FROM syndic.dead_letters").fetchall()
    return f"read {count(connection, READ)}, deaths {dict(crowd.deaths)}, unread {unread}, dead {letters}"


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(SMALL, id="small", marks=pytest.mark.chaos),
        pytest.param(FULL, id="full", marks=[pytest.mark.chaos, pytest.mark.timeout(1_200)]),
    ],
)
def test_every_message_is_read_once_and_in_order_whatever_dies(scale: Scale, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    with running_postgres() as dsn, migrated_database(dsn) as database, asking(database) as connection:
        crowd = Crowd(scale, database, server, tmp_path / "deaths")
        poison = asyncio.run(prepare(database, crowd))
        server.start()
        try:
            run(crowd, connection)
            wait_for_acknowledgements(crowd, server)
        finally:
            crowd.stop()
            server.kill()
        check_effects(crowd, connection)
        check_dead_letters(connection, poison)
        log.info("deaths: %s", dict(crowd.deaths))
        assert crowd.seeded_deaths >= scale.kills
        # Only one relay at a time has the turn, so that a small crowd may see none of them die at work.
        assert set(crowd.deaths) >= ({*POINTS, "deadly"} if scale is FULL else {"committed"}), crowd.deaths


def wait_for_acknowledgements(crowd: Crowd, server: RedisServer) -> None:
    """Nothing is left pending in any group: what was read is acknowledged, what was buried too."""
    deadline = time.monotonic() + 30
    while True:
        crowd.replace_the_dead()
        client = server.client()
        open_entries = {name: left for name in crowd.targets if (left := left_in(client, name))}
        if not open_entries:
            return
        assert time.monotonic() < deadline, open_entries
        time.sleep(0.05)


def left_in(client: redis.Redis, agent: str) -> int:
    key = inbox_key(PROJECT, agent)
    try:
        group: Any = client.xinfo_groups(key)[0]
    except (redis.ResponseError, IndexError):
        return 0  # flushed, and nothing unread was left to deliver again
    behind: Any = client.xrange(key, min=f"({group['last-delivered-id'].decode()}")
    return group["pending"] + len(behind)


def check_effects(crowd: Crowd, connection: psycopg.Connection[Any]) -> None:
    sent = {f"{agent}/{n}": to for agent, targets in crowd.targets.items() for n, to in enumerate(targets)}
    query = """SELECT t.agent, s.result ->> 'id', s.result ->> 'source', (s.result ->> 'n')::int
                 FROM syndic.steps AS s JOIN syndic.threads AS t USING (thread)
                WHERE s.kind = 'input' ORDER BY t.agent, s.ordinal"""
    effects = connection.execute(query).fetchall()
    assert Counter(id for _, id, _, _ in effects) == Counter(list(sent)), "each message has exactly one effect"
    assert all(sent[id] == agent for agent, id, _, _ in effects), "and its addressee made it"
    heard: dict[tuple[str, str], list[int]] = {}
    for agent, _, source, n in effects:
        heard.setdefault((source, agent), []).append(n)
    disordered = {pair: numbers for pair, numbers in heard.items() if numbers != sorted(numbers)}
    assert disordered == {}
    assert count(connection, "SELECT count(*) FROM syndic.unread") == 0


def check_dead_letters(connection: psycopg.Connection[Any], poison: list[NewMessage]) -> None:
    letters = dict(connection.execute("SELECT id, reason FROM syndic.dead_letters").fetchall())
    assert set(letters) == {message.id for message in poison}
    assert letters[poison[0].id].startswith("ValueError: indigestible (")
    assert "never acknowledged: each reader ended while it had it" in letters[poison[1].id]
