"""What a judge sees in a change: tests and configuration touched, suppressions, secrets, leftovers, public names removed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from agents.offline.diffs import FileDiff
from agents.offline.paths import is_python
from agents.scope import in_scope, is_gate_configuration, is_test_file, refusal_to_write

_SUPPRESSION = re.compile(
    r"#\s*(noqa|type:\s*ignore|pyright:\s*ignore|pylint:\s*disable|pragma:\s*no cover|nosec|ruff:\s*noqa|mypy:|fmt:\s*(off|skip))"
    r"|eslint-disable|@pytest\.mark\.(skip|xfail)|pytest\.skip\(|unittest\.skip|@ts-ignore",
    re.IGNORECASE,
)
_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{20,}"
    r"|\bxox[abp]-[A-Za-z0-9-]{10,}|(?i:password|secret|api_?key|token)\s*=\s*['\"][^'\"\s]{12,}['\"]"
)
_LEFTOVER = re.compile(r"\bbreakpoint\(\)|\bpdb\.set_trace\(|^\s*print\(['\"](?i:debug|xxx|here)|\b(FIXME|XXX)\b")
_CONFLICT = re.compile(r"^(<{7} |>{7} |\|{7} )")
_DEFINITION = re.compile(r"^(?:async def|def|class)\s+(\w+)|^(\w+)\s*(?::[^=]+)?=[^=]")
_REFUSED = re.compile(r"refused change (\S+): ((?:`[^`]*`(?:, )?)+)")


def touched_tests(diffs: Iterable[FileDiff]) -> list[str]:
    return [diff.path for diff in diffs if is_test_file(diff.path)]


def touched_configuration(diffs: Iterable[FileDiff]) -> list[str]:
    """Files that decide what gates check."""
    return [diff.path for diff in diffs if is_gate_configuration(diff.path) and not is_test_file(diff.path)]


def outside_scope(diffs: Iterable[FileDiff], scope: Iterable[str]) -> list[str]:
    globs = tuple(scope)
    return [diff.path for diff in diffs if not in_scope(globs, diff.path)]


def forbidden(path: str, scope: Iterable[str]) -> bool:
    """Whether a scope refuses a path, special files included."""
    return refusal_to_write(tuple(scope), path) is not None


def added_suppressions(diffs: Iterable[FileDiff]) -> list[str]:
    """New suppressions; one that was only moved along with its line does not count."""
    found: list[str] = []
    for diff in diffs:
        before = sum(bool(_SUPPRESSION.search(line)) for line in diff.removed)
        added = [line for line in diff.added if _SUPPRESSION.search(line)]
        if len(added) > before:
            found += [f"{diff.path}: {line.strip()[:120]}" for line in added]
    return found


def added_secrets(diffs: Iterable[FileDiff]) -> list[str]:
    """Places of what looks like a secret; the value itself is not repeated."""
    return [f"{diff.path}" for diff in diffs if any(_SECRET.search(line) for line in diff.added)]


def binaries(diffs: Iterable[FileDiff]) -> list[str]:
    return [diff.path for diff in diffs if diff.binary]


def leftovers(diffs: Iterable[FileDiff]) -> list[str]:
    """Debugging aids and notes to self in added lines."""
    return [f"{d.path}: {line.strip()[:120]}" for d in diffs for line in d.added if _LEFTOVER.search(line)]


def conflict_markers(diffs: Iterable[FileDiff]) -> list[str]:
    return [d.path for d in diffs if any(_CONFLICT.match(line) for line in d.added)]


def removed_names(diffs: Iterable[FileDiff]) -> Iterator[tuple[str, str]]:
    """Public top-level definitions that a change takes away, as path and name."""
    for diff in diffs:
        if not is_python(diff.path) or is_test_file(diff.path):
            continue
        kept = {name for line in diff.added for name in _defined(line)}
        for line in diff.removed:
            for name in _defined(line):
                if name not in kept and not name.startswith("_"):
                    yield diff.path, name


def _defined(line: str) -> list[str]:
    match = _DEFINITION.match(line)
    return [match[1] or match[2]] if match else []


def refused_text(diffs: Iterable[FileDiff]) -> str:
    """The changed lines in a form that a second attempt can read back, for small changes."""
    parts = [
        f"refused change {diff.path}: {', '.join(f'`{line.strip()}`' for line in diff.added if '`' not in line)}"
        for diff in diffs
        if 0 < len(diff.added) <= 6
    ]
    return "; ".join(parts)


def refused_lines(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Path and line of changes that feedback says were refused."""
    for text in texts:
        for path, lines in _REFUSED.findall(text):
            for line in re.findall(r"`([^`]*)`", lines):
                yield path, line
