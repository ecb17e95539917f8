"""Targets that cannot be set up, hang, or are hostile: the project ends in order, and nothing outside it changes."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.badinput.person import (
    CHANGE,
    REPORT,
    TEXT,
    TRUE_GATE,
    UNUSED,
    Ended,
    assert_untouched,
    contents,
    git,
    run_all,
)
from tests.support.running import Running, make_repository

GATELESS = {key: value for key, value in CHANGE.items() if key != "gates"}
HOSTILE_TEST = """
import os, pathlib, signal, socket

OUTSIDE = pathlib.Path({outside!r})
STATE = pathlib.Path({state!r})


def reaches(port):
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def writes(path):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("taken")
    except OSError:
        return False
    return path.read_text() == "taken"


def test_tmp_and_home_can_be_written_but_are_not_the_persons():
    writes(pathlib.Path("/tmp/syndic-was-here-{token}"))
    writes(pathlib.Path.home() / "syndic-was-here-{token}")


def test_the_outside_is_not_there():
    assert not OUTSIDE.exists() or not list(OUTSIDE.iterdir())
    writes(OUTSIDE / "taken")


def test_the_link_leads_nowhere():
    assert not os.path.exists("link/secret.txt")


def test_the_state_folder_is_not_there():
    assert not (STATE / "credentials.json").exists()
    assert not (STATE / "stack.json").exists()


def test_servers_are_out_of_reach():
    assert not [port for port in {ports!r} if reaches(port)]


def test_the_environment_holds_no_secret():
    ours = [name for name in os.environ if name.startswith(("SYNDIC_", "TEMPORAL_", "VAULT_")) or "KEY" in name]
    assert ours == ["SYNDIC_GATE_REPORT"]
