"""A task at work is told to go on from an earlier step, on real processes: what is kept, done again, paid and left behind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
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


def test_a_rewound_task_keeps_what_came_before_and_pays_only_for_what_it_does_again(
    stack: Running, writer: Writer, tmp_path: Path
) -> None:
    audit = Audit(stack.addresses["owner_database_url"])
    repository = make_repository(tmp_path / "repository", {"README.md": "pages\n"})
    told: list[int] = []

    def rewind() -> None:
        [(step,)] = audit.rows(
            "SELECT ordinal FROM syndic.steps WHERE thread = %s AND kind = 'model' ORDER BY ordinal OFFSET %s LIMIT 1",
            FIRST, REWOUND_AT,
        )  # fmt: skip
        told.append(step)
        edit = {"do": "rewind", "task": TASK, "step": step, "note": NOTE, "by": "kim"}
        stack.temporal(
            "workflow", "signal", "--workflow-id", WORKFLOW, "--name", "edit", "--input", json.dumps(edit)
        )  # fmt: skip

    writer.strike_at(TOLD_AT, rewind)
    _start(stack, repository)
    eventually(writer.struck.is_set, "the call at which it is rewound", within_s=120)
    eventually(lambda: _has_ended(stack), "the end of the task", within_s=120)
    report = json.loads(stack.temporal("workflow", "result", "--workflow-id", WORKFLOW, "--output", "json").stdout)
    assert report["result"]["state"] == "accepted", report

    # The files: those of the steps before the named one, and what was written after it, as the note wanted it.
    branch = f"syndic/{PROJECT}.s1.{TASK}"
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", branch], cwd=repository, capture_output=True, text=True, check=True
    )
    written = [page for page in PAGES if page != PAGES[REWOUND_AT]]
    assert listed.stdout.split() == sorted(["README.md", *(f"pages/{page}.txt" for page in (*written, "pears"))])

    # The journal: the old lineage as it was, the new one beginning with copies of what came before.
    columns = "ordinal, sub, kind, name, request_digest, result::text"
    [step] = told
    kept = f"SELECT {columns} FROM syndic.steps WHERE thread = %s AND ordinal < %s ORDER BY ordinal, sub"
    assert audit.rows(kept, SECOND, step) == audit.rows(kept, FIRST, step) != []
    pages = "SELECT result::text FROM syndic.steps WHERE thread = %s AND kind = 'tool' ORDER BY ordinal, sub"
    before, after = (" ".join(text for (text,) in audit.rows(pages, thread)) for thread in (FIRST, SECOND))
    assert ("pages/two.txt" in before, "pages/pears.txt" in before) == (True, False)
    assert ("pages/two.txt" in after, "pages/pears.txt" in after) == (False, True)

    # The money: calls of the run until it stopped, those that were done again, and judges; none twice.
    models = "SELECT count(*) FROM syndic.steps WHERE thread = %s AND kind = 'model'"
    [(made,)] = audit.rows(models, FIRST)
    assert TOLD_AT <= made < writer.turns
    assert len(writer.seen) == made + (writer.turns - REWOUND_AT) + JUDGES
    [(spent, reserved)] = audit.rows(
        "SELECT spent_usd, reserved_usd FROM syndic.budgets WHERE scope = %s", project_scope(PROJECT)
    )
    assert (spent, reserved) == (sum(call.cost_usd for call in writer.seen), 0)

    # The record: who wanted it, from where to where.
    [(entry,)] = audit.rows("SELECT body FROM syndic.ledger WHERE project = %s AND kind = 'run_rewound'", PROJECT)
    said = {"source": FIRST, "target": SECOND, "step": step, "task": TASK, "claimed_by": "kim"}
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


def _has_ended(stack: Running) -> bool:
    shown = stack.temporal("workflow", "describe", "--workflow-id", WORKFLOW, "--output", "json").stdout
    return json.loads(shown)["workflowExecutionInfo"]["status"] != "WORKFLOW_EXECUTION_STATUS_RUNNING"
