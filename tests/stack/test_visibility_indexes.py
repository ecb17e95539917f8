"""The list of workflows without the indexes that nothing uses: what stays, and that everything is found as before."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.stack.conftest import Shell, Standing, wait_for
from workers.client import SEARCH_ATTRIBUTES
from workers.stack.visibility_indexes import SET_ASIDE, TABLE, drop_idle_indexes, free_workflow_list


def database(shell: Shell) -> Path:
    return shell.state_dir / "temporal" / "temporal.db"


def indexed_columns(file: Path) -> list[set[str]]:
    with closing(sqlite3.connect(file)) as connection:
        return [
            {column for (column,) in connection.execute("SELECT name FROM pragma_index_info(?)", (name,)) if column}
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL", (TABLE,)
            )
        ]


def test_indexes_stay_for_what_every_workflow_has_and_for_attributes_that_are_defined(standing: Standing) -> None:
    columns = indexed_columns(database(standing[0]))
    set_aside = [column for each in columns for column in each if SET_ASIDE.fullmatch(column)]
    lists = 1  # SyndicAwaiting: kept in a table of words, without an index
    assert len(set_aside) == len(SEARCH_ATTRIBUTES) - lists
    kept = set().union(*columns)
    assert {"workflow_id", "workflow_type_name", "status", "task_queue", "TemporalWorkerDeployment"} <= kept


def test_an_attribute_that_is_defined_later_is_found_without_an_index(standing: Standing) -> None:
    shell, _ = standing

    def started() -> bool:
        attribute = ("--search-attribute", 'DefinedLater="seven"')
        start = ("workflow", "start", "--type", "Sleeper", "-w", "later", "--task-queue", "nobody")
        answer = shell.temporal(*start, *attribute, check=False)
        assert answer.returncode == 0 or "DefinedLater" in answer.stderr, answer.stderr
        return answer.returncode == 0

    def found() -> list[str]:
        answer = shell.temporal("workflow", "list", "--query", "DefinedLater = 'seven'", "-o", "json", check=False)
        return [run["execution"]["workflowId"] for run in json.loads(answer.stdout or "[]")]

    shell.temporal("operator", "search-attribute", "create", "--name", "DefinedLater", "--type", "Keyword")
    wait_for(started, "a workflow starts with the attribute, of which the namespace learns a moment later")
    wait_for(found, "the list finds it")
    assert found() == ["later"]


async def test_a_database_that_cannot_be_opened_is_reported_and_not_made(standing: Standing, tmp_path: Path) -> None:
    client = await Client.connect(standing[1].temporal, namespace=standing[1].namespace)
    said: list[str] = []
    await free_workflow_list(client, tmp_path / "elsewhere.db", said.append)
    assert said == ["temporal: its list of workflows keeps indexes that nothing uses: unable to open database file"]
    with pytest.raises(sqlite3.OperationalError):
        drop_idle_indexes(tmp_path / "elsewhere.db", set())
    assert not (tmp_path / "elsewhere.db").exists()
