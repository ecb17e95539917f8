"""A project from start to merged branch with nothing but the `temporal` binary: the README's own command lines."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import BUGGY, Running, eventually, make_repository

README = Path(__file__).parents[2] / "README.md"
INBOX = README.parent / "docs" / "inbox.md"


def _block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    return next(block for block in blocks if containing in block)


def _readme_lines() -> dict[str, list[str]]:
    """The README's `temporal` lines by what they do: `start`, `list`, `query status`, `signal decide`, `result` ..."""
    lines: dict[str, list[str]] = {}
    for line in _block("sh", "temporal --profile").splitlines():
        words = shlex.split(line)
        verb = words[4] if words[3] == "workflow" else words[5]
        named = (
            words[words.index("--name" if verb == "signal" else "--type") + 1] if verb in {"signal", "query"} else ""
        )
        lines[f"{verb} {named}".strip()] = words
    return lines


class Operator:
    """A person with the `temporal` binary and the README."""

    def __init__(self, stack: Running) -> None:
        self.stack = stack
        self.lines = _readme_lines()

    def does(self, what: str, **replaced: str) -> subprocess.CompletedProcess[str]:
        words = list(self.lines[what])
        for old, new in replaced.items():
            words = [word.replace(old, new) for word in words]
        return self.stack.run(words)

    def asks(self, name: str) -> dict[str, Any]:
        done = self.stack.run([*self.lines[f"query {name}"], "--output", "json"])
        return json.loads(done.stdout)["queryResult"][0]

    def waits_for(self, kind: str) -> dict[str, Any]:
        def seen() -> dict[str, Any] | None:
            awaiting = self.asks("approvals")["open"] or ()
            return next((request for request in awaiting if request["kind"] == kind), None)

        return eventually(seen, f"an open request of kind {kind}", within_s=120)


