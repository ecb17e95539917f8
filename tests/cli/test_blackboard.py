"""`syndic board`: what stands there, what was voted, who is on the team."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from agents.team import card
from ledger.postgres import PostgresStore
from ledger.rows import ThreadInfo
from ledger.teamwork import BoardPost, NewVote, Section, StepPlace, Verdict
from ledger.vocabulary import AgentState, Role
from tests.cli.conftest import Syndic
from tests.cli.filled import filled_database, on_database
from tests.support.postgres import Database
from tests.support.records import MINUTE

ADA = "p.engineer.ada"


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with filled_database(fill) as made:
        yield made


async def fill(store: PostgresStore) -> None:
    info = ThreadInfo(
        thread="p/s1/t/a", project="p", sprint=1, task="t", role="engineer", agent=ADA, budget_scope="p",
        prompt_version="v2",
    )  # fmt: skip
    lease = await store.acquire_lease(info, "w", MINUTE)

    def step(number: int) -> StepPlace:
        return StepPlace(thread=lease.thread, epoch=lease.epoch, key=f"{lease.thread}/{number}/0")

    cause = BoardPost(section=Section.PROBLEM, name="cause", text="[bold]off by one[/bold]\x1b[31m in a.py")
    await store.post_board(step(1), [cause])
    for number, name in enumerate(("which", "when")):
        asked = BoardPost(section=Section.CONSENSUS, name=name, text=f"{name}?", options=("left", "right"))
        await store.post_board(step(10 + number), [asked])
        vote = NewVote(question=name, version=1, choice="left", reasoning="it is near", confidence=80)
        await store.cast_vote(step(20 + number), vote)
    verdict = Verdict(question="when", version=1, choice="left", how="mediator", decided_by="p.project_manager.leslie")
    await store.close_question("p", verdict, 1)
    await store.publish_card("p", card(ADA, Role.ENGINEER, skills=("parsing",), state=AgentState.COMPLETED, task="t"))


@pytest.fixture
def board(syndic: Syndic, database: Database, monkeypatch: pytest.MonkeyPatch) -> Syndic:
    monkeypatch.setenv("COLUMNS", "140")
    command = on_database(syndic, database, monkeypatch)
    return lambda *arguments: command("board", *arguments)


def test_people_see_sections_authors_votes_and_the_team(board: Syndic) -> None:
    shown = board("p")
    assert shown.exit_code == 0
    for words in (
        "problem",
        "cause  v1 by p.engineer.ada",
        "it is near",
        "decided: left (mediator",
        "completed",
        "parsing",
    ):
        assert words in shown.stdout
    assert "open: left 1, right 0" in shown.stdout


def test_what_agents_wrote_is_neither_markup_nor_obeyed_by_the_terminal(board: Syndic) -> None:
    text = board("p").stdout
    assert "[bold]off by one[/bold]" in text
    assert "\x1b" not in text


def test_machines_get_one_document(board: Syndic) -> None:
    told = json.loads(board("p", "--json").stdout)
    assert [entry["name"] for entry in told["entries"]] == ["when", "which", "cause"]
    assert [question["verdict"] and question["verdict"]["choice"] for question in told["questions"]] == ["left", None]
    [agent] = told["agents"]
    assert (agent["id"], agent["state"], agent["load"]) == (ADA, "completed", agent["load"])


def test_an_unknown_project_is_named(board: Syndic) -> None:
    told = board("nobody")
    assert told.exit_code == 1
    assert "there is no record of a project 'nobody'" in told.stderr
