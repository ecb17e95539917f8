"""A supervised project in strict mode and a dry run beside it, on real processes: what is shown is what is merged."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import BUGGY, Running, eventually, make_repository

pytestmark = pytest.mark.chaos  # two whole projects and a person who looks at everything take their time

STRICT, DRY = "consent", "rehearsal"
GOAL = "Make the tests pass"


class Person:
    """Approves whatever a project asks, with the digest of what was shown, and keeps it."""

    def __init__(self, stack: Running) -> None:
        self.stack = stack
        self.seen: list[dict[str, Any]] = []

    def answer(self) -> bool:
        """Answer what is open; whether the project has ended."""
        query = f'SyndicProject="{STRICT}" AND SyndicAwaiting IS NOT NULL AND ExecutionStatus="Running"'
        found = json.loads(self.stack.temporal("workflow", "list", "--query", query, "--output", "json").stdout or "[]")
        for workflow in found:
            name = workflow["execution"]["workflowId"]
            for view in self.stack.query(name, "approvals")["open"]:
                if view["id"] not in [seen["id"] for seen in self.seen]:
                    self.seen.append(view)
                    self._approve(name, view)
        return ended(self.stack, STRICT)

    def _approve(self, workflow: str, view: dict[str, Any]) -> None:
        answer = {"approval": view["id"], "decision": "approve", "by": "me", "digest": view["digest"]}
        words = ("--workflow-id", workflow, "--name", "decide", "--input")
        if view["kind"] == "plan":  # in strict mode nothing counts that does not say what it is about
            self.stack.temporal("workflow", "signal", *words, json.dumps({**answer, "digest": None}))
        self.stack.temporal("workflow", "signal", *words, json.dumps(answer))


def ended(stack: Running, project: str) -> bool:
    return stack.has_ended(f"project/{project}")


def result(stack: Running, project: str) -> dict[str, Any]:
    done = stack.temporal("workflow", "result", "--workflow-id", f"project/{project}", "--output", "json")
    return json.loads(done.stdout)["result"]


@pytest.fixture(scope="module")
def told(stack: Running, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    repository = make_repository(tmp_path_factory.mktemp("consent") / "repository", BUGGY)
    for project, mode, autonomy in ((STRICT, "strict", "supervised"), (DRY, "dry_run", "autonomous")):
        brief = {"goal": GOAL, "repository": str(repository), "mode": mode, "autonomy": autonomy}
        stack.temporal(
            "workflow", "start", "--type", "Project", "--task-queue", "syndic", "--workflow-id", f"project/{project}",
            "--input", json.dumps(brief),
        )  # fmt: skip
    person = Person(stack)
    eventually(person.answer, "the end of the strict project", within_s=180)
    eventually(lambda: ended(stack, DRY), "the end of the dry run", within_s=180)
    refused = stack.query(f"project/{STRICT}", "approvals")["refused"]
    return {
        "repository": repository, "seen": person.seen, "refused": refused,
        "strict": result(stack, STRICT), "dry": result(stack, DRY),
    }  # fmt: skip


def of(told: dict[str, Any], kind: str) -> dict[str, Any]:
    [view] = [view for view in told["seen"] if view["kind"] == kind]
    return view["subject"]


def test_every_checkpoint_was_asked_and_each_answer_needed_its_digest(told: dict[str, Any]) -> None:
    kinds = [view["kind"] for view in told["seen"]]
    assert kinds == ["architecture", "plan", "task", "review", "merge", "milestone"]
    assert all(view["bound"] for view in told["seen"])
    assert ["digest" in refusal["reason"] for refusal in told["refused"]] == [True]
    report = told["strict"]
    assert (report["state"], report["tasks_merged"], report["approvals"]) == ("done", 1, 6), report


def test_the_branch_holds_the_commits_and_trees_that_were_approved(told: dict[str, Any]) -> None:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=told["repository"], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    merge, review, milestone = of(told, "merge"), of(told, "review"), of(told, "milestone")
    branch = f"syndic/{STRICT}"
    assert git("rev-parse", f"{merge['commit']}^{{tree}}") == merge["tree"]
    assert git("rev-parse", f"{merge['commit']}^2") == review["commit"] == merge["source"]
    assert milestone["commit"] == merge["commit"]
    git("merge-base", "--is-ancestor", merge["commit"], branch)
    assert git("rev-parse", f"{branch}^{{tree}}") == merge["tree"]
    assert merge["paths"] == ["tiny/clamp.py"]


def test_the_diff_that_was_shown_is_the_one_of_the_merge(told: dict[str, Any]) -> None:
    merge = of(told, "merge")
    command = ["git", "diff", "--no-renames", merge["parent"], merge["commit"], "--"]
    diff = subprocess.run(command, cwd=told["repository"], check=True, capture_output=True).stdout
    assert b"+    if value > high:" in diff
    assert (hashlib.sha256(diff).hexdigest(), len(diff)) == (merge["diff"]["digest"], merge["diff"]["size"])


def test_the_dry_run_merged_nothing_and_left_every_diff(told: dict[str, Any], stack: Running) -> None:
    report = told["dry"]
    assert (report["state"], report["tasks_merged"], report["branch"]) == ("done", 0, None), report
    branches = subprocess.run(
        ["git", "branch", "--list", f"syndic/{DRY}*"],
        cwd=told["repository"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert branches.stdout == ""
    page = Path(report["report_file"])
    assert page.parent == Path(stack.env["SYNDIC_STATE_DIR"]) / "projects" / DRY / "dry-run"
    assert "+    if value > high:" in page.read_text()
    assert report["report"]["media_type"] == "text/markdown"
    [patch] = page.parent.glob("*.patch")
    subprocess.run(["git", "apply", "--check", str(patch)], cwd=told["repository"], check=True)
    assert str(page) in stack.syndic("status", DRY).stdout
