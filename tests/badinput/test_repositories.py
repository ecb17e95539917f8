"""Repositories in odd states: what works goes on from a commit, what cannot work fails readably before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.badinput.person import (
    CHANGE,
    REPORT,
    TEXT,
    UNUSED,
    Ended,
    assert_untouched,
    contents,
    git,
    run,
    run_all,
    start_plainly,
)
from tests.support.running import Running, eventually, make_repository


def _dirty(folder: Path) -> None:
    (folder / "mod.py").write_text("import os\n\n\ndef half(")
    (folder / "README.md").unlink()
    (folder / "staged.py").write_text("import sys\n")
    git(folder, "add", "staged.py")


def _detached(folder: Path) -> None:
    git(folder, "checkout", "-q", "--detach")


def _bare(folder: Path) -> None:
    git(folder, "config", "core.bare", "true")
    for path in (*(folder / ".git").iterdir(), *(folder / name for name in UNUSED)):
        path.unlink() if path.name in UNUSED else path.rename(folder / path.name)
    (folder / ".git").rmdir()


def _armed(folder: Path) -> None:
    """Configuration, hooks and attributes that would run programs, and leave a file to tell."""
    told = folder.parent / "told"
    for key in ("core.fsmonitor", "core.sshCommand", "filter.loud.clean", "filter.loud.smudge", "diff.loud.textconv"):
        git(folder, "config", key, f"touch {told}; cat")
    (folder / ".gitattributes").write_text("* filter=loud diff=loud\n")
    git(folder, "-c", "filter.loud.clean=cat", "add", ".gitattributes")
    git(folder, "-c", "user.name=T", "-c", "user.email=t@localhost", "-c", "core.fsmonitor=false", "commit", "-qm", "x")
    for hook in ("pre-receive", "update", "post-update", "reference-transaction", "post-index-change"):
        path = folder / ".git" / "hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ntouch {told}\n")
        path.chmod(0o755)
    told.unlink(missing_ok=True)


STATES = {"dirty": _dirty, "detached": _detached, "bare": _bare, "armed": _armed}


@pytest.fixture(scope="module")
def worked_on(
    stack: Running, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, dict[str, str], Ended]]:
    folder = tmp_path_factory.mktemp("states")
    places: dict[str, Path] = {}
    for name, prepare in STATES.items():
        places[name] = make_repository(folder / name / "shop", UNUSED)
        prepare(places[name])
    before = {name: contents(place) for name, place in places.items()}
    ended = run_all(stack, folder, {name: {**CHANGE, "repository": str(place)} for name, place in places.items()})
    return {name: (places[name], before[name], ended[name]) for name in STATES}


@pytest.mark.parametrize("name", STATES)
def test_the_work_goes_on_from_the_commit_and_the_checkout_is_byte_for_byte_as_it_was(
    worked_on: dict[str, tuple[Path, dict[str, str], Ended]], name: str
) -> None:
    repository, before, ended = worked_on[name]
    assert (ended.code, ended.report.get("tasks_merged")) == (0, 1), ended
    assert_untouched(repository, before)
    assert not (repository.parent / "told").exists()
    assert git(repository, "show", f"syndic/{name}:mod.py") == UNUSED["mod.py"].removeprefix("import os\n")


def test_uncommitted_changes_are_told_at_the_start_and_in_the_report(
    worked_on: dict[str, tuple[Path, dict[str, str], Ended]], stack: Running
) -> None:
    ended = worked_on["dirty"][2]
    said = "uncommitted changes are not part of the work: README.md, mod.py, staged.py"
    assert f"note: {said}" in ended.said
    assert said in ended.report["warnings"]
    assert said in stack.syndic("status", "dirty").stdout


def test_a_detached_head_is_told(worked_on: dict[str, tuple[Path, dict[str, str], Ended]]) -> None:
    assert "HEAD is detached; the work starts at that commit" in worked_on["detached"][2].said


PLAIN = {
    "p-missing": ("none", {}, "does not exist; name the folder of a git repository"),
    "p-file": ("shop/README.md", {}, "name that folder instead"),
    "p-empty": ("empty", {}, "has no commit yet; add and commit its files first"),
    "p-taken": ("shop", {}, "branch syndic/p-taken exists in"),
    "p-cycle": ("shop", {"tasks": [{"id": "a", "instructions": "x", "depends_on": ["a"]}]}, "in a circle: a -> a"),
    "p-idle": ("shop", {"tasks": [{"id": "a", "instructions": ""}]}, "tasks.0.instructions"),
    "p-blank": ("shop", {"tasks": [{"id": "a", "instructions": " \n ", "depends_on": ["b"]}]}, "which does not exist"),
    "p-twice": ("shop", {"tasks": [{"id": "a", "instructions": "x"}] * 2}, "'a' is used 2 times"),
}


@pytest.mark.parametrize(("project", "given"), PLAIN.items(), ids=PLAIN)
def test_a_start_with_the_temporal_binary_fails_as_readably(
    stack: Running, tmp_path: Path, project: str, given: tuple[str, dict[str, Any], str]
) -> None:
    place, more, said = given
    repository = make_repository(tmp_path / "shop", TEXT)
    git(repository, "branch", "syndic/p-taken")
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "-q")
    before = contents(tmp_path / place) if (tmp_path / place).is_dir() else {}
    assert said in start_plainly(stack, tmp_path, project, {**REPORT, "repository": str(tmp_path / place), **more})
    assert contents(tmp_path / place) == before if before else True
    assert said in stack.syndic("status", project).stdout


@pytest.mark.parametrize(
    ("place", "said"), [(".", "is a relative path"), ("~nobody-here/x", "name the folder by its absolute path")]
)
def test_a_place_that_depends_on_who_asks_is_refused(stack: Running, tmp_path: Path, place: str, said: str) -> None:
    project = "p-" + "".join(filter(str.isalpha, place + "relative"))[:12]
    assert said in start_plainly(stack, tmp_path, project, {**REPORT, "repository": place})


@pytest.mark.chaos
def test_an_id_in_use_is_refused_while_it_runs_and_after_it_has_ended(stack: Running, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "shop", TEXT)
    brief = tmp_path / "brief.json"
    waiting = {**REPORT, "repository": str(repository), "project_id": "again", "autonomy": "milestone"}
    brief.write_text(json.dumps(waiting))
    stack.syndic("run", str(brief))
    running = stack.syndic("run", str(brief), check=False)
    assert running.returncode == 1
    assert "project again is running already; see `syndic status again`" in running.stderr

    open_requests = eventually(lambda: stack.query("project/again", "approvals")["open"], "the plan's approval")
    stack.syndic("approve", open_requests[0]["id"])
    report = json.loads(stack.syndic("watch", "again", "--json").stdout)
    ended = run(stack, tmp_path, "again", {**REPORT, "repository": str(repository)})
    assert ended.code == 1
    assert "project again has ended, and its record stays" in ended.said
    assert "choose another project_id" in ended.said
    assert json.loads(stack.syndic("watch", "again", "--json").stdout) == report
    plainly = start_plainly(stack, tmp_path, "again", {**REPORT, "repository": str(repository)})
    assert "project id 'again' belongs to a project that has ended, and its record stays" in plainly
    assert stack.syndic("ledger", "verify", "again").returncode == 0


def test_an_id_whose_start_was_refused_is_free(stack: Running, tmp_path: Path) -> None:
    repository = tmp_path / "shop"
    start_plainly(stack, tmp_path, "second-try", {**REPORT, "repository": str(repository)})
    make_repository(repository, TEXT)
    assert run(stack, tmp_path, "second-try", {**REPORT, "repository": str(repository)}).code == 0
