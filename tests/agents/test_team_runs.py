"""Whole runs that share something: real git, real LiteLLM over HTTP, real Redis, the record in memory."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from agents.assignments import Work
from agents.feed import Feed, cards_key
from agents.gateway import Gateway
from agents.git import GitStore
from agents.layout import Layout
from agents.pricing import Price
from agents.runner import AgentDeps
from agents.sandbox import Unconfined
from ledger.errors import StoreUnreachableError
from ledger.items import Item, ItemResult, Receipt
from ledger.journal import GroupCommit
from ledger.memory import MemoryStore
from ledger.teamwork import Card
from ledger.vocabulary import AgentState, OutcomeKind, Role, StepKind
from tests.agents.scripted import Says, Server, by_turn, scripted
from tests.agents.test_runner import BRANCH, DONE, MODEL, Bench, Keys, tool_messages
from tests.support.records import Hands

POST = Says("post", (("post_board", {"entries": [{"section": "problem", "name": "cause", "text": "off by one"}]}),))
ASK = {"section": "consensus", "name": "which", "text": "which?", "options": ["left", "right"]}
VOTE = {"question": "which", "version": 1, "choice": "left", "reasoning": "near", "confidence": 0.7}
READ_BOARD = Says("look", (("read_board", {}),))


class Forgetful(MemoryStore):
    """Commits of tool steps fail as if the process had died between a tool's effect and its receipt."""

    failing = False

    async def apply(self, items: Sequence[Item], *, brief: bool = False) -> list[ItemResult]:
        if self.failing and any(isinstance(item, Receipt) and item.kind is StepKind.TOOL for item in items):
            raise StoreUnreachableError
        return await super().apply(items, brief=brief)


@pytest.fixture
def server() -> Iterator[Server]:
    with scripted() as running:
        yield running


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a.py").write_text("X = 1\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


@pytest.fixture
async def bench(tmp_path: Path, source: Path, server: Server, redis: Redis, clock: Hands) -> AsyncIterator[Bench]:
    store, layout = Forgetful(clock), Layout(tmp_path / "state")
    base = ""
    for project in ("p", "q"):
        git = GitStore(layout.repository(project))
        await git.create()
        base = (await git.fetch(str(source))).commit
        await git.create_branch(BRANCH.replace("/p.", f"/{project}."), base)
        await store.open_budget(project, Decimal(5))
        await store.open_budget(f"{project}/s1/t", None)
    gateway = Gateway(Keys(server.url), prices={MODEL: Price(Decimal("0.000001"), Decimal("0.000002"))})
    deps = AgentDeps(
        store=store, journal=GroupCommit(store), gateway=gateway, feed=Feed(redis), sandbox=Unconfined(),
        layout=layout, worker="w1", clock=clock,
    )  # fmt: skip
    yield Bench(deps, store, server, GitStore(layout.repository("p")), base)
    await deps.journal.aclose()
    await deps.feed.settle()
    await gateway.close()


def offered(server: Server) -> set[str]:
    return {tool["function"]["name"] for tool in server.requests[-1]["tools"]}


async def test_what_one_run_posts_and_votes_another_one_reads(bench: Bench) -> None:
    both = Says("ask and vote", (("post_board", {"entries": [ASK]}), ("vote", VOTE)))
    bench.server.script = by_turn(POST, both, DONE)
    outcome = await bench.run()
    assert (outcome.kind, outcome.questions) == (OutcomeKind.FINISHED, ("which",))
    bench.server.script = by_turn(READ_BOARD, DONE)
    await bench.run(lineage="engineer-2", agent="p.engineer.grace")
    [seen, _] = [*tool_messages(bench.server), None]
    assert seen is not None
    assert [(entry["name"], entry["author"]) for entry in seen["entries"]] == [("cause", "p.engineer.ada")]
    assert [vote["agent"] for vote in seen["questions"][0]["votes"]] == ["p.engineer.ada"]


async def test_a_step_that_died_after_its_effect_posts_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.behind.RETRIES_S", ())
    both = Says("ask and vote", (("post_board", {"entries": [ASK]}), ("vote", VOTE)))
    bench.server.script = by_turn(both, DONE)
    store = bench.deps.store
    assert isinstance(store, Forgetful)
    store.failing = True
    with pytest.raises(StoreUnreachableError):
        await bench.run()
    assert [entry.version for entry in (await store.board("p")).entries] == [1]
    store.failing = False
    outcome = await bench.run()
    assert (outcome.kind, outcome.questions) == (OutcomeKind.FINISHED, ("which",))
    [question] = (await store.board("p")).questions
    assert (question.entry.version, [vote.changes for vote in question.votes]) == (1, [0])
    assert bench.server.calls == 2


async def test_a_served_run_says_again_which_questions_it_asked(bench: Bench) -> None:
    bench.server.script = by_turn(Says("ask", (("post_board", {"entries": [ASK]}),)), DONE)
    first = await bench.run()
    assert (await bench.run()).questions == first.questions == ("which",)
    assert bench.server.calls == 2


async def test_what_an_agent_remembers_is_told_to_its_next_runs_until_it_expires(bench: Bench, clock: Hands) -> None:
    keep = Says("keep", (("remember", {"name": "layout", "text": "tests lie in t/", "minutes": 5}),))
    bench.server.script = by_turn(keep, DONE)
    await bench.run()
    bench.server.script = by_turn(DONE)
    await bench.run(lineage="engineer-2")
    assert "tests lie in t/" in bench.server.requests[-1]["messages"][1]["content"]
    await bench.run(lineage="engineer-3", agent="p.engineer.grace")
    assert "tests lie in t/" not in bench.server.requests[-1]["messages"][1]["content"]
    clock.move(timedelta(minutes=6))
    await bench.run(lineage="engineer-4")
    assert "tests lie in t/" not in bench.server.requests[-1]["messages"][1]["content"]
    # What the second run read is on its journal: it is told the same again although the note has expired.
    calls = bench.server.calls
    assert (await bench.run(lineage="engineer-2")).kind is OutcomeKind.FINISHED
    assert bench.server.calls == calls


