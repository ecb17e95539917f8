"""Linting, and fixing by rule: safe fixes only, in files that the task may change."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import Field

from agents.errors import PathEscapeError
from agents.paths import resolve_inside
from agents.scope import refusal_to_write
from agents.tools import ruff
from agents.tools.answers import Arguments, answer, guarded
from agents.tools.base import Tool, ToolContext, ToolResult
from agents.tools.ruff import Rule
from ledger.vocabulary import Tier

_MAX_FINDINGS = 400


class Lint(Arguments):
    paths: list[str] = Field(default=[], max_length=200, description="Files or folders; empty means everything")
    rules: list[Rule] = Field(
        default=[], max_length=50, description="Codes or prefixes such as `F401`, `E7`; empty: all"
    )


class FixLint(Arguments):
    rules: list[Rule] = Field(
        min_length=1, max_length=50, description="Codes or prefixes to fix, such as `F401`, `SIM`"
    )
    paths: list[str] = Field(
        default=[], max_length=200, description="Files or folders; empty means everything in scope"
    )


@guarded
async def lint(context: ToolContext, arguments: Lint) -> ToolResult:
    """Show what ruff finds; no file is changed."""
    tree = context.worktree.path
    found = await ruff.check(context, _existing(tree, arguments.paths), arguments.rules)
    content = {
        "findings": [finding.model_dump() for finding in found[:_MAX_FINDINGS]],
        "counts": ruff.counts(found),
        "fixable": ruff.counts(finding for finding in found if finding.fixable),
        "configured": await asyncio.to_thread(ruff.is_configured, tree),
        "truncated": len(found) > _MAX_FINDINGS,
    }
    return answer(content, "findings")


@guarded
async def fix_lint(context: ToolContext, arguments: FixLint) -> ToolResult:
    """Apply safe fixes to files in scope, and say what changed."""
    tree = context.worktree.path.resolve()
    wanted = _existing(tree, arguments.paths)
    before = await ruff.check(context, wanted, arguments.rules)
    fixable = [finding for finding in before if finding.fixable]
    kept_out = sorted({finding.path for finding in fixable if not _may_change(context, finding.path)})
    fixable = [finding for finding in fixable if finding.path not in kept_out]
    paths = sorted({finding.path for finding in fixable})
    texts = {path: (tree / path).read_bytes() for path in paths}
    if fixable:
        await ruff.fix(context, paths, sorted({finding.code for finding in fixable}), arguments.rules)
    after = await ruff.check(context, wanted, arguments.rules)
    content = {
        "changed": [path for path in paths if (tree / path).read_bytes() != texts[path]],
        "before": ruff.counts(before),
        "after": ruff.counts(after),
        "not_changed_for_scope": kept_out,
    }
    return answer(content, "not_changed_for_scope", "changed")


def _existing(tree: Path, paths: list[str]) -> list[str]:
    """The paths as ruff is given them; one that looks like an option cannot become one."""
    return [str(resolve_inside(tree, path).relative_to(tree.resolve())) for path in paths]


def _may_change(context: ToolContext, path: str) -> bool:
    try:
        resolve_inside(context.worktree.path, path, writing=True)
    except PathEscapeError:
        return False
    return refusal_to_write(context.scope, path) is None


TOOLS = (
    Tool("lint", "Run ruff under the repository's own configuration.", Lint, Tier.RUN, lint, paths=("paths",)),
    Tool(
        "fix_lint",
        "Apply ruff's safe fixes of the given rules to files in scope; tests and configuration stay as they are.",
        FixLint,
        Tier.WRITE,
        fix_lint,
        writes=True,
        paths=("paths",),
        # A folder is named to look in; each file that would change is held against the scope by the tool itself.
        scoped=False,
    ),
)
