"""Trying candidate patches on a copy: the failing tests first, then the whole suite for those that turn them green."""

from __future__ import annotations

import ast
import asyncio
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import Field

from agents.errors import AgentError
from agents.paths import resolve_inside
from agents.scope import refusal_to_write
from agents.tools.answers import Arguments, answer, failure, guarded
from agents.tools.base import Tool, ToolContext, ToolResult
from agents.tools.copies import TreeCopy, copied_tree
from agents.tools.edits import Edit, EditError, edited, read_text, write_text
from agents.tools.probe import ProbeError, ProbeReport, ProbeRequest, run_probe
from ledger.vocabulary import Record, Tier

CANDIDATE_S = 60.0
"""Seconds for the failing tests under one candidate."""
TEST_S = 15.0
"""Seconds for one test: a candidate may have made a loop endless."""
SUITE_S = 300.0
TOTAL_S = 900.0
"""Seconds after which no further candidate is begun."""
PARALLEL = 2
_MAX_BROKEN = 20


class Candidate(Arguments):
    id: str = Field(min_length=1, max_length=100, description="Your name for it")
    edits: list[Edit] = Field(min_length=1, max_length=20, description="Line numbers are those of the worktree")


class TryPatch(Arguments):
    candidates: list[Candidate] = Field(min_length=1, max_length=200, description="Each is tried alone")
    tests: list[str] = Field(min_length=1, max_length=200, description="Ids of the failing tests it should turn green")
    suite: bool = Field(True, description="Run the whole suite for candidates that turn them green")


class Trial(Record):
    """How one candidate did."""

    id: str
    applied: bool
    fixed: bool = False
    """Every asked test passed."""
    suite_passed: bool | None = None
    """Nothing fails that did not fail without the patch; None where the suite was not run."""
    still_failing: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    """Tests that fail with the patch and not without it."""
    error: str | None = None


