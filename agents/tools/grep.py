"""Looks for a regular expression in files. Run as a program of its own, so that a pattern that never ends can be killed.

Reads one JSON object from standard input (`root`, `files`, `pattern`, `limit`, `max_file`, `max_line`), writes one to
standard output. Needs nothing but the standard library.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def find(request: dict[str, Any]) -> dict[str, Any]:
    """Matches in order of files and lines, one more than `limit` being the sign that there are others."""
    pattern = re.compile(request["pattern"])
    matches: list[dict[str, Any]] = []
    for name in request["files"]:
        for match in _in_file(Path(request["root"]) / name, pattern, request):
            if len(matches) == request["limit"]:
                return {"matches": matches, "truncated": True}
            matches.append({"path": name, **match})
    return {"matches": matches, "truncated": False}


def _in_file(path: Path, pattern: re.Pattern[str], request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > request["max_file"]:
        return
    data = path.read_bytes()
    if b"\0" in data[:8_192]:
        return
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        if pattern.search(line):
            yield {"line": number, "text": line.rstrip("\r")[: request["max_line"]]}


if __name__ == "__main__":
    json.dump(find(json.load(sys.stdin)), sys.stdout)
