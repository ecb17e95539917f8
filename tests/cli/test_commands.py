"""What a person sees of mistakes: one text that says what to do, on stderr, and a code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

from workers.briefs import parse_spec
from workers.cli import COMMANDS, load

Syndic = Callable[..., Result]
HEAVY = ("temporalio", "litellm", "langgraph", "psycopg", "redis", "pydantic", "hvac")


def run_git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def failed(result: Result, code: int, *said: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for text in said:
        assert text in result.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom workers._entry import main\nsys.argv = ['syndic', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.splitlines()[-1] == "[]"
    assert all(name in ended.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_listing_exists_and_explains_itself(name: str) -> None:
    assert load(name).help


def test_a_misspelt_command_is_corrected(syndic: Syndic) -> None:
    failed(syndic("aprove", "x"), 2, "'approve'")


@pytest.mark.parametrize("key", ["gaol", "budget"])
def test_a_brief_with_an_unknown_key_is_refused_before_anything_starts(
    syndic: Syndic, tmp_path: Path, repository: Path, key: str
) -> None:
    brief = tmp_path / "brief.yaml"
    brief.write_text(yaml.safe_dump({"goal": "mend it", "repository": str(repository), key: "x"}))
    failed(syndic("run", str(brief)), 2, f"error: {key}: there is no such key; did you mean")


def test_a_brief_with_a_cycle_is_refused(syndic: Syndic, tmp_path: Path, repository: Path) -> None:
    tasks = [
        {"id": "a", "instructions": "x", "depends_on": ["b"]},
        {"id": "b", "instructions": "x", "depends_on": ["a"]},
    ]
    brief = tmp_path / "brief.json"
    brief.write_text(json.dumps({"goal": "mend it", "repository": str(repository), "tasks": tasks}))
    failed(syndic("run", str(brief)), 2, "is a cycle")


def test_a_folder_without_git_is_refused(syndic: Syndic, tmp_path: Path) -> None:
    failed(syndic("run", "mend it", "--repo", str(tmp_path)), 1, "is no git repository", "git init")


def test_a_folder_that_does_not_exist_is_refused(syndic: Syndic, tmp_path: Path) -> None:
    failed(syndic("run", "mend it", "--repo", str(tmp_path / "none")), 1, "does not exist")


def test_a_repository_without_a_commit_is_refused(syndic: Syndic, tmp_path: Path) -> None:
    run_git(tmp_path, "init", "-q")
    failed(syndic("run", "mend it", "--repo", str(tmp_path)), 1, "has no commit yet")


def test_a_branch_that_the_project_would_deliver_must_not_exist(
    syndic: Syndic, tmp_path: Path, repository: Path
) -> None:
    run_git(repository, "branch", "syndic/shop")
    brief = tmp_path / "brief.json"
    brief.write_text(json.dumps({"goal": "mend it", "repository": str(repository), "project_id": "shop"}))
    failed(syndic("run", str(brief)), 1, "branch syndic/shop exists")


def test_a_detached_head_is_told_and_accepted(syndic: Syndic, repository: Path) -> None:
    run_git(repository, "checkout", "-q", "--detach")
    failed(syndic("run", "mend it", "--repo", str(repository)), 1, "HEAD is detached", "syndic up")


@pytest.mark.parametrize(
    "option", [("--budget", "lots"), ("--budget", "-1"), ("--timeout", "soon"), ("--mode", "yolo")]
)
def test_malformed_options_are_usage_errors(syndic: Syndic, repository: Path, option: tuple[str, str]) -> None:
    failed(syndic("run", "mend it", "--repo", str(repository), *option), 2, option[1])


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("status", "shop"),
        ("watch", "shop"),
        ("approvals",),
        ("inbox",),
        ("show", "x"),
        ("approve", "--all", "--kind", "plan"),
        ("approve", "x"),
        ("reject", "x"),
        ("revise", "x", "smaller"),
        ("pause", "shop"),
        ("resume", "shop"),
        ("cancel", "shop"),
        ("cost", "shop"),
        ("ledger", "verify", "shop"),
        ("ledger", "show", "shop"),
    ],
)
def test_without_a_stack_every_command_says_how_to_start_one(syndic: Syndic, command: tuple[str, ...]) -> None:
    failed(syndic(*command), 1, "syndic up")


def test_init_writes_a_brief_that_run_accepts(syndic: Syndic, repository: Path) -> None:
    assert syndic("init", "--repo", str(repository)).exit_code == 0
    spec = parse_spec(yaml.safe_load((repository / "syndic.yaml").read_text()))
    assert spec.repository == str(repository)


def test_init_says_in_json_what_it_wrote(syndic: Syndic, repository: Path) -> None:
    answer = syndic("init", "--repo", str(repository), "--json")
    assert json.loads(answer.stdout) == {"brief": str(repository / "syndic.yaml")}


def test_init_never_overwrites(syndic: Syndic, repository: Path) -> None:
    (repository / "syndic.yaml").write_text("mine")
    failed(syndic("init", "--repo", str(repository)), 1, "exists and stays as it is")
    assert (repository / "syndic.yaml").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_init_in_a_folder_that_cannot_be_written(syndic: Syndic, repository: Path) -> None:
    repository.chmod(0o555)
    failed(syndic("init", "--repo", str(repository)), 1, "cannot be written")


def test_every_commented_key_of_the_written_brief_exists(syndic: Syndic, repository: Path) -> None:
    syndic("init", "--repo", str(repository))
    text = (repository / "syndic.yaml").read_text()
    blocks = "\n".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith(("# ", "#   ")))
    keys = [line for line in blocks.splitlines() if line.split(":")[0].isidentifier() and ":" in line]
    assert {"base", "models", "setup", "gates", "scope", "tasks"} <= {key.split(":")[0] for key in keys}


def test_init_shows_the_gates_that_it_finds(syndic: Syndic, repository: Path) -> None:
    (repository / "shop.py").write_text("")
    (repository / "test_shop.py").write_text("")
    syndic("init", "--repo", str(repository))
    text = (repository / "syndic.yaml").read_text()
    assert "#   - {name: tests, run: python -m pytest, kind: tests}" in text
    assert "#   - {name: lint, run: ruff check" in text


def test_init_says_when_it_finds_no_gate(syndic: Syndic, repository: Path) -> None:
    syndic("init", "--repo", str(repository))
    assert "# None was found here." in (repository / "syndic.yaml").read_text()
