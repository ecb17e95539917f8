"""The tool `missing_headers`: Python files whose first lines name no license."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import Field

from agents.paths import resolve_inside
from agents.tools.answers import Arguments, answer
from agents.tools.base import Tool, ToolContext, ToolResult
from agents.tools.edits import read_text, walk_files
from ledger.vocabulary import Role, Tier

MARK = "SPDX-License-Identifier:"
_HEAD_LINES = 5


class MissingHeaders(Arguments):
    folder: str = Field(".", description="Where to look, relative to the repository")


def without_header(root: Path) -> list[str]:
    """Relative paths of Python files below `root` whose first lines do not hold the mark."""
    files = [name for name in walk_files(root) if name.endswith(".py") and not (root / name).is_symlink()]
    return [name for name in files if MARK not in "\n".join(read_text(root / name).splitlines()[:_HEAD_LINES])]


async def missing_headers(context: ToolContext, arguments: MissingHeaders) -> ToolResult:
    """List them. What this raises becomes a failed answer; a path outside the worktree was refused before."""
    root = resolve_inside(context.worktree.path, arguments.folder)
    found = await asyncio.to_thread(without_header, root)
    return answer({"files": found, "count": len(found)}, "files")


MISSING_HEADERS = Tool(
    name="missing_headers",
    description="List Python files without an SPDX license header.",
    arguments=MissingHeaders,
    tier=Tier.READ,
    run=missing_headers,
    # Policy looks into these fields before the tool starts.
    paths=("folder",),
    # Without this line no role could use it.
    roles=frozenset({Role.ANALYST, Role.ENGINEER, Role.QA}),
)
