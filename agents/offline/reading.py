"""Steps that several roles take: list the files, read a few, lint, run gates."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from agents.assignments import Finding, GateState
from agents.offline.conversation import Call, Result
from agents.offline.script import Desk, Steps

_LIST_LIMIT = 5000
_PLAIN = {"F", "E", "W", "PIE", "SIM", "C"}
_PARTS = 4
"""Pieces that a long file is read in at most."""


@dataclass
class Lint:
    """Findings of a lint run. `refused` says why there are none."""

    findings: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    counts: dict[str, int] = field(default_factory=dict[str, int])
    configured: bool = False
    truncated: bool = False
    refused: str | None = None


def list_files(desk: Desk, say: str = "I look at what is there.") -> Steps[list[str]]:
    """All paths of the worktree, empty when listing fails."""
    result = yield from desk.use(say, "list_files", glob="**", limit=_LIST_LIMIT)
    return [str(path) for path in result.get("files", [])]


def read_files(desk: Desk, paths: list[str], say: str) -> Steps[tuple[dict[str, str], dict[str, str]]]:
    """Read whole files side by side.

    Returns:
        Texts by path, and the reason by path where reading was refused or failed.
    """
    texts: dict[str, str] = {}
    refused: dict[str, str] = {}
    rest = dict.fromkeys(paths, 1)
    for _ in range(_PARTS):
        if not rest:
            break
        calls = [Call("read_file", {"path": path, "start": start}) for path, start in rest.items()]
        results = yield from desk.use_all(say, calls)
        rest = _take(list(rest), results, texts, refused)
    for path in rest:
        texts.pop(path, None)
        refused[path] = "it is too long to be read whole"
    return texts, refused


def _take(paths: list[str], results: list[Result], texts: dict[str, str], refused: dict[str, str]) -> dict[str, int]:
    """Add what was read; returns where to go on for files that were cut."""
    more: dict[str, int] = {}
    for path, result in zip(paths, results, strict=True):
        if not result.ok:
            refused[path] = result.error or "refused"
            continue
        texts[path] = texts.get(path, "") + str(result.get("text", ""))
        end, lines = result.get("end", 0), result.get("lines", 0)
        if isinstance(end, int) and isinstance(lines, int) and 0 < end < lines:
            more[path] = end + 1
    return more


def run_lint(desk: Desk, say: str, paths: list[str] | None = None, rules: list[str] | None = None) -> Steps[Lint]:
    """Lint under the repository's own configuration."""
    result = yield from desk.use(say, "lint", paths=paths or [], rules=rules or [])
    findings = [f for f in result.get("findings", []) if isinstance(f, dict) and f.get("path")]
    truncated = bool(result.get("truncated", False))
    return Lint(
        findings, dict(result.get("counts", {})), bool(result.get("configured", False)), truncated, result.error
    )


def is_wanted(code: str, configured: bool) -> bool:
    """Whether a rule may be mended at all.

    Where the repository does not configure the linter, its defaults are nobody's wish: only plain mistakes and
    simplifications are mended then, no newer syntax (the oldest Python in use is not known) and no order of imports.
    """
    letters = re.match(r"[A-Z]*", code)
    return configured or (letters is not None and letters.group() in _PLAIN)


def count_rules(findings: list[dict[str, Any]]) -> dict[str, int]:
    """Findings by rule, the most frequent first."""
    counts: dict[str, int] = {}
    for finding in findings:
        code = str(finding.get("code", "?"))
        counts[code] = counts.get(code, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def gates_of(desk: Desk, kind: str) -> list[GateState]:
    """Gates of one kind at the base commit."""
    return [gate for gate in desk.assignment.gates if gate.kind == kind]


def refusals(refused: dict[str, str]) -> list[Finding]:
    """What could not be read, as findings for people."""
    return [
        Finding(title=f"Could not be read: {path}", detail=reason, path=path, severity="medium")
        for path, reason in refused.items()
    ]
