"""Indexes that the dev server keeps for search attributes that nobody has defined.

Its list of workflows is one SQLite table with a column, and an index, for each search attribute that a namespace might
define one day. Each workflow is written to that table three times, and each time to every index, over the one connection
that all of the server's work goes through. What that costs is in docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Final

from temporalio.api.workflowservice.v1 import ListNamespacesRequest
from temporalio.client import Client

from workers.stack.parts import Report

TABLE: Final = "executions_visibility"
SET_ASIDE: Final = re.compile(r"(Temporal(LowCardinality)?)?(Bool|Datetime|Double|Int|Keyword)\d\d")
"""Columns that take the values of an attribute once one is defined. Those that begin with Temporal serve components of the server
that Syndic does not use, standalone activities and the like; whoever uses them finds theirs without an index."""
NAMESPACES: Final = 1000
"""How many are asked for their attributes; a dev server has two as a rule."""
PATIENCE_S: Final = 5.0
"""How long to wait for the server's own writes, and it for this one."""


async def free_workflow_list(client: Client, database: Path, report: Report) -> None:
    """Drop the idle indexes of a dev server that runs. Where that fails it is reported: they cost speed alone.

    Raises:
        RPCError: the server does not tell its namespaces.
    """
    listed = await client.workflow_service.list_namespaces(ListNamespacesRequest(page_size=NAMESPACES))
    in_use = {column for one in listed.namespaces for column in one.config.custom_search_attribute_aliases}
    try:
        await asyncio.to_thread(drop_idle_indexes, database, in_use)
    except sqlite3.Error as error:
        report(f"temporal: its list of workflows keeps indexes that nothing uses: {error}")


def drop_idle_indexes(database: Path, in_use: Collection[str]) -> list[str]:
    """Drop the indexes of columns that are set aside and hold no attribute of a namespace; returns their names.

    A query cannot name an attribute that nobody defined, and one that is defined later is found without an index. The
    server may be running: SQLite lets the two take turns.

    Args:
        database: the dev server's file.
        in_use: columns that hold attributes, as `custom_search_attribute_aliases` of the namespaces name them.

    Raises:
        sqlite3.Error: the file cannot be opened or written, or the server kept it for longer than five seconds.
    """
    uri = f"{database.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE_S, isolation_level=None)) as connection:
        idle = [name for name, columns in _indexes(connection) if _is_set_aside(columns) and not columns & {*in_use}]
        if idle:
            connection.execute("BEGIN IMMEDIATE")
            for name in idle:
                connection.execute(f'DROP INDEX IF EXISTS "{name}"')
            connection.execute("COMMIT")
    return idle


def _indexes(connection: sqlite3.Connection) -> list[tuple[str, set[str]]]:
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL ORDER BY name",
        (TABLE,),
    ).fetchall()
    columns = "SELECT name FROM pragma_index_info(?) WHERE name IS NOT NULL"
    return [(name, {column for (column,) in connection.execute(columns, (name,))}) for (name,) in names]


def _is_set_aside(columns: Collection[str]) -> bool:
    return any(SET_ASIDE.fullmatch(column) for column in columns)
