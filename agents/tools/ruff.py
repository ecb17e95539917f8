"""Ruff under the repository's own configuration: what it finds, and its safe fixes by rule."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

from agents.errors import AgentError
from agents.sandbox import Limits
from agents.tools.answers import cut
from agents.tools.base import ToolContext
from agents.tools.copies import scratch_folder
from agents.tools.edits import walk_files
from agents.tools.programs import folders_of, program_of
from ledger.vocabulary import Record

RULE_PATTERN = r"^(?:ALL|[A-Z]{1,7}[0-9]{0,5})$"
Rule = Annotated[str, StringConstraints(pattern=RULE_PATTERN)]
"""A rule's code or a prefix of codes: `F401`, `F`, `E7`, `ALL`."""
TIMEOUT_S = 120
_CONFIGURATION = frozenset({"ruff.toml", ".ruff.toml"})
_PATHS_A_RUN = 500
"""File names in one command line, far below the kernel's limit."""


class LintFinding(Record):
    """One finding. `fixable` means that ruff has a safe fix and the repository's configuration does not forbid it."""

    path: str
    line: int
    column: int
    code: str
    message: str
    fixable: bool


def is_configured(tree: Path) -> bool:
    """Whether the repository configures ruff anywhere."""
    for name in walk_files(tree):
        base = name.rsplit("/", 1)[-1]
        if base in _CONFIGURATION or (base == "pyproject.toml" and _has_ruff_table(tree / name)):
            return True
    return False


def covers(rules: Iterable[str], code: str) -> bool:
    """Whether one of the rules is the code, a prefix of it, or its linter: `F` covers `F401` but not `FBT001`."""
    letters = re.match(r"[A-Z]*", code)
    linter = letters.group() if letters else ""
    return any(
        rule == "ALL" or (code.startswith(rule) if rule[-1].isdigit() else linter == rule or _is_group(rule, linter))
        for rule in rules
    )


def counts(findings: Iterable[LintFinding]) -> dict[str, int]:
    """Findings by rule, most frequent first."""
    return dict(Counter(finding.code for finding in findings).most_common())


async def check(context: ToolContext, paths: Sequence[str], rules: Sequence[str]) -> tuple[LintFinding, ...]:
    """All findings below `paths` that `rules` cover; no file is changed.

    Where the repository configures ruff, its selection stands and `rules` only narrows it. Elsewhere `rules` is selected,
    or ruff's defaults where there are none.

    Raises:
        AgentError: Ruff could not work, such as on a broken configuration.
    """
    tree = context.worktree.path.resolve()
    async with scratch_folder(context, "lint") as folder:
        output = folder / "findings.json"
        options = ["--no-fix", "--exit-zero", "--output-format", "json", "--output-file", str(output)]
        await _ruff(context, [*options, *_selection(tree, rules)], paths or ["."], writable=[folder])
        found = [_finding(tree, item) for item in json.loads(output.read_text())]
    return tuple(finding for finding in found if not rules or covers(rules, finding.code))


async def fix(context: ToolContext, paths: Sequence[str], codes: Sequence[str], rules: Sequence[str]) -> None:
    """Apply safe fixes of exactly these codes to exactly these files.

    `--fixable` leaves the repository's own selection as it is, which `--select` would override.

    Raises:
        AgentError: Ruff could not work.
    """
    tree = context.worktree.path.resolve()
    options = ["--fix-only", "--no-unsafe-fixes", "--exit-zero", "--fixable", ",".join(codes)]
    for start in range(0, len(paths), _PATHS_A_RUN):
        await _ruff(context, [*options, *_selection(tree, rules)], paths[start : start + _PATHS_A_RUN], writable=[tree])


async def _ruff(context: ToolContext, options: list[str], paths: Sequence[str], *, writable: list[Path]) -> None:
    ruff = program_of(context.environment, "ruff")
    done = await context.sandbox.run(
        [ruff, "check", "--no-cache", "--force-exclude", "--quiet", *options, "--", *paths],
        cwd=context.worktree.path.resolve(),
        writable=writable,
        readable=[context.worktree.path.resolve(), *folders_of(context.environment)],
        limits=Limits(timeout_s=TIMEOUT_S),
    )
    if done.exit_code != 0:
        how = "ran out of time" if done.timed_out else f"ended with exit code {done.exit_code}"
        raise AgentError(f"ruff {how}: {cut(done.stderr.strip() or done.stdout.strip(), 1_000)}")


def _selection(tree: Path, rules: Sequence[str]) -> list[str]:
    return ["--select", ",".join(rules)] if rules and not is_configured(tree) else []


def _finding(tree: Path, item: dict[str, object]) -> LintFinding:
    location = item["location"]
    assert isinstance(location, dict)
    fix = item.get("fix")
    return LintFinding(
        path=str(Path(str(item["filename"])).relative_to(tree)),
        line=location["row"],
        column=location["column"],
        code=str(item.get("code") or "invalid-syntax"),
        message=str(item["message"]),
        fixable=isinstance(fix, dict) and fix.get("applicability") == "safe",
    )


def _is_group(rule: str, linter: str) -> bool:
    """`PL` stands for `PLC`, `PLE`, `PLR` and `PLW`, the only linter whose codes go on with a letter."""
    return rule == "PL" and linter.startswith("PL")


def _has_ruff_table(path: Path) -> bool:
    try:
        tool = tomllib.loads(path.read_text()).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False
    return isinstance(tool, dict) and "ruff" in tool
