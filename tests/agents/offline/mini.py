"""A test runner of a few lines, so that conversations can be tested without a second of pytest for each candidate.

As a program: `mini.py TREE` runs every test function below TREE and prints outcomes and lines as JSON.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from types import FrameType
from typing import Any

from agents.assignments import GateState
from agents.offline.source import Edit, apply_edits


def _functions(tree: Path, outcomes: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for file in sorted(tree.rglob("test_*.py")):
        name = str(file.relative_to(tree))
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception:
            outcomes[name] = {"outcome": "error", "lines": [], "text": traceback.format_exc()}
            continue
        yield from ((f"{name}::{key}", value) for key, value in vars(module).items() if key.startswith("test_"))


def main(tree: Path) -> None:
    sys.path.insert(0, str(tree))
    sys.dont_write_bytecode = True
    outcomes: dict[str, Any] = {}
    for name, function in _functions(tree, outcomes):
        lines: set[tuple[str, int]] = set()

        def trace(frame: FrameType, event: str, _: Any, lines: set[tuple[str, int]] = lines) -> Any:
            if frame.f_code.co_filename.startswith(str(tree)):
                if event == "line":
                    lines.add((str(Path(frame.f_code.co_filename).relative_to(tree)), frame.f_lineno))
                return trace
            return None

        sys.settrace(trace)
        try:
            function()
            outcome, text = "passed", ""
        except Exception:
            outcome, text = "failed", traceback.format_exc()
        sys.settrace(None)
        outcomes[name] = {"outcome": outcome, "lines": sorted(lines), "text": text}
    sys.stdout.write(json.dumps(outcomes))


async def outcomes_of(tree: Path) -> dict[str, Any]:
    root = Path(__file__).parents[3]
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, str(tree), env={"PYTHONPATH": str(root)}, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return json.loads(output)


def failures(outcomes: dict[str, Any]) -> tuple[str, ...]:
    return tuple(name for name, row in outcomes.items() if row["outcome"] != "passed")


async def gate(tree: Path) -> tuple[GateState, str]:
    found = await outcomes_of(tree)
    red = failures(found)
    state = GateState(name="tests", kind="tests", passed=not red, failures=red, counts={"failed": len(red)})
    return state, "\n".join(row["text"] for row in found.values())[-4000:]


async def run_gate(tree: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    state, tail = await gate(tree)
    return {**state.model_dump(mode="json"), "gate": arguments["gate"], "tail": tail}


async def rank_suspects(tree: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    found = await outcomes_of(tree)
    red = [row for name, row in found.items() if name in arguments["tests"]]
    green = [row for row in found.values() if row["outcome"] == "passed"]
    lines = {tuple(line) for row in red for line in row["lines"] if not line[0].startswith("test")}
    suspects = []
    for line in sorted(lines):
        failing, passing = (sum(list(line) in row["lines"] for row in rows) for rows in (red, green))
        score = failing / sqrt(len(red) * (failing + passing))
        suspects.append({"path": line[0], "line": line[1], "function": "", "score": score})
    suspects.sort(key=lambda row: -row["score"])
    return (
        {"suspects": suspects, "failing": len(red), "passing": len(green)} if red else {"error": "none of them fails"}
    )


async def try_patch(tree: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    before = set(failures(await outcomes_of(tree)))
    rows = []
    for candidate in arguments["candidates"]:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "tree"
            shutil.copytree(tree, copy, ignore=shutil.ignore_patterns(".git"))
            edits = [Edit(**edit) for edit in candidate["edits"]]
            for path in {edit.path for edit in edits}:
                text = (copy / path).read_text()
                (copy / path).write_text(apply_edits(text, tuple(e for e in edits if e.path == path)))
            red = set(failures(await outcomes_of(copy)))
        still = [test for test in arguments["tests"] if test in red]
        broken = sorted(red - before)
        row = {"id": candidate["id"], "applied": True, "fixed": not still, "still_failing": still}
        rows.append({**row, "suite_passed": not broken if not still else None, "broken": broken if not still else []})
    return {"results": rows}


TOOLS = {"run_gate": run_gate, "rank_suspects": rank_suspects, "try_patch": try_patch}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
