"""Briefs and paths that cannot be worked on are refused before anything starts, in words, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ledger.vocabulary import Json
from tests.badinput.person import TEXT, Syndic, assert_refused, contents, git
from tests.support.running import make_repository

USAGE, FAILED = 2, 1


def task(name: str, *needs: str, **more: Json) -> dict[str, Json]:
    return {"id": name, "instructions": "do it", "depends_on": list(needs), **more}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "shop", TEXT)


BRIEFS: dict[str, tuple[dict[str, Json], str]] = {
    "unknown key": ({"budgte_usd": 3}, "budgte_usd: there is no such key; did you mean 'budget_usd'?"),
    "goal of a wrong type": ({"goal": ["mend", "it"]}, "goal: input should be a valid string"),
    "repository of a wrong type": ({"repository": 5}, "repository: input should be a valid string"),
    "tasks of a wrong type": ({"tasks": {"a": "b"}}, "tasks: input should be a valid array"),
    "budget that is no number": ({"budget_usd": float("nan")}, "budget_usd: input should be a finite number"),
    "negative budget": ({"budget_usd": -1}, "budget_usd: input should be greater than or equal to 0"),
    "parallelism of zero": ({"max_parallel": 0}, "max_parallel: input should be greater"),
    "cycle": ({"tasks": [task("a", "b"), task("b", "a")]}, "is a cycle; remove one depends_on"),
    "task that waits for itself": ({"tasks": [task("a", "a")]}, "is a cycle; remove one depends_on"),
    "unknown dependency": ({"tasks": [task("lint"), task("a", "lnit")]}, "did you mean 'lint'?"),
    "repeated task": ({"tasks": [task("a"), task("a")]}, "'a' is used more than once"),
    "task without instructions": ({"tasks": [task("a", instructions="")]}, "tasks.a.instructions: "),
    "change by a reader": ({"tasks": [task("a", role="analyst")]}, "which the role analyst may not"),
    "gate without a program": ({"gates": [{"name": "g", "run": " "}]}, "gate 'g': there is nothing to run"),
    "role that does not exist": ({"models": {"enginer": ["x/y"]}}, "'enginer' is no role"),
    "path of an unknown person": ({"repository": "~nobody-here/shop"}, "repository: '~nobody-here/shop' is no path"),
    "path with a zero byte": ({"repository": "/srv/a\0b"}, "is no path: embedded null byte"),
    "remote helper": ({"repository": "ext::sh -c date"}, "remote helpers are not allowed"),
}


@pytest.mark.parametrize(("given", "said"), BRIEFS.values(), ids=BRIEFS)
def test_a_brief_that_cannot_be_worked_on_names_the_place(
    syndic: Syndic, tmp_path: Path, repository: Path, given: dict[str, Json], said: str
) -> None:
    brief = tmp_path / "brief.yaml"
    brief.write_text(yaml.safe_dump({"goal": "mend it", "repository": str(repository), **given}))
    before = contents(tmp_path)
    assert_refused(syndic("run", str(brief)), USAGE, said)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("text", ["goal: &a [*a]\n", "goal: mend it\n2026-01-01: x\n", "goal: [" * 3000, "{[", "\0"])
def test_yaml_that_is_no_brief_is_named_as_such(syndic: Syndic, tmp_path: Path, text: str) -> None:
    brief = tmp_path / "brief.yaml"
    brief.write_text(text)
    assert_refused(syndic("run", str(brief)), USAGE, str(brief))


def test_an_empty_project_id_counts_as_none(syndic: Syndic, tmp_path: Path, repository: Path) -> None:
    brief = tmp_path / "brief.yaml"
    brief.write_text(f"goal: mend it\nrepository: {repository}\nproject_id:\n")
    assert_refused(syndic("run", str(brief)), FAILED, "syndic up")


PLACES = {
    "missing": ("none", "does not exist; name the folder of a git repository"),
    "no repository": ("plain", "is no git repository; run `git init`"),
    "file": ("shop/README.md", "name that folder instead"),
    "folder inside": ("shop/inner", "name that folder instead"),
    "empty repository": ("empty", "has no commit yet; add and commit its files first"),
}


@pytest.mark.parametrize(("place", "said"), PLACES.values(), ids=PLACES)
def test_a_place_that_is_no_repository_with_a_commit_is_refused(
    syndic: Syndic, tmp_path: Path, repository: Path, place: str, said: str
) -> None:
    (repository / "inner").mkdir()
    (tmp_path / "plain").mkdir()
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "-q")
    before = contents(tmp_path)
    assert_refused(syndic("run", "mend it", "--repo", str(tmp_path / place)), FAILED, said)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("taken", ["syndic/shop", "syndic", "syndic/shop/old"])
def test_a_branch_that_is_or_blocks_the_projects_own_is_refused_with_the_remedy(
    syndic: Syndic, tmp_path: Path, repository: Path, taken: str
) -> None:
    git(repository, "branch", taken)
    brief = tmp_path / "brief.yaml"
    brief.write_text(f"goal: mend it\nrepository: {repository}\nproject_id: shop\n")
    refused = syndic("run", str(brief))
    assert_refused(refused, FAILED, f"branch {taken} exists in {repository}", f"git branch -m {taken} <name>")
    git(repository, "branch", "-m", taken, "aside")
    assert_refused(syndic("run", str(brief)), FAILED, "syndic up")


def test_a_base_that_does_not_exist_lists_the_branches(syndic: Syndic, tmp_path: Path, repository: Path) -> None:
    brief = tmp_path / "brief.yaml"
    brief.write_text(f"goal: mend it\nrepository: {repository}\nbase: mian\n")
    assert_refused(syndic("run", str(brief)), FAILED, "no branch, tag or commit 'mian'", "its branches: main")


def test_uncommitted_changes_are_told_and_the_checkout_is_only_looked_at(
    syndic: Syndic, tmp_path: Path, repository: Path
) -> None:
    (repository / "README.md").write_text("# changed\n")
    (repository / "new.txt").write_text("new\n")
    before = contents(repository)
    refused = syndic("run", "mend it", "--repo", str(repository))
    assert_refused(refused, FAILED, "note: uncommitted changes are not part of the work: README.md, new.txt")
    assert contents(repository) == before
