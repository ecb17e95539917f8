"""A whole project recorded on real processes, and replayed on a new stack without provider, key or charge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.provider import serving
from tests.support.running import BUGGY, make_repository, running

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(420)]  # two stacks, one after the other

MODEL = "openai/gpt-4o-mini"
KEY = "rehearsal-key-0123456789"
PROJECT = "taped"
WORKFLOW = f"project/{PROJECT}"


@dataclass
class Story:
    """What came of the two runs."""

    file: Path
    calls: int
    recorded: dict[str, Any]
    replayed: dict[str, Any]


def _project(folder: Path, repository: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run the project on a stack of its own; its report."""
    with running(folder, environment) as stack:
        stack.start_worker()
        stack.make_current()
        brief = folder / "brief.json"
        spec = {"goal": "Make the tests pass", "repository": str(repository), "project_id": PROJECT}
        brief.write_text(json.dumps(spec))
        stack.syndic("run", str(brief), "--autonomy", "autonomous")
        done = stack.temporal("workflow", "result", "--workflow-id", WORKFLOW, "--output", "json")
        return json.loads(done.stdout)["result"]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("recording")
    repository = make_repository(folder / "repository", BUGGY)
    kept = shutil.copytree(repository, folder / "kept")
    file = folder / "run.jsonl"
    with serving() as provider:
        keys = {"OPENAI_API_KEY": KEY, "OPENAI_API_BASE": provider.url}
        first = _project(folder / "first", repository, {**keys, "SYNDIC_MODELS": f"record:{file};{MODEL}"})
        shutil.rmtree(repository)
        kept.rename(repository)
        second = _project(folder / "second", repository, {"SYNDIC_MODELS": f"replay:{file}"})
        yield Story(file, provider.calls, first, second)


def test_the_replayed_project_ends_as_the_recorded_one(story: Story) -> None:
    assert story.recorded["state"] == "done", story.recorded
    assert story.replayed["state"] == "done", story.replayed
    tasks = [[(task["task"], task["state"]) for task in report["tasks"]] for report in (story.recorded, story.replayed)]
    assert tasks[0] == tasks[1] != []


def test_nobody_was_asked_and_nothing_charged_again(story: Story) -> None:
    assert story.calls == story.file.read_text().count('"kind":"call"')
    assert float(story.recorded["cost_usd"]) > 0
    assert float(story.replayed["cost_usd"]) == 0


def test_the_recording_holds_no_key(story: Story) -> None:
    assert KEY not in story.file.read_text()
