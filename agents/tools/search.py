"""Searching the worktree by regular expression."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

from pydantic import Field

from agents.processes import start
from agents.tools.answers import Arguments, answer, failure, guarded
from agents.tools.base import Tool, ToolContext, ToolResult
from agents.tools.edits import MAX_FILE
from agents.tools.files import matching
from ledger.vocabulary import Json, Tier

TIMEOUT_S = 10
"""Some patterns take longer than the age of the universe; the search is ended then."""
_MAX_LINE = 400
_PROGRAM = Path(__file__).with_name("grep.py")


class Search(Arguments):
    pattern: str = Field(
        min_length=1, max_length=1_000, description="Python regular expression, looked for line by line"
    )
    glob: str = Field("**", description="Which files, in gitignore syntax")
    limit: int = Field(100, ge=1, le=1_000, description="How many matches at most")


@guarded
async def search(context: ToolContext, arguments: Search) -> ToolResult:
    """Find lines that match."""
    try:
        re.compile(arguments.pattern)
    except re.error as error:
        return failure(f"the pattern is no regular expression: {error}", "escape special characters with a backslash")
    root = context.worktree.path
    request: dict[str, Json] = {
        "root": str(root),
        "files": await asyncio.to_thread(matching, root, arguments.glob),
        "pattern": arguments.pattern,
        "limit": arguments.limit,
        "max_file": MAX_FILE,
        "max_line": _MAX_LINE,
    }
    found = await _run(json.dumps(request).encode())
    if found is None:
        return failure(f"the search took longer than {TIMEOUT_S} s", "use a simpler pattern or a narrower glob")
    return answer(found, "matches")


async def _run(request: bytes) -> dict[str, Json] | None:
    """Only our own program is run and it only reads, so it needs no sandbox; `-I` and `-S` keep it apart."""
    process = start(
        sys.executable, "-I", "-S", str(_PROGRAM),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={},
    )  # fmt: skip
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, _ = await process.communicate(request)
    except TimeoutError:
        return None
    finally:
        await process.end()
    return json.loads(output)


TOOLS = (Tool("search", "Search files by regular expression.", Search, Tier.READ, search),)
