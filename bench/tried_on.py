"""Syndic on real packages: tidy on each as it is, repair after one hand-made bug each; measured from outside.

`.venv/bin/python bench/tried_on.py [--to FOLDER] [--job tidy|repair] [PACKAGE ...]` fetches source distributions with pip,
puts each under git, runs projects on a stack of its own, one at a time, and writes `results.jsonl` into the folder.
Nothing that Syndic says about its own work is believed: tests run in an environment of their own, on checkouts made here.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from xml.etree import ElementTree

from agents.scope import in_scope, is_test_file
from bench.specimens import SPECIMENS, Specimen
from tests.support.running import BIN, Running, running

GOALS = {"tidy": "Tidy the lint findings", "repair": "Make the failing tests pass"}
_SUPPRESSION = re.compile(
    r"^\+.*#.*(noqa|type:\s*ignore|pyright:\s*ignore|pragma:|nosec|pylint:|fmt:\s*(off|skip))", re.I
)
_PROJECT_TIMEOUT_S = 3600


def main() -> None:
    """Run the chosen packages; one line of JSON a run, and a short one for people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="*", default=[], metavar="PACKAGE", help=", ".join(SPECIMENS))
    parser.add_argument("--to", type=Path, default=None, help="folder for everything; default: a new temporary one")
    parser.add_argument("--job", choices=sorted(GOALS), default=None, help="default: both")
    chosen = parser.parse_args()
    folder = chosen.to or Path(mkdtemp(prefix="tried-on-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"everything is kept in {folder}", file=sys.stderr)
    with running(Path(mkdtemp(prefix="stack-", dir=folder))) as stack:
        stack.start_worker()
        stack.make_current()
        for name in chosen.packages or SPECIMENS:
            for job in [chosen.job] if chosen.job else GOALS:
                result = Trial(stack, folder, SPECIMENS[name], job).run()
                with (folder / "results.jsonl").open("a") as file:
                    file.write(json.dumps(result) + "\n")
                print(
                    json.dumps({key: value for key, value in result.items() if key not in {"diff", "tasks"}}, indent=1)
                )


class Trial:
    """One job on one package."""

    def __init__(self, stack: Running, folder: Path, specimen: Specimen, job: str) -> None:
        self.stack, self.specimen, self.job = stack, specimen, job
        self.folder = Path(mkdtemp(prefix=f"{specimen.name}-{job}-", dir=folder))
        self.repository = self.folder / specimen.name
        self.project = f"{specimen.name}-{job}-{self.folder.name[-4:].lower().replace('_', '0')}"

    def run(self) -> dict[str, Any]:
        """Everything that was measured, as JSON."""
        python = self._python()
        self._unpack(python)
        self._install(python)
        began = time.monotonic()
        before = self._tests(python, self.repository)
        suite = round(time.monotonic() - began, 1)
        lint_before = self._lint(self.repository)
        base = self._git("rev-parse", "HEAD")
        started = time.monotonic()
        report = self._project()
        seconds = round(time.monotonic() - started, 1)
        after = self._delivered(report) or self.repository
        passed = self._tests(python, after)
        diff = self._git("diff", base, report["branch"]) if report["branch"] else ""
        ledger = self.stack.syndic("ledger", "verify", self.project, "--json", check=False)
        return {
            "package": f"{self.specimen.name} {self.specimen.version}", "job": self.job, "state": report["state"],
            "summary": report["summary"], "warnings": report["warnings"],
            **{key: report[key] for key in ("tasks_merged", "tasks_total", "repairs", "model_calls")},
            "seconds": seconds, "suite_s": suite, "parts": self._parts(), "ledger_verified": ledger.returncode == 0,
            "lint_before": lint_before, "lint_after": self._lint(after), "stat": _stat(diff),
            "red_before": sum(outcome != "passed" for outcome in before.values()),
            "red_after": sum(outcome != "passed" for outcome in passed.values()),
            "passed_before": sum(outcome == "passed" for outcome in before.values()),
            "lost": sorted(name for name, how in before.items() if how == "passed" and passed.get(name) != "passed"),
            "suppressions": sum(bool(_SUPPRESSION.match(line)) for line in diff.splitlines()),
            "test_files_changed": [path for path in _paths(diff) if is_test_file(path)],
            "out_of_scope": self._out_of_scope(report, _paths(diff)), **self._against_original(after),
            "tasks": report["tasks"], "diff": diff,
        }  # fmt: skip

    def _python(self) -> Path:
        _must(sys.executable, "-m", "venv", str(self.folder / "venv"))
        return self.folder / "venv" / "bin" / "python"

    def _unpack(self, python: Path) -> None:
        named = f"{self.specimen.name}=={self.specimen.version}"
        downloads = self.folder / "sdist"
        _must(str(python), "-m", "pip", "download", "-q", "--no-deps", "--no-binary", self.specimen.name,
              "-d", str(downloads), named)  # fmt: skip
        self.repository.mkdir()
        [archive] = downloads.glob("*.tar.gz")
        _must("tar", "-xzf", str(archive), "--strip-components=1", "-C", str(self.repository))
        _must("git", "init", "-q", "-b", "main", cwd=self.repository)
        self._commit(named)
        if self.job == "repair":
            path = self.repository / self.specimen.bug.path
            text = path.read_text()
            assert text.count(self.specimen.bug.right) == 1, "the place of the bug is not unique"
            path.write_text(text.replace(self.specimen.bug.right, self.specimen.bug.wrong))
            self._commit(f"A hand-made bug: {self.specimen.bug.kind}")

    def _commit(self, message: str) -> None:
        self._git("add", "-A", "-f")
        self._git("-c", "user.name=Tester", "-c", "user.email=tester@localhost", "commit", "-q", "-m", message)

    def _git(self, *arguments: str) -> str:
        return _must("git", *arguments, cwd=self.repository).strip()

    def _install(self, python: Path) -> None:
        """From a clone, since build backends write into what they build."""
        source = self.folder / "install"
        _must("git", "clone", "-q", str(self.repository), str(source))
        _must(str(python), "-m", "pip", "install", "-q", str(source), *self.specimen.tests_need)

    def _tests(self, python: Path, tree: Path) -> dict[str, str]:
        """Outcome by test id; the tree's own modules come before the installed ones."""
        copy = Path(mkdtemp(prefix="tests-", dir=self.folder)) / "tree"
        _must("cp", "-a", str(tree), str(copy))
        found = copy.parent / "junit.xml"
        roots = str(copy / "src") if (copy / "src").is_dir() else str(copy)
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={found}"]
        subprocess.run(command, cwd=copy, env={"PYTHONPATH": roots, "PATH": "/usr/bin:/bin"}, capture_output=True,
                       timeout=600, check=False)  # fmt: skip
        outcomes: dict[str, str] = {}
        for case in ElementTree.parse(found).iter("testcase"):
            kinds = {child.tag for child in case}
            outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            name = f"{case.get('classname')}::{case.get('name')}"
            if outcome != "skipped" and outcomes.get(name) != "failed":
                outcomes[name] = outcome
        return outcomes

    def _lint(self, tree: Path) -> dict[str, int]:
        """Findings by rule under the package's own configuration, ruff's defaults where it has none; tests apart."""
        isolated = () if "[tool.ruff" in (tree / "pyproject.toml").read_text() else ("--isolated",)
        bare = Path(mkdtemp(prefix="lint-", dir=self.folder)) / "tree"
        shutil.copytree(tree, bare, ignore=shutil.ignore_patterns(".git"))  # ruff would skip generated files there
        options = ("--no-fix", "--no-cache", "--exit-zero", "--output-format=json", *isolated)
        found = json.loads(_must(str(BIN / "ruff"), "check", *options, ".", cwd=bare))
        in_tests = [is_test_file(str(Path(finding["filename"]).relative_to(bare))) for finding in found]
        rules = [str(item["code"]) for item, apart in zip(found, in_tests, strict=True) if not apart]
        return {**dict(sorted(Counter(rules).items())), "in tests": sum(in_tests)}

    def _project(self) -> dict[str, Any]:
        """The report; nobody is there to answer an escalation, so it expires after a minute."""
        brief = {"goal": GOALS[self.job], "repository": str(self.repository), "project_id": self.project,
                 "autonomy": "autonomous", "approval_timeout_minutes": 1}  # fmt: skip
        path = self.folder / "brief.json"
        path.write_text(json.dumps(brief))
        command = [str(BIN / "syndic"), "run", str(path), "--watch", "--json"]
        done = subprocess.run(command, env=self.stack.env, capture_output=True, text=True, timeout=_PROJECT_TIMEOUT_S,
                              check=False)  # fmt: skip
        (self.folder / "run.log").write_text(done.stdout + done.stderr)
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError:
            empty = dict.fromkeys(("tasks_merged", "tasks_total", "repairs", "model_calls"), 0)
            return {**empty, "state": "no report", "summary": done.stderr[-600:], "warnings": [], "branch": None,
                    "tasks": []}  # fmt: skip

    def _delivered(self, report: dict[str, Any]) -> Path | None:
        if not report["branch"]:
            return None
        tree = self.folder / "delivered"
        _must("git", "clone", "-q", "-b", report["branch"], str(self.repository), str(tree))
        return tree

    def _parts(self) -> dict[str, float]:
        """Seconds from the start to the marks of the ledger, and between gates and verdicts of each task."""
        shown = json.loads(self.stack.syndic("ledger", "show", self.project, "--json", check=False).stdout or "[]")
        marks = [(entry["kind"], datetime.fromisoformat(entry["at"])) for entry in shown]
        first: dict[str, float] = {}
        for kind, at in marks:
            first.setdefault(kind, round((at - marks[0][1]).total_seconds(), 1))
        named = ("target_prepared", "plan_proposed", "task_started", "gates_reported", "verdict_given", "task_finished")
        return {kind: first[kind] for kind in (*named, "sprint_finished", "project_closed") if kind in first}

    def _out_of_scope(self, report: dict[str, Any], paths: list[str]) -> list[str]:
        scopes = [self._scope(task) for task in report["tasks"] if task["state"] == "merged"]
        return [path for path in paths if not any(in_scope(scope, path) for scope in scopes)]

    def _scope(self, task: dict[str, Any]) -> list[str]:
        workflow = f"project/{self.project}/sprint/{task['sprint']}/task/{task['task']}"
        shown = self.stack.temporal("workflow", "show", "--workflow-id", workflow, "--output", "json").stdout
        started = json.loads(shown)["events"][0]["workflowExecutionStartedEventAttributes"]
        [payload] = started["input"] if isinstance(started["input"], list) else started["input"]["payloads"]
        spec = json.loads(base64.b64decode(payload["data"])) if "data" in payload else payload
        return spec["task"]["scope"]

    def _against_original(self, after: Path) -> dict[str, Any]:
        if self.job != "repair":
            return {}
        bug = self.specimen.bug
        text = (after / bug.path).read_text()
        return {
            "bug": bug.kind,
            "as_original": text == (self.repository / bug.path).read_text().replace(bug.wrong, bug.right),
        }


def _must(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _paths(diff: str) -> list[str]:
    return re.findall(r"^diff --git a/(\S+) b/", diff, re.MULTILINE)


def _stat(diff: str) -> str:
    def count(sign: str) -> Iterator[int]:
        return (1 for line in diff.splitlines() if line.startswith(sign) and not line.startswith(sign * 3))

    return f"{len(_paths(diff))} files, +{sum(count('+'))} -{sum(count('-'))}"


if __name__ == "__main__":
    main()
