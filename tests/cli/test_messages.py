"""`syndic messages`, `syndic dlq` and where `syndic watch` goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ledger.messages import NewDeadLetter, NewMessage
from ledger.postgres import PostgresStore
from tests.cli.conftest import Syndic
from tests.cli.filled import filled_database, on_database
from tests.support.postgres import Database

ADA, EVE = "p.engineer.ada", "p.architect.eve"


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with filled_database(fill) as made:
        yield made


def message(name: str, source: str, target: str, text: str) -> NewMessage:
    return NewMessage(id=name, project="p", source=source, target=target, type="QUERY", payload={"question": text})


async def fill(store: PostgresStore) -> None:
    for agent in (ADA, EVE, "p.qa.kim"):
        await store.open_inbox("p", agent)
    await store.post(
        [
            message("q1", ADA, EVE, "which parser?"),
            message("q2", EVE, "p.qa.kim", "tested?"),
            message("q3", ADA, EVE, "which\nlexer?"),
        ]
    )
    await store.undelivered()
    await store.mark_delivered(["q1"])
    common = {"project": "p", "inbox": EVE, "reason": "poison (5 tries)", "deliveries": 5, "body": "{}"}
    await store.bury([NewDeadLetter(id="q3", **common), NewDeadLetter(id="stray", **common, is_message=False)])


@pytest.fixture
def command(syndic: Syndic, database: Database, monkeypatch: pytest.MonkeyPatch) -> Syndic:
    return on_database(syndic, database, monkeypatch)


def test_messages_are_shown_in_order_with_their_state(command: Syndic) -> None:
    lines = command("messages", "p").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert [line.split()[2] for line in lines] == ["delivered", "waiting", "dead"]
    assert lines[0].endswith(f"QUERY            {ADA} -> {EVE}  which parser?")
    assert lines[2].endswith("which lexer?")


def test_one_agents_messages_as_json(command: Syndic) -> None:
    for name in ("kim", "p.qa.kim"):
        [shown] = json.loads(command("messages", "p", "--agent", name, "--json").stdout)
        assert (shown["id"], shown["state"], shown["payload"]) == ("q2", "waiting", {"question": "tested?"})
    [last] = json.loads(command("messages", "p", "--after", "2", "--json").stdout)
    assert last["id"] == "q3"


def test_an_unknown_project_is_an_error(command: Syndic) -> None:
    result = command("messages", "q")
    assert result.exit_code == 1
    assert "there is no record of a project 'q'" in result.stderr


def test_dead_letters_are_listed_replayed_and_dropped(command: Syndic) -> None:
    listed = json.loads(command("dlq", "list", "p", "--json").stdout)
    assert [(letter["id"], letter["reason"]) for letter in listed] == [
        ("q3", "poison (5 tries)"),
        ("stray", "poison (5 tries)"),
    ]
    assert "stray" in command("dlq", "list").stdout
    assert command("dlq", "list", "other").stderr == "there is no dead letter\n"

    result = command("dlq", "replay", "q3", "stray")
    assert result.exit_code == 1
    assert result.stdout == "replayed q3\n"
    assert "dead letter stray: it never was a message of ours" in result.stderr
    assert [line.split()[2] for line in command("messages", "p").stdout.splitlines()][2] == "waiting"

    [dropped] = json.loads(command("dlq", "drop", "stray", "--json").stdout)
    assert dropped == {"id": "stray", "state": "dropped", "refusal": None}
    assert command("dlq", "list", "--json").stdout == "[]\n"
    settled = json.loads(command("dlq", "list", "--all", "--json").stdout)
    assert [letter["settled"] for letter in settled] == ["replayed", "dropped"]
    assert settled[0]["settled_by"].startswith("person:")


def test_a_watch_goes_on_only_from_an_id_of_the_feed(command: Syndic) -> None:
    result = command("watch", "p", "--from", "yesterday")
    assert result.exit_code == 2
    assert "an id of the feed looks like" in result.stderr
