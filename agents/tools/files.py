"""Reading and changing files of the worktree."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

from pathspec import GitIgnoreSpec
from pydantic import Field

from agents.errors import AgentError, PathEscapeError
from agents.paths import resolve_inside
from agents.scope import refusal_to_write
from agents.tools.answers import MAX_CONTENT, Arguments, answer, failure, guarded
from agents.tools.base import Tool, ToolContext, ToolResult
from agents.tools.edits import (
    Edit,
    EditError,
    edited,
    lines_of,
    newline_of,
    read_text,
    walk_files,
    with_newline,
    write_text,
)
from ledger.vocabulary import Tier


class ListFiles(Arguments):
    glob: str = Field("**", description="Which files, in gitignore syntax: `src/**`, `*.py`")
    limit: int = Field(500, ge=1, le=5_000, description="How many paths at most")


class ReadFile(Arguments):
    path: str = Field(description="File, relative to the worktree")
    start: int = Field(1, ge=1, description="First line, counted from 1")
    end: int | None = Field(None, ge=1, description="Last line, inclusive; null means the end of the file")


class WriteFile(Arguments):
    path: str = Field(description="File, relative to the worktree; it is created or replaced")
    text: str = Field(description="The whole new text")


class Replace(Arguments):
    path: str = Field(description="File, relative to the worktree")
    old: str = Field(min_length=1, description="Text that occurs exactly once")
    new: str = Field(description="What stands there afterwards")


class ApplyPatch(Arguments):
    edits: list[Edit] = Field(
        min_length=1, max_length=200, description="All line numbers are those before the call; all apply or none"
    )


def matching(root: Path, glob: str) -> list[str]:
    """Files of the tree that a gitignore-style glob names, in order.

    Raises:
        AgentError: The glob cannot be read.
    """
    try:
        spec = GitIgnoreSpec.from_lines([glob])
    except ValueError as error:
        raise AgentError(f"glob {glob[:200]!r} cannot be read") from error
    return [path for path in walk_files(root) if spec.match_file(path)]


@guarded
async def list_files(context: ToolContext, arguments: ListFiles) -> ToolResult:
    """List files of the worktree."""
    found = await asyncio.to_thread(matching, context.worktree.path, arguments.glob)
    truncated = len(found) > arguments.limit
    return answer({"files": found[: arguments.limit], "total": len(found), "truncated": truncated}, "files")


@guarded
async def read_file(context: ToolContext, arguments: ReadFile) -> ToolResult:
    """Read lines of a text file."""
    path = resolve_inside(context.worktree.path, arguments.path)
    lines = lines_of(await asyncio.to_thread(read_text, path))
    end = min(arguments.end or len(lines), len(lines))
    if arguments.start > max(end, 1):
        return failure(f"{arguments.path} has {len(lines)} lines", "ask for lines that exist")
    window = lines[arguments.start - 1 : end]
    shown = _whole_lines(window)
    content = {
        "path": arguments.path,
        "text": "".join(shown),
        "start": arguments.start,
        "end": arguments.start + len(shown) - 1,
        "lines": len(lines),
        "truncated": len(shown) < len(window),
    }
    return answer(content, "text")


@guarded
async def write_file(context: ToolContext, arguments: WriteFile) -> ToolResult:
    """Create or replace a file."""
    path = _writable(context, arguments.path)
    if path.is_dir():
        return failure(f"{arguments.path} is a folder")
    size = await asyncio.to_thread(write_text, path, arguments.text)
    return answer({"path": arguments.path, "bytes": size, **_syntax(arguments.path, arguments.text)})


@guarded
async def replace(context: ToolContext, arguments: Replace) -> ToolResult:
    """Replace a text that occurs exactly once."""
    path = _writable(context, arguments.path)
    text = await asyncio.to_thread(read_text, path)
    old, new = arguments.old, arguments.new
    if newline_of(text) == "\r\n" and old not in text:
        old, new = with_newline(old, "\r\n"), with_newline(new, "\r\n")
    if (count := text.count(old)) != 1:
        hint = "add lines around it until it is unique" if count else "read the file again and copy the text exactly"
        return failure(f"the old text occurs {count} times in {arguments.path}", hint)
    result = text.replace(old, new)
    await asyncio.to_thread(write_text, path, result)
    return answer({"path": arguments.path, **_syntax(arguments.path, result)})


@guarded
async def apply_patch(context: ToolContext, arguments: ApplyPatch) -> ToolResult:
    """Apply edits by line number to one or more files, all or none."""
    by_path: dict[str, list[Edit]] = {}
    for edit in arguments.edits:
        by_path.setdefault(edit.path, []).append(edit)
    try:
        texts = {path: await asyncio.to_thread(_patched, context, path, edits) for path, edits in by_path.items()}
    except EditError as error:
        return failure(str(error), "read the file again; nothing was changed")
    for path, text in texts.items():
        await asyncio.to_thread(write_text, _writable(context, path), text)
    warnings = {key: value for path, text in texts.items() for key, value in _syntax(path, text).items()}
    return answer({"paths": list(texts), **warnings})


def _patched(context: ToolContext, relative: str, edits: list[Edit]) -> str:
    path = _writable(context, relative)
    return edited(read_text(path) if path.exists() else "", edits)


def _writable(context: ToolContext, relative: str) -> Path:
    """Policy has refused other paths before; a tool does not rely on it."""
    path = resolve_inside(context.worktree.path, relative, writing=True)
    for name in (relative, str(path.relative_to(context.worktree.path.resolve()))):
        if reason := refusal_to_write(context.scope, name):
            raise PathEscapeError(relative, reason)
    return path


def _whole_lines(lines: list[str]) -> list[str]:
    """As many whole lines as an answer holds with room for JSON escapes; at least one."""
    size = 0
    for index, line in enumerate(lines):
        size += len(line) + line.count("\n") + line.count('"') + line.count("\\")
        if size > MAX_CONTENT - 1_000:
            return lines[: max(index, 1)]
    return lines


def _syntax(path: str, text: str) -> dict[str, str]:
    """A warning where a Python file no longer parses: the model hears of it before the gates do."""
    if not path.endswith(".py"):
        return {}
    try:
        ast.parse(text)
    except (SyntaxError, ValueError) as error:
        return {"warning": f"{path} does not parse: {error}"}
    return {}


TOOLS = (
    Tool("list_files", "List files of the repository.", ListFiles, Tier.READ, list_files),
    Tool("read_file", "Read a text file, whole or by lines.", ReadFile, Tier.READ, read_file, paths=("path",)),
    Tool(
        "write_file", "Create or replace a file.", WriteFile, Tier.WRITE, write_file, writes=True, paths=("path",)
    ),
    Tool(
        "replace", "Replace a text that occurs exactly once in a file.", Replace, Tier.WRITE, replace,
        writes=True, paths=("path",),
    ),
    Tool(
        "apply_patch", "Replace, insert or delete lines of files, all edits or none.", ApplyPatch, Tier.WRITE,
        apply_patch, writes=True, paths=("edits[].path",),
    ),
)  # fmt: skip
