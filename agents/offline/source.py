"""Python source as text with positions: edits by character offsets that leave every other character as it was."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_LINE = re.compile(r"[^\n]*\n|[^\n]+$")


@dataclass(frozen=True)
class Edit:
    """Replace the lines `start` to `end` (1-based, inclusive) of a file; `end = start - 1` inserts before `start`."""

    path: str
    start: int
    end: int
    text: str

    def as_json(self) -> dict[str, Any]:
        """The edit as `apply_patch` and `try_patch` take it."""
        return {"path": self.path, "start": self.start, "end": self.end, "text": self.text}


def apply_edits(text: str, edits: tuple[Edit, ...]) -> str:
    """The text after the edits, which must not overlap."""
    lines = _LINE.findall(text)
    for edit in sorted(edits, key=lambda e: (e.start, e.end), reverse=True):
        lines[edit.start - 1 : edit.end] = _LINE.findall(edit.text)
    return "".join(lines)


class Source:
    """One Python file. `tree` is None where it does not parse."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.lines: list[str] = _LINE.findall(text)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))
        self.newline = "\r\n" if "\r\n" in text[:2000] else "\n"

    @cached_property
    def tree(self) -> ast.Module | None:
        try:
            return ast.parse(self.text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """Each node's parent."""
        if self.tree is None:
            return {}
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def offset(self, line: int, column: int) -> int:
        """Character offset of a position as `ast` gives it: line from 1, column in UTF-8 bytes."""
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        if not text.isascii():
            column = len(text.encode()[:column].decode(errors="ignore"))
        return self.starts[min(line - 1, len(self.starts) - 1)] + column

    def span(self, node: Any) -> tuple[int, int]:
        """First and one-past-last character offset of a node."""
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def of(self, node: Any) -> str:
        """The node's source text."""
        start, end = self.span(node)
        return self.text[start:end]

    def line_at(self, offset: int) -> int:
        """Number of the line that holds an offset."""
        low, high = 0, len(self.lines) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.starts[middle] <= offset else (low, middle - 1)
        return low + 1

    def indent(self, line: int) -> str:
        """White space at the start of a line."""
        text = self.lines[line - 1]
        return text[: len(text) - len(text.lstrip())].rstrip("\r\n")

    def replace(self, start: int, end: int, text: str) -> Edit:
        """The line edit that replaces the characters from `start` up to `end`."""
        first, last = self.line_at(start), self.line_at(max(start, end - 1))
        head = self.text[self.starts[first - 1] : start]
        tail = self.text[end : self.starts[last]]
        return Edit(self.path, first, last, head + text + tail)

    def insert(self, line: int, text: str) -> Edit:
        """The edit that puts whole lines before a line."""
        return Edit(self.path, line, line - 1, text)

    def remove(self, first: int, last: int) -> Edit:
        """The edit that drops whole lines."""
        return Edit(self.path, first, last, "")
