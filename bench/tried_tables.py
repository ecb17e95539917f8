"""The tables of `docs/tried-on.md` from the lines that `bench/tried_on.py` wrote; of each package and job the last one.

`.venv/bin/python bench/tried_tables.py FOLDER/results.jsonl ...`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

Result = dict[str, Any]
_TIDY = (
    "package",
    "state",
    "tasks",
    "repairs",
    "calls",
    "time",
    "suite",
    "lint before, outside tests",
    "after",
    "diff",
)
_REPAIR = ("package", "bug", "red tests", "state", "attempts", "calls", "time", "suite", "outcome")


def main() -> None:
    """Print both tables and whatever broke a promise."""
    results: dict[tuple[str, str], Result] = {}
    for name in sys.argv[1:]:
        for line in Path(name).read_text().splitlines():
            result = json.loads(line)
            results[result["package"], result["job"]] = result
    ordered = [results[key] for key in sorted(results)]
    for job, head, row in (("tidy", _TIDY, _tidy), ("repair", _REPAIR, _repair)):
        print(f"## {job}\n")
        for cells in (head, ["---"] * len(head), *(row(result) for result in ordered if result["job"] == job)):
            print(f"| {' | '.join(str(cell) for cell in cells)} |")
        print()
    for result in ordered:
        for promise in ("lost", "suppressions", "test_files_changed", "out_of_scope"):
            if result[promise]:
                print(f"{result['package']} {result['job']}: {promise}: {result[promise]}")
        if not result["ledger_verified"]:
            print(f"{result['package']} {result['job']}: the ledger does not verify")


def _tidy(result: Result) -> list[object]:
    before, after = _rules(result["lint_before"]), _rules(result["lint_after"])
    return [
        result["package"], result["state"], f"{result['tasks_merged']} of {result['tasks_total']}", result["repairs"],
        result["model_calls"], f"{result['seconds']:.0f} s", f"{result['suite_s']:.0f} s", before,
        "the same" if before == after else after, result["stat"],
    ]  # fmt: skip


def _repair(result: Result) -> list[object]:
    attempts = sum(task["attempts"] for task in result["tasks"])
    mended = "the original line" if result["as_original"] else "another patch" if result["diff"] else "given up"
    red = f"{result['red_before']} -> {result['red_after']}"
    return [
        result["package"], result["bug"], red, result["state"], attempts, result["model_calls"],
        f"{result['seconds']:.0f} s", f"{result['suite_s']:.0f} s", mended,
    ]  # fmt: skip


def _rules(counts: dict[str, int]) -> str:
    shown = [
        f"{rule} {count}" for rule, count in sorted(counts.items(), key=lambda pair: -pair[1]) if rule != "in tests"
    ]
    return ", ".join(shown) or "none"


if __name__ == "__main__":
    main()