@pytest.fixture(scope="module")
def finished(stack: Running, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Runs the whole story once; the tests below look at what was seen on the way."""
    folder = tmp_path_factory.mktemp("shop")
    repository = make_repository(folder / "repository", BUGGY)
    brief = folder / "brief.json"
    brief.write_text(_block("json", "repository").replace("/path/to/repository", str(repository)))
    person = Operator(stack)
    person.does("start", **{"brief.json": str(brief)})
    plan = person.waits_for("plan")
    seen: dict[str, Any] = {"repository": repository, "plan": plan, "status": person.asks("status")}
    seen["list"] = eventually(
        lambda: (found := person.does("list").stdout) and "project/shop" in found and found, "the project in the inbox"
    )
    workflow = ("--workflow-id", "project/shop")
    stack.temporal("workflow", "signal", *workflow, "--name", "decide")
    stack.temporal("workflow", "signal", *workflow, "--name", "decide", "--input", "1", "--input", "2")
    stack.temporal("workflow", "signal", *workflow, "--name", "frobnicate", "--input", "{}")
    stack.temporal("workflow", "signal", *workflow, "--name", "decide", "--input", '{"approvall": 1}')
    wrong = json.dumps({"approval": plan["id"], "decision": "approve", "by": "me", "digest": "0" * 64})
    stack.temporal("workflow", "signal", *workflow, "--name", "decide", "--input", wrong)
    person.does("signal pause")
    eventually(lambda: person.asks("status")["paused"], "the pause")
    person.does("signal resume")
    eventually(lambda: not person.asks("status")["paused"], "the end of the pause")
    seen["before_decision"] = person.asks("approvals")
    person.does("signal decide", REQUEST=plan["id"])
    milestone = person.waits_for("milestone")
    person.does("signal decide", REQUEST=milestone["id"])
    seen["result"] = json.loads(stack.run([*person.lines["result"], "--output", "json"]).stdout)
    seen["approvals"] = person.asks("approvals")
    seen["deployment"] = person.does("describe").stdout
    return seen


def test_the_project_ends_with_its_task_merged(finished: dict[str, Any]) -> None:
    report = finished["result"]["result"]
    assert report["state"] == "done", report
    assert report["tasks_merged"] == report["tasks_total"] == 1
    assert report["approvals"] == 2
    assert report["ledger_verified"] is True


def test_the_red_tests_are_green_on_the_delivered_branch_and_the_checkout_is_untouched(
    finished: dict[str, Any],
) -> None:
    repository: Path = finished["repository"]

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=repository, check=True, capture_output=True, text=True).stdout

    assert "if value > high:" in git("show", "syndic/shop:tiny/clamp.py")
    assert git("status", "--porcelain") == ""
    assert git("branch", "--show-current").strip() == "main"
    trailers = git("log", "--merges", "--format=%(trailers:key=Syndic-Ledger,valueonly=true)", "syndic/shop").split()
    assert trailers
    assert all(re.fullmatch(r"shop@\d+:[0-9a-f]{64}", trailer) for trailer in trailers)


def test_the_inbox_is_one_list(finished: dict[str, Any]) -> None:
    assert "project/shop" in finished["list"]


def test_stray_signals_are_refused_on_the_record_and_change_nothing(finished: dict[str, Any]) -> None:
    seen = finished["before_decision"]
    reasons = [refusal["reason"] for refusal in seen["refused"]]
    assert len(reasons) >= 5, reasons
    assert [request["kind"] for request in seen["open"]] == ["plan"]
    assert any("what was shown has changed" in reason for reason in reasons), reasons
    assert any("frobnicate" in refusal["message"] or "frobnicate" in refusal["reason"] for refusal in seen["refused"])


def test_the_refusals_are_on_the_ledger(finished: dict[str, Any], stack: Running) -> None:
    shown = json.loads(stack.syndic("ledger", "show", "shop", "--json").stdout)
    entries = shown["entries"] if isinstance(shown, dict) else shown
    assert sum(entry["kind"] == "message_refused" for entry in entries) >= 5
    assert {entry["kind"] for entry in entries} >= {"decision_made", "plan_proposed", "merge_made", "project_closed"}


def test_the_worker_deployment_describes_the_version(finished: dict[str, Any]) -> None:
    assert "test" in finished["deployment"]
    assert "Current" in finished["deployment"] or "current" in finished["deployment"]


@pytest.mark.parametrize(
    "brief",
    [
        '{"goall": "Make the tests pass", "repository": "/nowhere"}',
        '{"goal": "Make the tests pass", "repository": "/nowhere", "budget": 3}',
        "[1, 2]",
    ],
)
def test_a_misspelt_start_fails_at_once_and_says_why(stack: Running, tmp_path: Path, brief: str) -> None:
    path = tmp_path / "brief.json"
    path.write_text(brief)
    name = f"project/bad-{abs(hash(brief)) % 10_000}"
    stack.temporal(
        "workflow", "start", "--type", "Project", "--task-queue", "syndic", "--workflow-id", name,
        "--input-file", str(path),
    )  # fmt: skip
    done = stack.temporal("workflow", "result", "--workflow-id", name, check=False)
    assert done.returncode != 0
    assert "InvalidBrief" in done.stdout + done.stderr


def test_every_activity_timer_and_child_of_the_project_carries_a_summary(
    finished: dict[str, Any], stack: Running
) -> None:
    scheduled = ("ACTIVITY_TASK_SCHEDULED", "TIMER_STARTED", "START_CHILD_WORKFLOW_EXECUTION_INITIATED")
    for name in ("project/shop", "project/shop/sprint/1"):
        shown = stack.temporal("workflow", "show", "--workflow-id", name, "--output", "json").stdout
        events = [event for event in json.loads(shown)["events"] if event["eventType"].endswith(scheduled)]
        assert events
        assert [event["eventId"] for event in events if not event.get("userMetadata", {}).get("summary")] == []


# docs/inbox.md, line by line.


JSON = ("--output", "json")


class Reader:
    """A person with the `temporal` binary and the page about the inbox."""

    def __init__(self, stack: Running) -> None:
        self.stack = stack
        text = INBOX.read_text()
        self.lines = [shlex.split(line) for line in text.splitlines() if line.startswith("temporal ")]

    def does(self, *said: str, more: tuple[str, ...] = (), **replaced: str) -> str:
        """Run the one line that has all those words, with its placeholders filled in and `more` at its end."""
        [words] = [words for words in self.lines if all(any(part in word for word in words) for part in said)]
        for old, new in replaced.items():
            words = [word.replace(old, new) for word in words]
        return self.stack.run([*words, *more]).stdout


@pytest.fixture(scope="module")
def asking(stack: Running, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Three projects that ask about their plan: the id of each request by its project."""
    folder = tmp_path_factory.mktemp("asking")
    requests: dict[str, str] = {}
    for project in ("ask-one", "ask-two", "ask-three"):
        brief = folder / f"{project}.json"
        repository = make_repository(folder / project, BUGGY)
        tasks = [{"id": "look", "kind": "analysis", "instructions": "Describe the modules"}]
        brief.write_text(json.dumps({"goal": "Describe it", "repository": str(repository), "tasks": tasks}))
        stack.temporal(
            "workflow", "start", "--type", "Project", "--task-queue", "syndic", "--workflow-id", f"project/{project}",
            "--input-file", str(brief),
        )  # fmt: skip
        requests[project] = f"{project}.plan-1"
    return requests


def test_every_line_about_the_inbox_does_what_the_page_says(asking: dict[str, str], stack: Running) -> None:
    person = Reader(stack)
    one, two, three = asking

    def listed() -> bool:
        found = person.does("list", "IS NOT NULL")
        return all(f"project/{project}" in found for project in asking)

    eventually(listed, "three projects in one listing", within_s=120)
    assert json.loads(person.does("count", 'SyndicAwaiting="plan"').split()[-1]) >= 3
    [row] = json.loads(person.does("list", "SyndicProject", PROJECT=one, more=JSON))
    memo = row["memo"]["fields"]["approvals"]
    assert [request["id"] for request in memo] == [asking[one]]
    told = json.loads(stack.syndic("inbox", "--json").stdout)
    assert {request["id"] for request in told} >= set(asking.values())

    shown = person.does("query", "approvals", PROJECT=one)
    assert memo[0]["digest"] in shown
    assert asking[one] in person.does("metadata", PROJECT=one)

    answer = {"PROJECT": one, "REQUEST": asking[one], "DIGEST": memo[0]["digest"]}
    assert "effect" in person.does("update", "decide_now", **answer)
    person.does("signal", "--workflow-id", **answer)  # a second answer: refused, on the record
    eventually(lambda: stack.query(f"project/{one}", "approvals")["refused"], "the refusal")

    person.does("signal", "--query", "all_of")
    [job] = json.loads(stack.temporal("batch", "list", "--output", "json").stdout)
    assert job["jobId"] in person.does("batch", "list")
    described = ("batch", "describe")
    eventually(lambda: re.search(r"State\s+Completed", person.does(*described, JOB=job["jobId"])), "its end")
    for project in (two, three):
        decided = eventually(
            lambda name=project: stack.query(f"project/{name}", "approvals")["decided"], "released by the batch"
        )
        assert [(request["id"], request["state"]) for request in decided] == [(asking[project], "approved")]
    for project in asking:
        stack.temporal("workflow", "cancel", "--workflow-id", f"project/{project}")


def test_a_request_is_shown_with_its_plan_after_it_was_decided(asking: dict[str, str], stack: Running) -> None:
    request = next(iter(asking.values()))
    shown = eventually(lambda: stack.syndic("show", request, check=False).stdout, "the request")
    assert "instructions: Describe the modules" in shown
    assert "approve by me (a claim)" in shown
