"""From a gate's report to failures and counts; pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

MAX_FAILURES = 5_000
"""Failures that are kept; counts are always complete."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?|\b1[5-9]\d{8}(\.\d+)?\b")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")
_REFORMAT = re.compile(r"^(?:would reformat:? (.+)|\s*--> (.+?):\d+:\d+)$", re.MULTILINE | re.IGNORECASE)
"""What black and older ruff say, and the location line of newer ruff."""
_MYPY = re.compile(r"^(?P<path>[^:\n]+):(?P<line>\d+)(?::\d+)?: error: .*?(?:\[(?P<code>[\w-]+)\])?$", re.MULTILINE)


@dataclass(frozen=True)
class Parsed:
    """`complete` is False where the report breaks off: the gate crashed or was stopped."""

    failures: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    complete: bool = True


def parse_tests(report: str) -> Parsed:
    """Outcomes that `agents.pytest_report` wrote. The worst outcome of a test counts, whatever phase it came from."""
    order = ("passed", "skipped", "failed", "error")
    worst: dict[str, str] = {}
    finished = False
    for line in _lines(report):
        finished = finished or "finished" in line
        identity, outcome = line.get("id"), line.get("outcome")
        if isinstance(identity, str) and outcome in order:
            name = stable_id(identity)
            worst[name] = max(worst.get(name, "passed"), str(outcome), key=order.index)
    counted = Counter(worst.values())
    counts = {
        "passed": counted["passed"],
        "failed": counted["failed"],
        "errors": counted["error"],
        "skipped": counted["skipped"],
    }
    failures = sorted(name for name, outcome in worst.items() if outcome in ("failed", "error"))
    return Parsed(tuple(failures[:MAX_FAILURES]), counts, finished)


def stable_id(identity: str) -> str:
    """A test's id without what differs from run to run: times and addresses in parameters."""
    head, bracket, parameters = identity.partition("[")
    return head + bracket + _ADDRESS.sub("<address>", _TIME.sub("<time>", parameters))


def parse_lint(report: str, tree: Path) -> Parsed:
    """Findings of `ruff check --output-format json`."""
    try:
        findings = json.loads(report)
    except ValueError:
        return Parsed(complete=False)
    rows = [
        (_relative(row["filename"], tree), row["location"]["row"], row.get("code") or "invalid-syntax")
        for row in findings
    ]
    return _located(sorted(rows))


def parse_types(output: str) -> Parsed:
    """Errors of mypy."""
    return _located(sorted((m["path"], int(m["line"]), m["code"] or "error") for m in _MYPY.finditer(output)))


def parse_format(output: str, tree: Path) -> Parsed:
    """Paths that ruff or black would reformat."""
    paths = sorted({_relative(match[1] or match[2], tree) for match in _REFORMAT.finditer(output)})
    return Parsed(tuple(paths[:MAX_FAILURES]), {"unformatted": len(paths)} if paths else {})


def per_file(failures: tuple[str, ...]) -> Counter[tuple[str, str]]:
    """How many findings of each rule a file has, from `path:line:code`: lines move, counts do not."""
    return Counter(
        (path, code) for path, _, code in (failure.rsplit(":", 2) for failure in failures if failure.count(":") >= 2)
    )


def _located(rows: list[tuple[str, int, str]]) -> Parsed:
    failures = tuple(f"{path}:{line}:{code}" for path, line, code in rows[:MAX_FAILURES])
    return Parsed(failures, dict(sorted(Counter(code for _, _, code in rows).items())))


def _relative(path: str, tree: Path) -> str:
    return str(PurePath(path).relative_to(tree)) if PurePath(path).is_relative_to(tree) else path


def _lines(report: str) -> Iterator[dict[str, object]]:
    for line in report.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was stopped
        if isinstance(found, dict):
            yield found
