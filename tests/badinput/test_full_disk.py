"""Full disks and folders that cannot be written, made real with mounts that only the process under test sees."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.badinput.person import CHANGE, UNUSED, assert_untouched, contents, git, run
from tests.support.running import BIN, Running, eventually, make_repository, running

pytestmark = pytest.mark.usefixtures("namespaces")

MOUNTED = 'set -e; mkdir -p "$1"; mount -t tmpfs -o size="$2" none "$1"; shift 2; exec "$@"'
READ_ONLY = 'set -e; mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift 1; exec "$@"'
BIG = 12_000_000
"""Bytes that no compression makes smaller: more than the small disk below, which holds a store and no tree."""


def with_mounts(script: str, *arguments: str) -> list[str]:
    return ["unshare", "-rm", "sh", "-c", script, "sh", *arguments]


def start_worker(stack: Running, command: list[str]) -> subprocess.Popen[bytes]:
    """A worker behind a command that mounts something for it alone."""
    with (stack.folder / f"worker-{len(stack.workers)}.log").open("wb") as log:
        worker = subprocess.Popen(
            [*command, str(BIN / "syndic"), "worker", "--build-id", "test"],
            env=stack.env, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    stack.workers.append(worker)
    return worker


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("disks")) as started:
        yield started


@pytest.fixture
def lone_stack(standing: Running) -> Iterator[Running]:
    """Without a worker before and after."""
    yield standing
    standing.kill_worker()


def test_up_on_a_full_disk_says_how_much_it_needs_and_leaves_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = with_mounts(MOUNTED, str(state), "50m", str(BIN / "syndic"), "up", "--no-worker")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SYNDIC_STATE_DIR": str(state)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"error: the disk is full: {state} has" in done.stderr
    assert "set SYNDIC_STATE_DIR to a folder on another disk" in done.stderr
    assert "Traceback" not in done.stderr


def test_up_on_a_read_only_disk_names_the_folder_and_the_remedy(tmp_path: Path) -> None:
    state = tmp_path / "kept" / "state"
    state.parent.mkdir()
    command = with_mounts(READ_ONLY, str(state.parent), str(BIN / "syndic"), "up", "--no-worker")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SYNDIC_STATE_DIR": str(state)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"error: the state folder cannot be used: {state}: the file system is read-only" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.chaos
def test_a_disk_that_fills_up_in_mid_run_holds_the_work_up_and_no_more(lone_stack: Running, tmp_path: Path) -> None:
    """First not even the store has room, then no tree has, then there is room again."""
    repository = make_repository(tmp_path / "shop", UNUSED)
    (repository / "big.bin").write_bytes(os.urandom(BIG))
    git(repository, "add", "big.bin")
    git(repository, "-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "-q", "-m", "big")
    before = contents(repository)
    projects = Path(lone_stack.env["SYNDIC_STATE_DIR"]) / "projects"
    worker = start_worker(lone_stack, with_mounts(MOUNTED, str(projects), "4m"))
    lone_stack.make_current()
    brief = tmp_path / "brief.json"
    brief.write_text(
        json.dumps({**CHANGE, "project_id": "full", "autonomy": "autonomous", "repository": str(repository)})
    )
    lone_stack.syndic("run", str(brief))

    def told(activity: str) -> bool:
        said = lone_stack.syndic("status", "full").stdout
        return f"{activity} is tried again" in said and "the disk is full" in said and "free space" in said

    def resize(size: str) -> None:
        inside = ["nsenter", "-t", str(worker.pid), "-U", "-m", "--preserve-credentials"]
        subprocess.run([*inside, "mount", "-o", f"remount,size={size}", "none", str(projects)], check=True)

    eventually(lambda: told("open_project"), "a store without room", 30)
    resize("20m")
    eventually(lambda: told("prepare_target"), "a tree without room", 30)
    resize("400m")
    report = json.loads(lone_stack.syndic("watch", "full", "--json").stdout)
    assert (report["state"], report["tasks_merged"], report["ledger_verified"]) == ("done", 1, True), report
    assert_untouched(repository, before)
    assert "import os" not in git(repository, "show", "syndic/full:mod.py")


@pytest.mark.chaos
def test_a_branch_that_cannot_be_delivered_stays_in_the_store_with_the_line_that_fetches_it(
    lone_stack: Running, tmp_path: Path
) -> None:
    repository = make_repository(tmp_path / "shop", UNUSED)
    before = contents(repository)
    start_worker(lone_stack, with_mounts(READ_ONLY, str(repository)))
    lone_stack.make_current()
    ended = run(lone_stack, tmp_path, "kept", {**CHANGE, "repository": str(repository)})
    assert (ended.code, ended.report["state"], ended.report["branch"]) == (1, "done", None), ended
    assert ended.report["tasks_merged"] == 1
    assert contents(repository) == before
    warning = next(item for item in ended.report["warnings"] if "stayed in the project's store" in item)
    assert "Read-only file system" in warning
    line = warning.partition("from your repository with: ")[2]
    git(repository, *line.split()[1:])
    assert "import os" not in git(repository, "show", "syndic/kept:mod.py")