class Trials:
    """One call of `try_patch`: which tests count, until when, and how the suite stands without any patch."""

    def __init__(self, context: ToolContext, arguments: TryPatch) -> None:
        self._context = context
        self._tests = tuple(dict.fromkeys(arguments.tests))
        self._suite = arguments.suite
        self._deadline = time.monotonic() + TOTAL_S
        self._waiting = list(reversed(arguments.candidates))
        self._before: asyncio.Task[frozenset[str]] | None = None
        self.done: dict[str, Trial] = {}

    async def run(self) -> None:
        """Try all candidates, several side by side, each in a copy that is equal to the worktree before it begins."""
        workers = [asyncio.create_task(self._work()) for _ in range(min(PARALLEL, len(self._waiting)))]
        try:
            await asyncio.gather(*workers)
        finally:
            tasks = [*workers, *([self._before] if self._before else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # their programs are dead when this returns

    async def _work(self) -> None:
        async with copied_tree(self._context) as copy:
            while self._waiting and time.monotonic() < self._deadline:
                candidate = self._waiting.pop()
                self.done[candidate.id] = await self._try(copy, candidate)
                await asyncio.to_thread(copy.restore)

    async def _try(self, copy: TreeCopy, candidate: Candidate) -> Trial:
        try:
            await asyncio.to_thread(apply, self._context, copy.path, candidate.edits)
        except (AgentError, SyntaxError, ValueError) as error:
            return Trial(id=candidate.id, applied=False, error=f"{type(error).__name__}: {error}"[:500])
        passed, error = await self._run_failing(copy.path)
        still = tuple(name for name in self._tests if not _all_passed(name, passed))
        trial = Trial(id=candidate.id, applied=True, fixed=not still, still_failing=still, error=error)
        if still or not self._suite:
            return trial
        await asyncio.to_thread(copy.restore)
        apply(self._context, copy.path, candidate.edits)
        return await self._run_suite(copy.path, trial)

    async def _run_failing(self, tree: Path) -> tuple[dict[str, str], str | None]:
        request = ProbeRequest(only=self._tests, test_seconds=TEST_S)
        try:
            report = await run_probe(self._context, tree, request, timeout_s=CANDIDATE_S, first_failure=True)
        except ProbeError as error:
            return {}, str(error)[:500]
        return report.outcomes, None

    async def _run_suite(self, tree: Path, trial: Trial) -> Trial:
        try:
            report = await self._probe_suite(tree)
        except ProbeError as error:
            return trial.model_copy(update={"suite_passed": False, "error": str(error)[:500]})
        red = report.of("failed", "error")
        # Most candidates that turn a test green break nothing: the suite without a patch is run only when it is needed.
        broken = tuple(sorted(red - await self._failing_before())) if red else ()
        ran = bool(report.of("passed"))
        return trial.model_copy(update={"suite_passed": ran and not broken, "broken": broken[:_MAX_BROKEN]})

    async def _failing_before(self) -> frozenset[str]:
        if self._before is None:
            self._before = asyncio.create_task(self._run_before())
        return await asyncio.shield(self._before)

    async def _run_before(self) -> frozenset[str]:
        async with copied_tree(self._context) as copy:
            try:
                report = await self._probe_suite(copy.path)
            except ProbeError:
                return frozenset(self._tests)
        return report.of("failed", "error")

    async def _probe_suite(self, tree: Path) -> ProbeReport:
        return await run_probe(self._context, tree, ProbeRequest(), timeout_s=SUITE_S)


@guarded
async def try_patch(context: ToolContext, arguments: TryPatch) -> ToolResult:
    """Try candidates on copies; the worktree stays as it is."""
    ids = [candidate.id for candidate in arguments.candidates]
    if len(set(ids)) < len(ids):
        return failure("two candidates have the same id", "give each an id of its own")
    for path in sorted({edit.path for candidate in arguments.candidates for edit in candidate.edits}):
        if reason := refusal_to_write(context.scope, path):
            return failure(reason, "a patch may only touch files that the task may change")
    trials = Trials(context, arguments)
    await trials.run()
    results = [trials.done[name].model_dump() for name in ids if name in trials.done]
    untried = [name for name in ids if name not in trials.done]
    fixed = [trial.id for trial in trials.done.values() if trial.fixed]
    content = {"results": results, "untried": untried, "truncated": bool(untried)}
    return answer(content, "results", data={"tried": len(results), "fixed": fixed[:50]})


def apply(context: ToolContext, tree: Path, edits: Iterable[Edit]) -> None:
    """Apply edits to a copy of the worktree, all or none; a Python file must parse afterwards.

    Raises:
        AgentError: A path or a line that does not exist.
        SyntaxError: A Python file would not parse.
    """
    by_path: dict[str, list[Edit]] = {}
    for edit in edits:
        by_path.setdefault(edit.path, []).append(edit)
    for path, text in list(_texts(tree, by_path)):
        write_text(path, text)


def _texts(tree: Path, by_path: dict[str, list[Edit]]) -> Iterator[tuple[Path, str]]:
    for name, edits in by_path.items():
        path = resolve_inside(tree, name, writing=True)
        old = read_text(path) if path.exists() else ""
        new = edited(old, edits)
        if new == old:
            raise EditError(f"{name}: the edits change nothing")
        if name.endswith(".py"):
            ast.parse(new)
        yield path, new


def _all_passed(asked: str, outcomes: dict[str, str]) -> bool:
    """Whether everything that the id stands for (a test, a class, a test with its parameters) passed."""
    mine = [o for name, o in outcomes.items() if name == asked or name.startswith((asked + "[", asked + "::"))]
    return bool(mine) and all(outcome in ("passed", "skipped") for outcome in mine) and "passed" in mine


TOOLS = (
    Tool(
        "try_patch",
        "Try candidate patches on a copy: failing tests first, then the suite for those that fix them.",
        TryPatch,
        Tier.RUN,
        try_patch,
        paths=("candidates[].edits[].path",),
        scoped=True,
    ),
)
