"""What a person has before anything runs: the command line without a stack, and mounts of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.badinput.person import Syndic
from workers.cli import cli


@pytest.fixture
def syndic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Syndic:
    """Runs a command where no stack was ever started: whoever gets as far as asking for one has passed all checks."""
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "SYNDIC_DATABASE_URL", "SYNDIC_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SYNDIC_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "no-temporal.toml"))
    return lambda *arguments: CliRunner().invoke(cli, list(arguments))


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Mounts of one's own, without any right on the machine."""
    tried = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("no user namespaces with mounts of their own here")
