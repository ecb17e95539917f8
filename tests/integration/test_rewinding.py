"""A task at work is told to go on from an earlier step, on real processes: what is kept, done again, paid and left behind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.rehearsal import server
from agents.rehearsal.script import Rule, Said, Saying
from agents.rehearsal.wire import Asked
from ledger.vocabulary import project_scope
from tests.support.audit import Audit
from tests.support.crowd import JUDGES, Counting
from tests.support.running import Running, eventually, make_repository, running
from workers.commands.provider import exports

PROJECT, TASK = "again", "notes"
WORKFLOW = f"project/{PROJECT}/sprint/1/task/{TASK}"
FIRST, SECOND = (f"{PROJECT}/s1/{TASK}/engineer-1.{lineage}" for lineage in (1, 2))
NOTE = "the second page is to be about pears"
PAGES = ("one", "two", "three", "four", "five", "six")
A_CALL_S = 0.5
"""So that pages are left to write when the run hears, with its next heartbeat, that it is to stop."""
TOLD_AT = 3
"""The call during whose answer it is rewound."""
REWOUND_AT = 1
"""The page that is written anew."""


class Writer(Counting):
    """The engineer writes a page a turn, the second about pears once it has read the note; judges approve."""

    def __init__(self) -> None:
        super().__init__(turns=len(PAGES) + 1, first_byte_s=A_CALL_S)

    def rule_for(self, asked: Asked) -> Rule:
        counted = super().rule_for(asked)
        if '"role": "judge"' in asked.messages[1]["content"]:
            return counted
        return Rule(say=Saying(calls=(self._write(asked),)), bill=counted.bill)

    def _write(self, asked: Asked) -> Said:
        if asked.turn == len(PAGES):
            evidence = [{"claim": "it is written", "source": "diff:pages/one.txt"}]
            return Said(name="finish", arguments={"summary": "written", "outcome": "changed", "evidence": evidence})
        page = "pears" if asked.turn == REWOUND_AT and NOTE in json.dumps(asked.messages) else PAGES[asked.turn]
        return Said(name="write_file", arguments={"path": f"pages/{page}.txt", "text": f"about {page}\n"})


@pytest.fixture(scope="module")
def writer() -> Writer:
    return Writer()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, writer: Writer) -> Iterator[Running]:
    with (
        server.serving(writer) as url,
        running(tmp_path_factory.mktemp("again"), exports(url, writer.rehearsal)) as started,
    ):
        started.start_worker()
        started.make_current()
        yield started


@dataclass(frozen=True)
class Story:
    """What is left when the rewound task has ended."""

    repository: Path
    audit: Audit
    step: int
    """The one that was named."""


@pytest.fixture(scope="module")
def story(stack: Running, writer: Writer, tmp_path_factory: pytest.TempPathFactory) -> Story:
    audit = Audit(stack.addresses["owner_database_url"])
    repository = make_repository(tmp_path_factory.mktemp("pages") / "repository", {"README.md": "pages\n"})
    told: list[int] = []

    def rewind() -> None:
        [(step,)] = audit.rows(
            "SELECT ordinal FROM syndic.steps WHERE thread = %s AND kind = 'model' ORDER BY ordinal OFFSET %s LIMIT 1",
            FIRST, REWOUND_AT,
        )  # fmt: skip
        told.append(step)
        edit = json.dumps({"do": "rewind", "task": TASK, "step": step, "note": NOTE, "by": "kim"})
        stack.temporal("workflow", "signal", "--workflow-id", WORKFLOW, "--name", "edit", "--input", edit)

    writer.strike_at(TOLD_AT, rewind)
    _start(stack, repository)
    eventually(writer.struck.is_set, "the call at which it is rewound", within_s=120)
    eventually(lambda: stack.has_ended(WORKFLOW), "the end of the task", within_s=120)
    report = json.loads(stack.temporal("workflow", "result", "--workflow-id", WORKFLOW, "--output", "json").stdout)
    assert report["result"]["state"] == "accepted", report
    [step] = told
    return Story(repository, audit, step)


def test_files_are_those_of_the_steps_before_and_what_the_note_asked_for(story: Story) -> None:
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", f"syndic/{PROJECT}.s1.{TASK}"],
        cwd=story.repository, capture_output=True, text=True, check=True,
    )  # fmt: skip
    written = [page for page in PAGES if page != PAGES[REWOUND_AT]]
    assert listed.stdout.split() == sorted(["README.md", *(f"pages/{page}.txt" for page in (*written, "pears"))])


def test_the_old_lineage_stays_and_the_new_one_begins_with_copies(story: Story) -> None:
    columns = "ordinal, sub, kind, name, request_digest, result::text"
    kept = f"SELECT {columns} FROM syndic.steps WHERE thread = %s AND ordinal < %s ORDER BY ordinal, sub"
    assert story.audit.rows(kept, SECOND, story.step) == story.audit.rows(kept, FIRST, story.step) != []
    pages = "SELECT result::text FROM syndic.steps WHERE thread = %s AND kind = 'tool' ORDER BY ordinal, sub"
    before, after = (" ".join(text for (text,) in story.audit.rows(pages, thread)) for thread in (FIRST, SECOND))
    assert ("pages/two.txt" in before, "pages/pears.txt" in before) == (True, False)
    assert ("pages/two.txt" in after, "pages/pears.txt" in after) == (False, True)


def test_only_what_is_done_again_is_paid_again(story: Story, writer: Writer) -> None:
    [(made,)] = story.audit.rows("SELECT count(*) FROM syndic.steps WHERE thread = %s AND kind = 'model'", FIRST)
    assert TOLD_AT <= made < writer.turns
    assert len(writer.seen) == made + (writer.turns - REWOUND_AT) + JUDGES
    [(spent, reserved)] = story.audit.rows(
        "SELECT spent_usd, reserved_usd FROM syndic.budgets WHERE scope = %s", project_scope(PROJECT)
    )
    assert (spent, reserved) == (sum(call.cost_usd for call in writer.seen), 0)


def test_the_record_says_who_wanted_it_from_where_to_where(story: Story) -> None:
    [(entry,)] = story.audit.rows("SELECT body FROM syndic.ledger WHERE project = %s AND kind = 'run_rewound'", PROJECT)
    said = {"source": FIRST, "target": SECOND, "step": story.step, "task": TASK, "claimed_by": "kim"}
    assert {name: entry[name] for name in said} == said


def _start(stack: Running, repository: Path) -> None:
    task = {
        "id": TASK, "title": "Write pages", "kind": "change", "instructions": "Write the pages.", "scope": ["pages/**"],
    }  # fmt: skip
    gate = {"name": "written", "run": "test -f pages/one.txt || test ! -d pages", "kind": "command"}
    spec = {
        "project": PROJECT, "goal": "Write pages", "repository": str(repository), "autonomy": "autonomous",
        "gates": [gate], "task": task,
    }  # fmt: skip
    stack.temporal(
        "workflow", "start", "--type", "AgentTask", "--task-queue", "syndic", "--workflow-id", WORKFLOW,
        "--input", json.dumps(spec),
    )  # fmt: skip
