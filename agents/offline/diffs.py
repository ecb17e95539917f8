"""Reading a unified diff: what was added and removed where, and how to take it back. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from agents.offline.source import Edit

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


@dataclass
class Block:
    """Neighbouring changed lines: `added` stand at line `start` of the new file, `removed` at line `before` of the old one."""

    start: int
    before: int
    removed: list[str] = field(default_factory=list[str])
    added: list[str] = field(default_factory=list[str])


@dataclass
class FileDiff:
    """The changes of one file. `old` or `new` is None where the file was created or deleted."""

    old: str | None
    new: str | None
    binary: bool = False
    blocks: list[Block] = field(default_factory=list[Block])

    @property
    def path(self) -> str:
        return self.new or self.old or ""

    @property
    def added(self) -> list[str]:
        return [line for block in self.blocks for line in block.added]

    @property
    def removed(self) -> list[str]:
        return [line for block in self.blocks for line in block.removed]

    def forward(self, path: str) -> tuple[Edit, ...]:
        """Edits that make the changes, for a file at `path` that still is as it was before."""
        return tuple(
            Edit(path, b.before, b.before + len(b.removed) - 1, "".join(line + "\n" for line in b.added))
            for b in self.blocks
        )

    def reverse(self) -> tuple[Edit, ...]:
        """Edits that take the changes back, for a file that still is as the diff left it."""
        return tuple(
            Edit(self.path, b.start, b.start + len(b.added) - 1, "".join(line + "\n" for line in b.removed))
            for b in self.blocks
        )


def parse_diff(text: str) -> list[FileDiff]:
    """The files of a unified diff as `git diff` writes it, prefixes `a/` and `b/` stripped."""
    files: list[FileDiff] = []
    current: FileDiff | None = None
    left, at = (0, 0), (0, 0)
    block: Block | None = None
    for line in text.split("\n"):
        if current is not None and left != (0, 0):
            left, at, block = _body_line(current, line, left, at, block)
            continue
        if line.startswith("diff --git "):
            current, block = _from_header(line), None
            files.append(current)
        elif match := _HUNK.match(line):
            left, block = (int(match[2] or 1), int(match[4] or 1)), None
            # A side without lines is named by the line before it.
            at = int(match[1]) + (left[0] == 0), int(match[3]) + (left[1] == 0)
        else:
            current = _header_line(files, current, line)
    return files


def _body_line(
    current: FileDiff, line: str, left: tuple[int, int], at: tuple[int, int], block: Block | None
) -> tuple[tuple[int, int], tuple[int, int], Block | None]:
    """One line of a hunk; `left` counts the old and the new lines still to come, `at` says where they are."""
    old, new = left
    mark, text = line[:1], line[1:]
    if mark == "\\":
        return left, at, block
    if mark in "+-" and mark:
        if block is None:
            block = Block(start=at[1], before=at[0])
            current.blocks.append(block)
        (block.added if mark == "+" else block.removed).append(text)
        if mark == "+":
            return (old, new - 1), (at[0], at[1] + 1), block
        return (old - 1, new), (at[0] + 1, at[1]), block
    return (max(old - 1, 0), max(new - 1, 0)), (at[0] + 1, at[1] + 1), None


def _from_header(line: str) -> FileDiff:
    match = re.match(r'diff --git "?a/(.*?)"? "?b/(.*?)"?$', line)
    return FileDiff(match[1], match[2]) if match else FileDiff(None, None)


def _header_line(files: list[FileDiff], current: FileDiff | None, line: str) -> FileDiff | None:
    if line.startswith("--- "):
        if current is None or current.blocks:
            current = FileDiff(None, None)
            files.append(current)
        current.old = _path(line[4:], "a/")
    elif line.startswith("+++ ") and current is not None:
        current.new = _path(line[4:], "b/")
    elif current is not None and line.startswith(("Binary files ", "GIT binary patch")):
        current.binary = True
    return current


def _path(text: str, prefix: str) -> str | None:
    name = text.split("\t")[0].strip().strip('"')
    return None if name == "/dev/null" else name.removeprefix(prefix)
