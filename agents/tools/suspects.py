"""Where a red test's cause is likely to lie: spectrum-based fault localisation by Ochiai.

A line scores `failing / sqrt(all failing * (failing + passing))`, counting tests that ran it (Abreu, Zoeteweij, van Gemund:
"An Evaluation of Similarity Coefficients for Software Fault Localization", 2006).
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from pydantic import Field

from agents.scope import is_test_file
from agents.tools.answers import Arguments, answer, failure, guarded
from agents.tools.base import Tool, ToolContext, ToolResult
from agents.tools.copies import copied_tree
from agents.tools.edits import read_text
from agents.tools.probe import TEST_S, ProbeReport, ProbeRequest, ProbeTimeoutError, run_probe
from ledger.vocabulary import Record, Tier

FAILING_S = 120.0
PASSING_S = 120.0
"""Seconds for the failing tests and for the others; what could be run until then counts."""
MAX_PASSING = 400
"""Passing tests to run at most; a sample of a larger suite ranks about as well and stays quick."""


class RankSuspects(Arguments):
    tests: list[str] = Field(min_length=1, max_length=200, description="Ids of failing tests, as the gate names them")
    limit: int = Field(30, ge=1, le=200, description="How many lines at most")


class Suspect(Record):
    """A line that failing tests ran."""

    path: str
    line: int
    function: str
    """Qualified name of the function around it; empty at module level."""
    score: float
    """0 to 1."""


@dataclass(frozen=True)
class _Statement:
    line: int
    function: str


@guarded
async def rank_suspects(context: ToolContext, arguments: RankSuspects) -> ToolResult:
    """Run failing and passing tests under coverage and rank the lines."""
    tests = tuple(dict.fromkeys(arguments.tests))
    async with copied_tree(context) as copy:
        red = await run_probe(
            context, copy.path, ProbeRequest(only=tests, seconds=FAILING_S, test_seconds=TEST_S, lines=True)
        )
        failing = red.of("failed", "error")
        if not failing:
            seen = f"{len(red.outcomes)} of them ran and passed" if red.outcomes else "no test has such an id"
            return failure(f"none of the tests fails: {seen}", "take the ids from the gate's failures")
        await asyncio.to_thread(copy.restore)
        green = await _passing(context, copy.path, failing)
    suspects = await asyncio.to_thread(rank, context.worktree.path, red, green)
    content = {
        "suspects": [suspect.model_dump() for suspect in suspects[: arguments.limit]],
        "failing": len(failing),
        "passing": len(red.of("passed")) + len(green.of("passed")),
        "sampled": not green.complete,
        "truncated": len(suspects) > arguments.limit,
    }
    return answer(content, "suspects", data={"failing": sorted(failing)[:200]})


async def _passing(context: ToolContext, tree: Path, failing: frozenset[str]) -> ProbeReport:
    request = ProbeRequest(without=tuple(sorted(failing)), seconds=PASSING_S, max_tests=MAX_PASSING, lines=True)
    try:
        return await run_probe(context, tree, request)
    except ProbeTimeoutError:
        return ProbeReport(complete=False)  # the failing tests alone still say where to look


def rank(tree: Path, red: ProbeReport, green: ProbeReport) -> list[Suspect]:
    """Statements outside of tests that failing tests ran, most suspicious first.

    Equal scores are ordered by how deep in a traceback the line stood. Where no line was recorded, as when a module cannot
    be imported, the tracebacks are all there is.
    """
    total = len(red.of("failed", "error"))
    trace = {frame: depth for depth, frame in reversed(list(enumerate(red.frames)))}
    scored: dict[tuple[str, int], tuple[float, int, Suspect]] = {}
    for path in sorted({*red.lines, *(path for path, _ in red.frames)}):
        if is_test_file(path) or not path.endswith(".py"):
            continue
        statements = _statements(tree / path)
        for line, failing, passing in _spectrum(path, red, green):
            statement = statements.get(line)
            if statement is None:
                continue
            score = failing / sqrt(total * (failing + passing))
            depth = trace.get((path, line), len(trace))
            suspect = Suspect(path=path, line=statement.line, function=statement.function, score=round(score, 4))
            key = (path, statement.line)
            if key not in scored or (-score, depth) < scored[key][:2]:
                scored[key] = (-score, depth, suspect)
    return [entry[2] for _, entry in sorted(scored.items(), key=lambda item: (*item[1][:2], item[0]))]


def _spectrum(path: str, red: ProbeReport, green: ProbeReport) -> Iterator[tuple[int, int, int]]:
    """Line, failing and passing tests. A line that is only in a traceback ran in one failing test at least."""
    ran, other = red.lines.get(path, {}), green.lines.get(path, {})
    for line in sorted({*ran, *(line for name, line in red.frames if name == path)}):
        failing, passing = ran.get(line, (1, 0))
        if failing:
            yield line, failing, passing + other.get(line, (0, 0))[1]


def _statements(path: Path) -> dict[int, _Statement]:
    """The statement and the function that each line belongs to."""
    try:
        text = read_text(path)
        module = ast.parse(text)
    except (SyntaxError, ValueError):
        return {line: _Statement(line, "") for line in range(1, path.read_bytes().count(b"\n") + 2)}
    except OSError:
        return {}
    found: dict[int, _Statement] = {}
    _map(module.body, "", found)
    return found


def _map(body: list[ast.stmt], function: str, found: dict[int, _Statement]) -> None:
    for statement in body:
        for line in range(statement.lineno, (statement.end_lineno or statement.lineno) + 1):
            found[line] = _Statement(statement.lineno, function)
        inner = function
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{function}.{statement.name}" if function else statement.name
        for nested in _bodies(statement):
            _map(nested, inner, found)


def _bodies(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        if nested := getattr(statement, name, None):
            yield nested
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


TOOLS = (
    Tool(
        "rank_suspects",
        "Run failing and passing tests under coverage and rank the lines that may hold the fault.",
        RankSuspects,
        Tier.RUN,
        rank_suspects,
    ),
)
