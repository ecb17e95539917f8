"""Runs that go on from an earlier step: real git, real LiteLLM over HTTP, real Redis, the record in Postgres.

The provider's own count of calls says that nothing is asked twice.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from activities.lineage_contracts import GiveUpTask, ReadRun, RewindRun, Rewound
from activities.lineages import Lineages
from agents.assignments import Feedback
from agents.errors import LostLeaseError
from agents.feed import Feed
from agents.gateway import Gateway
from agents.git import GitStore
from agents.layout import Layout
from agents.messages import feedback_message
from agents.pricing import Price
from agents.runner import AgentDeps
from agents.runs import AgentOutcome
from agents.sandbox import Unconfined
from agents.workplace import run_branch
from ledger.chain import verify
from ledger.errors import LeaseLostError
from ledger.journal import GroupCommit
from ledger.postgres import PostgresStore, create_pool
from ledger.rows import ThreadInfo
from ledger.vocabulary import OutcomeKind
from tests.agents.conftest import eventually
from tests.agents.scripted import Server, by_turn, scripted
from tests.agents.test_runner import BRANCH, DONE, MODEL, MORE, READ, WRITE, Bench, Keys
from tests.support.postgres import Database, migrated_database, running_postgres

AGAIN = "engineer-2"
NEXT = 5
"""The step after `WRITE`: its model call is at 3, the file is written at 4."""


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with running_postgres() as server, migrated_database(server) as made:
        yield made


@pytest.fixture
def provider() -> Iterator[Server]:
    with scripted() as running:
        yield running


@pytest.fixture
async def bench(tmp_path: Path, provider: Server, redis: Redis, database: Database) -> AsyncIterator[Bench]:
    folder, project = tmp_path / "source", f"p-{secrets.token_hex(4)}"
    folder.mkdir()
    (folder / "a.py").write_text("X = 1\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        await asyncio.to_thread(subprocess.run, ["git", *arguments], cwd=folder, check=True)
    pool = create_pool(database.worker, max_size=4)
    await pool.open()
    store, layout = PostgresStore(pool), Layout(tmp_path / "state")
    git = GitStore(layout.repository(project))
    await git.create()
    base = (await git.fetch(str(folder))).commit
    await git.create_branch(BRANCH, base)
    await store.open_budget(project, Decimal(5))
    await store.open_budget(f"{project}/s1/t", None)
    gateway = Gateway(Keys(provider.url), prices={MODEL: Price(Decimal("0.000001"), Decimal("0.000002"))})
    deps = AgentDeps(
        store=store, journal=GroupCommit(store), gateway=gateway, feed=Feed(redis), sandbox=Unconfined(),
        layout=layout, worker="w1",
    )  # fmt: skip
    yield Stand(deps, store, provider, git, base, project)
    await deps.journal.aclose()
    await deps.feed.settle()
    await gateway.close()
    await store.close()


class Stand(Bench):
    """A bench whose project has a name of its own: the database is shared."""

    def __init__(
        self, deps: AgentDeps, store: PostgresStore, server: Server, git: GitStore, base: str, project: str
    ) -> None:
        super().__init__(deps, store, server, git, base)  # pyright: ignore[reportArgumentType] - the twin's real brother
        self.project = project
        self.lineages = Lineages(store, deps.layout)

    async def go(self, lineage: str = "engineer-1") -> AgentOutcome:
        agent = f"{self.project}.engineer.ada"
        return await self.run(project=self.project, agent=agent, lineage=lineage, budget_scope=f"{self.project}/s1/t")

    def thread(self, lineage: str = "engineer-1") -> str:
        return f"{self.project}/s1/t/{lineage}"

    def info(self) -> ThreadInfo:
        return ThreadInfo(
            thread=self.thread(), project=self.project, sprint=1, task="t", role="engineer",
            agent=f"{self.project}.engineer.ada", budget_scope=f"{self.project}/s1/t", prompt_version="1",
        )  # fmt: skip

    async def rewind(self, step: int = NEXT) -> Rewound:
        return await self.lineages.rewind_run(
            RewindRun(
                project=self.project, sprint=1, task="t", source=self.thread(), target=self.thread(AGAIN), step=step,
                by="pat",
            )
        )  # fmt: skip

    async def billed(self) -> int:
        return sum(row.calls for row in await self.store.usage(self.project))


async def test_a_rewound_run_is_served_up_to_its_step_and_asks_only_from_there(bench: Stand) -> None:
    bench.server.script = by_turn(READ, WRITE, MORE, DONE)
    first = await bench.go()
    assert (first.model_calls, bench.server.calls) == (4, 4)
    rewound = await bench.rewind()
    assert rewound.refusal is None
    bench.server.script = by_turn(READ, WRITE, DONE)
    second = await bench.go(AGAIN)
    assert second.kind is OutcomeKind.FINISHED
    # Two answers were served; the one call that was made is the only one that the new run is charged for.
    assert (bench.server.calls, second.model_calls, await bench.billed()) == (5, 1, 5)
    assert second.cost_usd == first.cost_usd / 4
    budget = await bench.store.budget(bench.project)
    assert (budget.reserved_usd, budget.spent_usd) == (0, first.cost_usd + second.cost_usd)


async def test_the_worktree_goes_back_to_the_last_served_commit(bench: Stand) -> None:
    bench.server.script = by_turn(READ, WRITE, MORE, DONE)
    first = await bench.go()
    rewound = await bench.rewind()
    tree = bench.deps.layout.tree(bench.project, BRANCH)
    (tree / "stray.txt").write_text("left behind")
    bench.server.script = by_turn(READ, WRITE, DONE)
    second = await bench.go(AGAIN)
    assert second.commit == rewound.commit == await bench.git.head(BRANCH) != first.commit
    assert sorted(path.name for path in tree.iterdir() if not path.name.startswith(".")) == ["a.py"]
    # What the run before had made is no part of the branch any more, and can still be looked at.
    assert first.commit is not None
    assert await bench.show(first.commit, "b.py") == "Y = 1\n"


async def test_the_old_lineage_stays_as_it_was_and_the_chain_says_where_the_new_one_began(bench: Stand) -> None:
    bench.server.script = by_turn(READ, WRITE, MORE, DONE)
    await bench.go()
    before = await bench.store.steps(bench.thread())
    await bench.rewind()
    await bench.go(AGAIN)
    assert await bench.store.steps(bench.thread()) == before
    served = [step for step in await bench.store.steps(bench.thread(AGAIN)) if step.origin]
    assert [(step.ordinal, step.sub, step.result) for step in served] == [
        (step.ordinal, step.sub, step.result) for step in before if step.ordinal < NEXT
    ]
    entries = await bench.store.entries(bench.project)
    assert verify(entries).ok
    [entry] = [entry.body for entry in entries if entry.kind == "run_rewound"]
    assert (entry["source"], entry["target"], entry["step"]) == (bench.thread(), bench.thread(AGAIN), NEXT)
    assert entry["claimed_by"] == "pat"
    assert sum(entry.kind == "step_recorded" for entry in entries) == len(before) * 2 - len(served)


async def test_a_run_in_the_middle_of_a_call_is_rewound_and_its_call_is_settled(bench: Stand) -> None:
    """The old run is not stopped in order here: its worker has frozen, and answers when the new run is done."""
    bench.server.script = by_turn(READ, WRITE, replace(MORE, hold=bench.hold), DONE)
    frozen = asyncio.create_task(bench.go())
    await eventually(lambda: bench.server.calls == 3)
    await bench.rewind()
    assert len(await bench.store.in_doubt(bench.project)) == 1
    bench.server.script = by_turn(READ, WRITE, DONE)
    second = await bench.go(AGAIN)
    assert (second.kind, second.model_calls) == (OutcomeKind.FINISHED, 1)
    bench.hold.set()
    with pytest.raises(LostLeaseError):
        await frozen
    assert await bench.store.in_doubt(bench.project) == []
    assert (bench.server.calls, await bench.billed()) == (4, 4)
    assert await bench.git.head(BRANCH) == second.commit


async def test_a_note_is_read_at_the_step_from_which_the_run_goes_on(bench: Stand) -> None:
    bench.server.script = by_turn(READ, WRITE, MORE, DONE)
    await bench.go()
    await bench.rewind()
    note = feedback_message(
        id=f"{bench.thread(AGAIN)}/note", project=bench.project, target=f"{bench.project}.engineer.ada",
        feedback=Feedback(source="person:pat", text="stop after the first file"), source="person:pat",
    )  # fmt: skip
    await bench.store.post([note])
    bench.server.script = by_turn(READ, WRITE, DONE)
    second = await bench.go(AGAIN)
    assert second.kind is OutcomeKind.FINISHED
    steps = {(step.ordinal, step.name) for step in await bench.store.steps(bench.thread(AGAIN)) if not step.origin}
    assert (NEXT, "inbox") in steps
    assert "stop after the first file" in json.dumps(bench.server.requests[-1]["messages"][-1])


async def test_a_run_says_how_many_steps_it_has_and_no_later_one_is_gone_on_from(bench: Stand) -> None:
    bench.server.script = by_turn(READ, WRITE, MORE, DONE)
    await bench.go()
    so_far = await bench.lineages.read_run(ReadRun(thread=bench.thread()))
    assert (so_far.steps, so_far.model_calls, so_far.cost_usd > 0) == (9, 4, True)
    assert (await bench.lineages.read_run(ReadRun(thread="nobody"))).steps == 0
    assert "no step 10" in str((await bench.rewind(10)).refusal)
    assert (await bench.rewind()) == (await bench.rewind())


async def test_a_task_that_is_given_up_leaves_nothing_behind_but_its_record(bench: Stand) -> None:
    bench.server.script = by_turn(READ, WRITE, DONE)
    outcome = await bench.go()
    lease = await bench.store.acquire_lease(bench.info(), "stuck", timedelta(minutes=1))
    reader = run_branch(bench.request(project=bench.project, lineage="judge-quality-1.1"))
    await bench.git.create_branch(reader, bench.base)
    request = GiveUpTask(
        project=bench.project, sprint=1, task="t", branch=BRANCH, base_commit=bench.base, by="pat", reason="late"
    )
    given = await bench.lineages.give_up_task(request)
    assert (given.commit, given.in_doubt) == (outcome.commit, 0)
    assert given.kept is not None
    assert await bench.git.resolve(given.kept) == outcome.commit
    assert [await bench.git.head(branch) for branch in (BRANCH, reader)] == [None, None]
    assert not bench.deps.layout.tree(bench.project, BRANCH).exists()
    with pytest.raises(LeaseLostError):
        await bench.store.renew_lease(lease, timedelta(minutes=1))
    assert await bench.lineages.give_up_task(request) == given
    [entry] = [one.body for one in await bench.store.entries(bench.project) if one.kind == "task_given_up"]
    assert (entry["commit"], entry["by"], entry["reason"]) == (outcome.commit, "pat", "late")
