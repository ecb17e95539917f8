"""Fixtures of the command line's tests: a repository, and a runner that sees both streams."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from workers.cli import cli

Syndic = Callable[..., Result]


@pytest.fixture
def syndic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Syndic:
    """Runs a command against a state folder in which no stack was ever started."""
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "SYNDIC_DATABASE_URL", "SYNDIC_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SYNDIC_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "no-temporal.toml"))
    return lambda *arguments: CliRunner().invoke(cli, list(arguments))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with one commit."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "README.md").write_text("# shop\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    """One git command in a folder."""
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout
