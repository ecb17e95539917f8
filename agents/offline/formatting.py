"""Changed files are formatted where the repository has a formatter and the file was formatted before."""

from __future__ import annotations

from collections.abc import Iterable

from agents.offline.conversation import Call, Result
from agents.offline.diffs import parse_diff
from agents.offline.reading import gates_of
from agents.offline.script import Desk, Steps

_FILES = 20


def format_changed(desk: Desk, changed: Iterable[str]) -> Steps[list[str]]:
    """Format what was changed, in the way of the repository's own gate; returns the files that it concerned.

    Files that were not formatted at the base commit stay as they are: to reformat them is nobody's wish.
    """
    gates = gates_of(desk, "format")
    paths = sorted(set(changed) - {path for gate in gates for path in gate.failures})[:_FILES]
    if not gates or not paths:
        return []
    checked = yield from desk.use("Is what I changed still formatted?", "run_gate", gate=gates[0].name)
    wanted = [path for path in paths if path in [str(f) for f in checked.get("failures", [])]]
    if not wanted:
        return []
    calls = [Call("run_program", {"argv": [*_formatter(checked), path]}) for path in wanted]
    results: list[Result] = yield from desk.use_all("I ask the formatter what it would change.", calls)
    edits = [
        edit.as_json()
        for path, result in zip(wanted, results, strict=True)
        if result.ok and not result.get("truncated", False)
        for diff in parse_diff(str(result.get("stdout", "")))
        for edit in diff.forward(path)
    ]
    if not edits:
        return []
    result = yield from desk.use("I format it.", "apply_patch", edits=edits[:200])
    return wanted if result.ok else []


def _formatter(checked: Result) -> list[str]:
    """The program behind the gate: ruff says `Would reformat:`, black says `would reformat`."""
    black = "would reformat " in str(checked.get("tail", ""))
    return ["python", "-m", "black", "--quiet", "--diff"] if black else ["ruff", "format", "--quiet", "--diff"]
