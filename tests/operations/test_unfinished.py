"""What a worker's process had begun when it was killed is given back by the next one at once, and by nobody while it lives.

Heartbeats are missed after an hour here, so that whatever is done again was given back.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from temporalio import activity
from temporalio.client import PendingActivityState, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from tests.support.beginner import PROGRAM, QUEUE, Waiting
from tests.workflows.world import eventually, serving
from workers import unfinished
from workers.stack.addresses import Addresses
from workers.succession import give_back
from workers.unfinished import FOLDER, KEPT, SLOT, Begun, left_behind, lists_of_this_boot, noting

HOUR = 3600.0
NOTE = Begun(workflow="w", run="r", activity="agent_run", attempt=1, token=b"\x00token")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    async with serving() as environment:
        yield environment


class Story:
    """One activity, begun by a process of its own."""

    def __init__(
        self, server: WorkflowEnvironment, state: Path, handle: WorkflowHandle[Waiting, int], process: Process
    ) -> None:
        self.server, self.state, self.handle, self.process = server, state, handle, process

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def give_back(self) -> int:
        return await give_back(self.state, _addresses(self.server.client.service_client.config.target_host, self.state))

    async def attempt(self) -> int | None:
        """The attempt that is at work as far as the server knows."""
        pending = (await self.handle.describe()).raw_description.pending_activities
        started = int(PendingActivityState.STARTED)
        return next((found.attempt for found in pending if found.state == started), None)


@asynccontextmanager
async def begun(server: WorkflowEnvironment, state: Path, heartbeat_s: float = HOUR) -> AsyncIterator[Story]:
    address = server.client.service_client.config.target_host
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.support.beginner", address, str(state))
    identity = f"waiting-{uuid4()}"
    try:
        async with Worker(server.client, task_queue=identity, workflows=[Waiting]):
            handle = await server.client.start_workflow(Waiting.run, heartbeat_s, id=identity, task_queue=identity)
            story = Story(server, state, handle, process)
            await eventually(lambda: any(path.stat().st_size for path in lists_of_this_boot(state)))
            yield story
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.kill(_program(state), signal.SIGKILL)


@asynccontextmanager
async def another_worker(server: WorkflowEnvironment, hold: asyncio.Event | None = None) -> AsyncIterator[None]:
    """Serves the same queue; an attempt's result is its number."""

    @activity.defn(name="begin")
    async def end() -> int:
        if hold is not None:
            await hold.wait()
        return activity.info().attempt

    async with Worker(server.client, task_queue=QUEUE, activities=[end]):
        yield