async def test_a_card_is_published_when_a_run_begins_and_when_it_ends(bench: Bench, redis: Redis) -> None:
    bench.server.script = by_turn(DONE)
    published: list[AgentState] = []
    publish = bench.store.publish_card

    async def watch(project: str, card: Card) -> None:
        published.append(card.state)
        await publish(project, card)

    bench.store.publish_card = watch
    await bench.run(skills=("parsing",))
    assert published == [AgentState.IDLE, AgentState.COMPLETED]
    [card] = await bench.store.cards("p")
    assert (card.name, card.state, card.task) == ("ada", AgentState.COMPLETED, "t")
    assert {"repair", "parsing"} <= set(card.capabilities)
    await bench.deps.feed.settle()
    shown: Any = await redis.hgetall(cards_key("p"))
    assert Card.model_validate_json(shown[b"p.engineer.ada"]) == card


async def test_guidance_stands_in_the_prompt_and_stays_as_the_run_began_with_it(bench: Bench) -> None:
    bench.server.script = by_turn(POST, DONE)
    outcome = await bench.run(guidance="We use UTC.")
    assert "We use UTC." in bench.server.requests[0]["messages"][0]["content"]
    assert (await bench.run(guidance="We use CET.")).result == outcome.result
    assert bench.server.calls == 2


async def test_judges_neither_see_the_board_nor_write_on_it(bench: Bench) -> None:
    verdict = {"verdict": "approve", "confidence": 0.9, "reasons": ["fine"]}
    bench.server.script = by_turn(POST, Says("done", (("finish", verdict),)))
    outcome = await bench.run(work=Work.JUDGE, role=Role.JUDGE, agent="p.judge.technical", lineage="judge-1")
    assert outcome.kind is OutcomeKind.FINISHED
    assert not offered(bench.server) & {"read_board", "post_board", "vote", "remember"}
    assert tool_messages(bench.server)[0]["refused"]
    assert (await bench.store.board("p")).entries == ()


async def test_a_mediator_must_name_one_of_the_options(bench: Bench) -> None:
    wrong = {"choice": "both", "reasoning": "why not", "confidence": 1}
    bench.server.script = by_turn(
        Says("end", (("finish", wrong),)), Says("end", (("finish", {**wrong, "choice": "left"}),))
    )
    outcome = await bench.run(
        work=Work.MEDIATION,
        role=Role.PROJECT_MANAGER,
        agent="p.project_manager.ada",
        params={"options": ["left", "right"]},
    )
    assert (outcome.kind, outcome.result["choice"]) == (OutcomeKind.FINISHED, "left")
    assert "one of the options" in json.dumps(tool_messages(bench.server)[0])


async def test_projects_share_nothing_but_the_machine(bench: Bench, redis: Redis) -> None:
    """The same agent name, task and lineage in two projects: board, memory, cards, messages, journal and files are apart."""
    keep = ("remember", {"name": "secret", "text": "hush", "minutes": 60})
    write = ("write_file", {"path": "secret.txt", "text": "hush"})
    bench.server.script = by_turn(Says("all", (*POST.calls, ("post_board", {"entries": [ASK]}), keep, write)), DONE)
    await bench.run()
    other = {
        "project": "q",
        "agent": "q.engineer.ada",
        "branch": BRANCH.replace("/p.", "/q."),
        "budget_scope": "q/s1/t",
    }
    tree = bench.deps.layout.tree("p", BRANCH)
    peep = Says(
        "peep",
        (
            ("read_board", {}),
            ("vote", VOTE),
            ("post_board", {"entries": [{"section": "problem", "name": "cause", "text": "mine", "base": 1}]}),
            ("read_file", {"path": "secret.txt"}),
            ("read_file", {"path": str(tree / "secret.txt")}),
            ("list_files", {"glob": "../**"}),
        ),
    )
    bench.server.script = by_turn(peep, DONE)
    outcome = await bench.run(**other)
    assert outcome.kind is OutcomeKind.FINISHED
    board, vote, post, *files = tool_messages(bench.server)
    assert board == {"entries": [], "questions": []}
    assert "no question" in vote["error"]
    assert post["standing"] == []
    assert "hush" not in json.dumps(files)
    assert "hush" not in json.dumps(bench.server.requests[-1]["messages"])
    store = bench.store
    assert {entry.author for entry in (await store.board("p")).entries} == {"p.engineer.ada"}
    assert (await store.board("q")).entries == ()
    assert await store.recall("q", "q.engineer.ada") == []
    assert [card.id for card in await store.cards("q")] == ["q.engineer.ada"]
    assert not tree.samefile(bench.deps.layout.tree("q", BRANCH.replace("/p.", "/q.")))
    keys = {str(key) for key in await redis.keys("syndic:{*")}
    assert not {key for key in keys if "{q}" in key and "p.engineer" in key}
    entries = [*await store.entries("p"), *await store.entries("q")]
    assert all(entry.body.get("thread", entry.project).startswith(entry.project) for entry in entries)


async def test_a_run_cannot_publish_itself_into_another_project(bench: Bench) -> None:
    bench.server.script = by_turn(DONE)
    with pytest.raises(Exception, match="not of project"):
        await bench.run(agent="q.engineer.ada")
    assert await bench.store.cards("q") == []
