"""The offline maintainer as any role's model: no key, no network, no charge, the real LiteLLM path."""

from __future__ import annotations

import asyncio
import subprocess
from decimal import Decimal
from pathlib import Path

from redis.asyncio import Redis

from agents.assignments import Work
from agents.feed import Feed
from agents.gateway import Gateway
from agents.git import GitStore
from agents.layout import Layout
from agents.model_keys import EnvironmentKeys
from agents.roles import OFFLINE_MODEL, chain_for
from agents.runner import AgentDeps, run_agent
from agents.runs import AgentOutcome, AgentRun
from agents.sandbox import Unconfined
from ledger.journal import GroupCommit
from ledger.memory import MemoryStore
from ledger.vocabulary import OutcomeKind, Role


async def run_offline(tmp_path: Path, redis: Redis, goal: str) -> tuple[AgentOutcome, MemoryStore]:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.py").write_text("import os\n\n\ndef one() -> int:\n    return 1\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        await asyncio.to_thread(subprocess.run, ["git", *arguments], cwd=source, check=True)
    store, layout = MemoryStore(), Layout(tmp_path / "state")
    git = GitStore(layout.repository("p"))
    await git.create()
    base = (await git.fetch(str(source))).commit
    await store.open_budget("p", Decimal(0))
    gateway, journal = Gateway(EnvironmentKeys()), GroupCommit(store)
    await gateway.warm()
    deps = AgentDeps(
        store=store, journal=journal, gateway=gateway, feed=Feed(redis), sandbox=Unconfined(), layout=layout, worker="w"
    )
    request = AgentRun(
        project="p", sprint=0, task="requirements", lineage="product_owner-1", role=Role.PRODUCT_OWNER,
        agent="p.product_owner.ada", work=Work.REQUIREMENTS, goal=goal, chain=chain_for(Role.PRODUCT_OWNER, {}),
        base_commit=base, budget_scope="p",
    )  # fmt: skip
    outcome = await run_agent(request, deps, stopping=asyncio.Event(), beat=lambda *_: None, holder="h")
    await journal.aclose()
    await deps.feed.settle()
    await gateway.close()
    return outcome, store


async def test_requirements_come_without_key_network_or_charge(tmp_path: Path, redis: Redis) -> None:
    outcome, store = await run_offline(tmp_path, redis, "tidy up lint findings")
    assert outcome.kind is OutcomeKind.FINISHED
    assert outcome.result["requirements"]
    assert outcome.cost_usd == 0
    models = [step for step in await store.steps(outcome.thread) if step.model]
    assert {step.model for step in models} == {OFFLINE_MODEL}
    assert all(step.usage and step.usage.prompt_tokens == 0 for step in models)


async def test_a_goal_that_needs_a_language_model_is_refused_with_what_can_be_done(
    tmp_path: Path, redis: Redis
) -> None:
    outcome, _ = await run_offline(tmp_path, redis, "write a poem about the sea and translate it into French")
    assert outcome.kind is OutcomeKind.REFUSED
    assert outcome.result["can_do"]
