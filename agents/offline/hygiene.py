"""White space of text files: trailing blanks, the final newline, mixed line endings. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath

_TEXT = {
    ".md", ".rst", ".txt", ".adoc", ".yml", ".yaml", ".json", ".toml", ".ini", ".cfg", ".css", ".html", ".js", ".ts", ".sh",
    ".c", ".h", ".go", ".rs", ".java", ".rb", ".sql",
}  # fmt: skip


def is_plain_text(path: str) -> bool:
    """Whether the name says that white space at line ends means nothing (no patches, no snapshots)."""
    return PurePosixPath(path).suffix.lower() in _TEXT


def cleaned(path: str, text: str) -> str:
    """The text with clean white space.

    In Markdown two blanks at the end of a line break it, so exactly two are kept there.
    """
    if not text or "\0" in text:
        return text
    newline = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
    lines = text.replace("\r\n", "\n").split("\n")
    markdown = path.lower().endswith(".md")
    lines = [_line(line, markdown) for line in lines]
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    return newline.join(lines) + newline


def _line(line: str, markdown: bool) -> str:
    bare = line.rstrip(" \t")
    return f"{bare}  " if markdown and bare and line[len(bare) :] == "  " else bare
