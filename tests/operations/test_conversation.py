"""A team that talks, on real processes: a question, two who wait for each other, a tie, a task that changes hands.

The provider's script says only who asks what and who votes for what. That a circle is noticed and parted, a mediator called and a
task given to somebody else is nobody's line in it. A worker is killed while two agents wait for each other.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from agents.rehearsal.provider import Provider
from agents.rehearsal.script import Rehearsal
from agents.rehearsal.server import serving
from agents.rehearsal.wire import Asked
from tests.support.running import BUGGY, Running, eventually, make_repository, running
from workers.commands.provider import exports

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

PROJECT = "talk"
SPRINT = f"project/{PROJECT}/sprint/1"


def task(name: str, instructions: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "kind": "analysis", "role": "engineer", "instructions": instructions, **more}


def begins(name: str, work: str = "analysis") -> str:
    """In the assignment of the engineer who has this task, and in no other message."""
    return f'"work": "{work}",\n  "project": "{PROJECT}",\n  "sprint": 1,\n  "task": "{name}",\n  "role": "engineer"'


TASKS = [
    task("mend", "repair the failing tests of tiny", kind="change", params={"intent": "repair"}),
    task("left", "describe the functions of tiny"),
    task("right", "describe the tests of tiny"),
    task("pack", "describe the packaging of tiny"),
]


def says(contains: str, turn: int, name: str, **arguments: Any) -> dict[str, Any]:
    """One line of the script."""
    calls = [{"name": name, "arguments": arguments}]
    return {"contains": contains, "turn": turn, "first_byte_s": 0.2, "say": {"calls": calls}}


def vote(contains: str, turn: int, choice: str) -> dict[str, Any]:
    told = {"question": "style", "version": 1, "choice": choice, "reasoning": f"I like {choice}", "confidence": 0.9}
    return says(contains, turn, "vote", **told)


STYLE = {"section": "consensus", "name": "style", "text": "Tabs or spaces?", "options": ["tabs", "spaces"]}
RULES = [
    says(begins("mend", "change"), 0, "ask", to="architect", question="Which function of clamp is meant?"),
    says(begins("left"), 0, "ask", to="barbara", question="What do you cover?"),
    says(begins("right"), 0, "ask", to="grace", question="Which functions do you describe, so that I leave them out?"),
    says(begins("pack"), 0, "hand_off", role="architect", reason="this is about packaging"),
    says('"source": "agent:talk.project_manager', 1, "post_board", entries=[STYLE]),
    vote('"written"', 2, "tabs"),
    vote('"source": "agent:talk.engineer.grace', 1, "spaces"),
]


class Rehearsed(Provider):
    """Notes which assignments it was asked about; `hold` keeps the project manager from answering."""

    def __init__(self) -> None:
        super().__init__(Rehearsal.model_validate({"rules": RULES, "rates": {"*": {"prompt": 1, "completion": 4}}}))
        self.supervising = threading.Event()
        self.hold = threading.Event()
        self.requests: list[str] = []

    def before_answer(self, number: int, asked: Asked) -> None:
        self.requests.append(json.dumps(asked.messages, sort_keys=True))
        if '"work": "supervise"' in json.dumps(asked.messages).replace('\\"', '"'):
            self.supervising.set()
            self.hold.wait(60)


@dataclass
class Story:
    """What was seen while it went on, and what is left of it."""

    report: dict[str, Any]
    waits: list[dict[str, Any]]
    details: str
    entries: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    provider: Rehearsed
    feed: str
    verified: int
    letters: list[Any] = field(default_factory=list)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [entry["body"] for entry in self.entries if entry["kind"] == kind]


def _details(stack: Running) -> str:
    """The sprint as the Web UI shows it."""
    done = stack.temporal("workflow", "metadata", "--workflow-id", SPRINT, "--output", "json", check=False)
    return done.stdout


def _watch(stack: Running, provider: Rehearsed) -> tuple[list[dict[str, Any]], str]:
    """While the project manager is asked about the circle: kill the worker, let another one go on."""

    def circle() -> list[dict[str, Any]]:
        waits = stack.query(SPRINT, "status")["waits"]
        pairs = {(wait["task"], wait["to"].rpartition(".")[2]) for wait in waits}
        return waits if {("left", "barbara"), ("right", "grace")} <= pairs else []

    eventually(provider.supervising.is_set, "the project manager is called")
    waits = eventually(circle, "both wait")
    details = _details(stack)
    stack.kill_worker()
    provider.hold.set()
    stack.start_worker()
    return waits, details


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("talk")
    repository = make_repository(folder / "repository", BUGGY)
    provider = Rehearsed()
    with serving(provider) as url, running(folder, exports(url, provider.rehearsal)) as stack:
        stack.start_worker()
        stack.make_current()
        brief = folder / "brief.json"
        spec = {"goal": "Make the tests pass", "repository": str(repository), "project_id": PROJECT, "tasks": TASKS}
        brief.write_text(json.dumps({**spec, "max_parallel": 4, "max_sprints": 1, "autonomy": "autonomous"}))
        stack.syndic("run", str(brief))
        waits, details = _watch(stack, provider)
        done = stack.temporal("workflow", "result", "--workflow-id", f"project/{PROJECT}", "--output", "json")
        entries = json.loads(stack.syndic("ledger", "show", PROJECT, "--json").stdout)
        messages = json.loads(stack.syndic("messages", PROJECT, "--json").stdout)
        letters = json.loads(stack.syndic("dlq", "list", PROJECT, "--json").stdout)
        feed = stack.syndic("watch", PROJECT).stdout
        verified = stack.syndic("ledger", "verify", PROJECT).returncode
        yield Story(
            json.loads(done.stdout)["result"], waits, details, entries, messages, provider, feed, verified, letters
        )


def test_all_tasks_come_to_their_end_and_the_record_holds(story: Story) -> None:
    states = {task["task"]: task["state"] for task in story.report["tasks"]}
    assert states == {"mend": "merged", "left": "reported", "right": "reported", "pack": "reported"}, story.report
    assert story.verified == 0


def test_the_engineer_is_answered_by_the_architect_in_a_run_of_its_own(story: Story) -> None:
    (asked,) = [body for body in story.of("question_asked") if body["task"] == "mend"]
    (settled,) = [body for body in story.of("question_settled") if body["question"] == asked["question"]]
    assert (settled["by"], settled["how"]) == (asked["to"], "colleague")
    assert asked["to"].split(".")[1] == "architect"
    runs = [body for body in story.of("run_finished") if body["outcome"] == "needs_teammate"]
    assert any(body["thread"].startswith(f"{PROJECT}/s1/mend/") for body in runs)
    exchanged = [(m["type"], m["correlation"]) for m in story.messages if m["correlation"] == asked["question"]]
    assert exchanged == [("QUERY", asked["question"]), ("RESPONSE", asked["question"])]


def test_the_circle_is_noticed_and_the_project_manager_parts_it(story: Story) -> None:
    (circle,) = story.of("wait_cycle_found")
    assert {agent.rpartition(".")[2] for agent in circle["agents"]} == {"grace", "barbara"}
    how = sorted(body["how"] for body in story.of("question_settled") if body["question"] in circle["questions"])
    assert how == ["colleague", "supervisor"]
    assert [body["trouble"] for body in story.of("team_supervised")].count("cycle") == 1


def test_who_waits_for_whom_is_shown_while_they_wait(story: Story) -> None:
    assert {wait["asker"].rpartition(".")[2] for wait in story.waits} >= {"grace", "barbara"}
    assert "waits for talk.engineer.barbara" in story.details
    assert "waits for" in story.feed


def test_a_tie_calls_the_mediator(story: Story) -> None:
    (decided,) = story.of("question_decided")
    assert (decided["question"], decided["how"]) == ("style", "mediator")


def test_the_task_that_was_given_away_is_done_by_somebody_else(story: Story) -> None:
    (handed,) = story.of("task_handed_over")
    assert (handed["task"], handed["taker"].split(".")[1]) == ("pack", "architect")
    assert handed["giver"] != handed["taker"]


def test_no_model_was_asked_twice_for_what_was_journaled(story: Story) -> None:
    repeated = len(story.provider.requests) - len(set(story.provider.requests))
    # Only the calls that were in flight when the worker was killed can have been made again; they are listed in doubt.
    assert repeated <= story.report["in_doubt"]
    assert story.report["model_calls"] >= story.provider.calls - story.report["in_doubt"]


def test_no_message_is_left_over(story: Story) -> None:
    assert story.letters == []