@pytest.mark.asyncio(loop_scope="module")
async def test_what_a_killed_process_had_begun_is_done_again_at_once(
    server: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with begun(server, tmp_path) as story:
        await story.kill()
        assert await story.give_back() == 1
        os.kill(_program(tmp_path), 0)  # the program that it had started lives on, and holds no lock for it
        async with another_worker(server), asyncio.timeout(30):
            assert await story.handle.result() == 2
        assert await story.give_back() == 0
        assert list((tmp_path / FOLDER).iterdir()) == []


@pytest.mark.asyncio(loop_scope="module")
async def test_what_a_stopped_process_has_begun_stays_its_own(server: WorkflowEnvironment, tmp_path: Path) -> None:
    async with begun(server, tmp_path) as story:
        os.kill(story.process.pid, signal.SIGSTOP)
        assert await story.give_back() == 0
        assert await story.attempt() == 1
        await story.kill()
        assert await story.give_back() == 1
        await story.handle.terminate()


@pytest.mark.asyncio(loop_scope="module")
async def test_an_attempt_that_somebody_else_makes_already_is_left_to_them(
    server: WorkflowEnvironment, tmp_path: Path
) -> None:
    hold = asyncio.Event()
    async with begun(server, tmp_path, heartbeat_s=1) as story:
        await story.kill()
        async with another_worker(server, hold), asyncio.timeout(30):
            while await story.attempt() != 2:  # its heartbeat was missed
                await asyncio.sleep(0.02)
            assert await story.give_back() == 0
            assert await story.attempt() == 2
            hold.set()
            assert await story.handle.result() == 2


@pytest.mark.asyncio(loop_scope="module")
async def test_a_token_that_the_server_does_not_know_is_named_in_the_log_and_keeps_nobody_from_starting(
    server: WorkflowEnvironment, tmp_path: Path
) -> None:
    [path] = _left_behind_in(tmp_path)
    with capture_logs() as logs:
        assert await give_back(tmp_path, _addresses(server.client.service_client.config.target_host, tmp_path)) == 0
    assert [(line["event"], line["workflow"]) for line in logs if line["log_level"] == "warning"] == [
        ("activity_not_given_back", NOTE.workflow)
    ]
    assert not path.exists()


async def test_a_server_that_is_away_keeps_nobody_from_starting_and_the_list_stays(tmp_path: Path) -> None:
    [path] = _left_behind_in(tmp_path)
    assert await give_back(tmp_path, _addresses("127.0.0.1:1", tmp_path)) == 0
    assert path.exists()


def test_a_list_is_nobodys_while_its_process_lives_and_gone_when_it_ends_well(tmp_path: Path) -> None:
    with noting(tmp_path) as living:
        assert living.begin(NOTE) == 0
        [path] = lists_of_this_boot(tmp_path)
        with left_behind(path) as found:
            assert found == []
    assert lists_of_this_boot(tmp_path) == []


def test_what_was_struck_off_is_not_left_behind_and_its_place_is_used_again(tmp_path: Path) -> None:
    with noting(tmp_path) as living:
        [path] = lists_of_this_boot(tmp_path)
        assert [living.begin(_attempt(number)) for number in range(3)] == [0, 1, 2]
        living.end(1)
        assert living.begin(_attempt(7)) == 1
        living.end(0)
        left = path.read_bytes()
    path.write_bytes(left)  # as it was in the middle; nobody holds this one
    with left_behind(path) as found:
        assert found == [_attempt(7), _attempt(2)]
    assert not path.exists()


def test_a_note_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    [path] = _left_behind_in(tmp_path)
    content = path.read_bytes().ljust(SLOT, b"\0")
    path.write_bytes(b"{torn\n".ljust(SLOT, b"\0") + content)
    with left_behind(path) as found:
        assert found == [NOTE]


def test_two_workers_that_start_together_do_not_both_take_a_list(tmp_path: Path) -> None:
    [path] = _left_behind_in(tmp_path)
    with left_behind(path) as mine, left_behind(path) as theirs:
        assert (mine, theirs) == ([NOTE], [])


def test_lists_of_another_machine_are_left_alone_until_they_are_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [path] = _left_behind_in(tmp_path)
    other = tmp_path / "boot_id"
    other.write_text("another\n")
    monkeypatch.setattr(unfinished, "_BOOT_ID", other)
    assert lists_of_this_boot(tmp_path) == []
    assert path.exists()
    long_ago = time.time() - KEPT.total_seconds() - 60
    os.utime(path, (long_ago, long_ago))
    assert lists_of_this_boot(tmp_path) == []
    assert not path.exists()


@pytest.mark.parametrize("missing", ["boot id", "folder"])
def test_where_no_list_can_be_kept_work_goes_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "boot id":
        monkeypatch.setattr(unfinished, "_BOOT_ID", tmp_path / "none")
    else:
        (tmp_path / FOLDER).write_text("a file is in the way")
    with noting(tmp_path) as living:
        assert living.begin(NOTE) is None


def _left_behind_in(state: Path) -> list[Path]:
    """The list of a process that noted one activity and is gone, and its lock with it."""
    with noting(state) as living:
        living.begin(NOTE)
        [path] = lists_of_this_boot(state)
        left = path.read_bytes()
    path.write_bytes(left)
    return [path]


def _program(state: Path) -> int:
    return int((state / PROGRAM).read_text())


def _attempt(number: int) -> Begun:
    return NOTE.model_copy(update={"attempt": number})


def _addresses(temporal: str, state: Path) -> Addresses:
    return Addresses(temporal=temporal, namespace="default", database_url="", redis_url="", state_dir=state)