"""
KILLER = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos.kill(-1, signal.SIGKILL)\n"
NAMES = ("odd\nname.txt", "quo\"te's.txt", "ünï ✓.txt", "-rf", "$(touch boo)", "trailing. ")


@dataclass(frozen=True)
class Seen:
    """What became of a target."""

    repository: Path
    before: dict[str, str]
    ended: Ended


def _hostile(stack: Running, outside: Path) -> dict[str, str]:
    urls = (stack.addresses["database_url"], stack.addresses["redis_url"], f"//{stack.addresses['temporal']}")
    ports = [urlsplit(url).port for url in urls]
    text = HOSTILE_TEST.format(
        outside=str(outside), state=stack.env["SYNDIC_STATE_DIR"], ports=ports, token=os.getpid()
    )
    return {**UNUSED, "tests/test_hostile.py": text, **dict.fromkeys(NAMES, "x\n")}


def _targets(stack: Running, outside: Path) -> dict[str, tuple[dict[str, str], dict[str, Any]]]:
    hanging = {"name": "hangs", "run": "sleep 61.5", "timeout_s": 1}
    tests = {"name": "tests", "run": "python -m pytest -q", "kind": "tests", "timeout_s": 60}
    slow = {**UNUSED, "tests/test_slow.py": "import time\n\ndef test_slow():\n    time.sleep(62.5)\n"}
    killer = {**UNUSED, "conftest.py": KILLER, "tests/test_any.py": "def test_any():\n    pass\n"}
    return {
        "t-setup": (UNUSED, {**CHANGE, "setup": ["echo first", "echo trying; echo no such compiler >&2; exit 3"]}),
        "t-hangs": (UNUSED, {**CHANGE, "gates": [hanging]}),
        "t-slow": (slow, {**CHANGE, "gates": [{**tests, "timeout_s": 1}]}),
        "t-absent": (UNUSED, {**CHANGE, "gates": [{"name": "made", "run": "no-such-program -x"}, TRUE_GATE]}),
        "t-gateless": (TEXT, REPORT),
        "t-ungated": ({**UNUSED, "ruff.toml": ""}, {**GATELESS, "gates": []}),
        "t-hostile": (_hostile(stack, outside), {**CHANGE, "gates": [tests]}),
        "t-killer": (killer, {**CHANGE, "gates": [tests]}),
    }


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "secret.txt").write_text("secret\n")
    return folder


@pytest.fixture(scope="module")
def targets(stack: Running, outside: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    folder = tmp_path_factory.mktemp("targets")
    repositories: dict[str, Path] = {}
    briefs: dict[str, dict[str, Any]] = {}
    for name, (files, brief) in _targets(stack, outside).items():
        repositories[name] = make_repository(folder / name, files)
        briefs[name] = {**brief, "repository": str(repositories[name])}
    _link(repositories["t-hostile"], outside)
    before = {name: contents(repository) for name, repository in repositories.items()}
    ended = run_all(stack, folder, briefs)
    return {name: Seen(repositories[name], before[name], ended[name]) for name in briefs}


def _link(repository: Path, outside: Path) -> None:
    (repository / "link").symlink_to(outside)
    identity = ("-c", "user.name=T", "-c", "user.email=t@localhost")
    git(repository, "add", "link")
    git(repository, *identity, "commit", "-q", "-m", "link")


@pytest.mark.parametrize(
    "name", ["t-setup", "t-hangs", "t-slow", "t-absent", "t-gateless", "t-ungated", "t-hostile", "t-killer"]
)
def test_every_project_ends_with_a_verified_record_and_an_untouched_checkout(
    targets: dict[str, Seen], name: str
) -> None:
    seen = targets[name]
    assert seen.ended.report["ledger_verified"] is True, seen.ended
    assert_untouched(seen.repository, seen.before)
    assert git(seen.repository, "status", "--porcelain") == ""


def test_a_setup_that_fails_ends_the_project_with_its_command_and_last_words(targets: dict[str, Seen]) -> None:
    ended = targets["t-setup"].ended
    assert (ended.code, ended.report["state"]) == (1, "failed")
    for words in ("`echo trying; echo no such compiler >&2; exit 3` ended with exit code 3", "no such compiler"):
        assert words in ended.report["summary"]
    assert "under `setup:` in the brief" in ended.report["summary"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("t-hangs", "gate hangs judges nothing: before any change it did not end within its 1 s"),
        ("t-slow", "gate tests judges nothing: before any change it did not end within its 1 s"),
        ("t-absent", "gate made judges nothing: before any change it cannot be run here (exit code 127"),
    ],
)
def test_a_gate_that_cannot_judge_is_told_with_the_remedy(targets: dict[str, Seen], name: str, said: str) -> None:
    warnings = targets[name].ended.report["warnings"]
    assert any(said in warning and "under `gates:` in the brief" in warning for warning in warnings), warnings


@pytest.mark.parametrize("name", ["t-hangs", "t-slow", "t-ungated"])
def test_where_no_gate_judges_a_change_is_made_and_stays_on_its_branch(
    targets: dict[str, Seen], name: str, stack: Running
) -> None:
    ended = targets[name].ended
    assert (ended.code, ended.report["branch"], ended.report["tasks_merged"]) == (0, None, 0), ended
    assert any("no gate can judge a change here" in warning for warning in ended.report["warnings"])
    assert not git(targets[name].repository, "branch", "--list", "syndic/*")
    task = ended.report["tasks"][0]
    if task["state"] == "accepted":
        store = Path(stack.env["SYNDIC_STATE_DIR"]) / "projects" / name / "repo.git"
        assert "import os" not in git(store, "show", f"{task['branch']}:mod.py")


def test_other_gates_go_on_judging_where_one_cannot(targets: dict[str, Seen]) -> None:
    ended = targets["t-absent"].ended
    assert (ended.code, ended.report["tasks_merged"]) == (0, 1), ended


def test_a_repository_without_python_and_gates_is_served(targets: dict[str, Seen]) -> None:
    ended = targets["t-gateless"].ended
    assert (ended.code, ended.report["state"]) == (0, "done")
    assert any("no gate can judge a change here" in warning for warning in ended.report["warnings"])


def test_hostile_tests_find_nothing_to_take_and_change_nothing_outside(
    targets: dict[str, Seen], outside: Path, stack: Running
) -> None:
    ended = targets["t-hostile"].ended
    assert (ended.code, ended.report["tasks_merged"]) == (0, 1), ended
    assert [path.name for path in outside.iterdir()] == ["secret.txt"]
    token = f"syndic-was-here-{os.getpid()}"
    assert not Path("/tmp", token).exists()
    assert not Path(stack.env["HOME"], token).exists()
    assert not (Path.home() / token).exists()
    shown = git(targets["t-hostile"].repository, "ls-tree", "-r", "-z", "--name-only", "syndic/t-hostile")
    assert set(NAMES) <= set(shown.split("\0"))


def test_hostile_tests_passed_before_and_after_so_that_they_really_ran(
    targets: dict[str, Seen], stack: Running
) -> None:
    shown = stack.syndic("ledger", "show", "t-hostile", "--json").stdout
    assert '"tests": true' in shown.lower(), shown[:2000]


def test_a_test_run_that_kills_its_parent_does_not_take_the_worker_along(
    targets: dict[str, Seen], stack: Running
) -> None:
    assert targets["t-killer"].ended.report["state"] in {"done", "failed"}
    assert [worker.poll() for worker in stack.workers] == [None]


def test_no_program_of_a_target_is_left(targets: dict[str, Seen]) -> None:
    shown = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    left = [line for line in shown.splitlines() if "sleep 61.5" in line or "t-slow" in line]
    for line in left:
        os.kill(int(line.split()[0]), signal.SIGKILL)
    assert left == []
