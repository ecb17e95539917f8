"""What a person does and sees: repositories, briefs, `syndic run --watch`, and whether the own checkout is as it was."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import Result

from tests.support.running import Running

Syndic = Callable[..., Result]
Briefs = Mapping[str, Mapping[str, Any]]

TEXT = {"README.md": "# notes\n"}
"""A repository without Python."""
UNUSED = {**TEXT, "mod.py": "import os\n\n\ndef f():\n    return 1\n", "ruff.toml": '[lint]\nselect = ["F"]\n'}
"""One unused import and no test: the quickest change there is."""
TRUE_GATE = {"name": "always", "run": "true"}

REPORT = {"goal": "Describe it", "tasks": [{"id": "report", "kind": "analysis", "instructions": "Describe it"}]}
"""A project of three seconds that changes nothing."""
CHANGE = {
    "goal": "Remove unused imports",
    "gates": [TRUE_GATE],
    "tasks": [{"id": "tidy", "instructions": "Remove unused imports"}],
}
"""A project that merges one change into `UNUSED`."""


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def contents(folder: Path) -> dict[str, str]:
    """Every file, link and folder below, `.git` included, with rights and bytes."""
    return {str(path.relative_to(folder)): _look(path) for path in sorted(folder.rglob("*"))}


def _look(path: Path) -> str:
    status = path.lstat()
    rights = oct(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return f"{rights} -> {os.readlink(path)}"
    if stat.S_ISREG(status.st_mode):
        return f"{rights} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return rights


def assert_untouched(folder: Path, before: Mapping[str, str]) -> None:
    """All that was there is there, byte by byte; nothing was added but objects and a delivered branch."""
    after = contents(folder)
    gitdir = "" if (folder / "objects").is_dir() else ".git/"
    allowed = (f"{gitdir}objects/", f"{gitdir}refs/heads/syndic", f"{gitdir}logs")
    assert {name: after.get(name) for name in before} == dict(before)
    assert [name for name in after if name not in before and not name.startswith(allowed)] == []


def assert_refused(result: Result, code: int, *said: str) -> None:
    """One clear text on stderr, nothing on stdout, no traceback."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.stderr
    for text in said:
        assert text in result.stderr


@dataclass(frozen=True)
class Ended:
    """`syndic run --watch --json` after its end."""

    code: int
    report: dict[str, Any]
    said: str


def run(stack: Running, folder: Path, name: str, brief: Mapping[str, Any]) -> Ended:
    """Give a brief to the team and wait for the end."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"project_id": name, "autonomy": "autonomous", **brief}))
    done = stack.syndic("run", str(path), "--watch", "--json", check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr)


def run_all(stack: Running, folder: Path, briefs: Briefs) -> dict[str, Ended]:
    """Several projects side by side."""
    with ThreadPoolExecutor(3) as pool:
        return dict(zip(briefs, pool.map(lambda item: run(stack, folder, *item), briefs.items()), strict=True))


def start_plainly(stack: Running, folder: Path, project: str, brief: Mapping[str, Any]) -> str:
    """Start with the `temporal` binary alone; what `workflow result` says of the end."""
    path = folder / f"{project}-plain.json"
    path.write_text(json.dumps({"autonomy": "autonomous", **brief}))
    name = ("--workflow-id", f"project/{project}")
    stack.temporal("workflow", "start", "--type", "Project", "--task-queue", "syndic", *name, "--input-file", str(path))
    done = stack.temporal("workflow", "result", *name, check=False)
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr
