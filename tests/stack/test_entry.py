"""The entry point refuses to run when one of our packages is another distribution's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workers import _entry


def run(*arguments: str, cwd: Path, path: Path | None = None, safe: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONPATH": str(path)} if path else {}
    environment |= {"PYTHONSAFEPATH": "1"} if safe else {}
    argv = [sys.executable, "-m", "workers._entry", *arguments]
    return subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)


def package(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("raise SystemExit('imported a stranger')\n")
    return folder


@pytest.mark.parametrize("name", ["workflows", "activities", "agents", "ledger"])
def test_a_package_ahead_on_the_path_is_named_with_the_remedy(tmp_path: Path, name: str) -> None:
    ended = run("--help", cwd=tmp_path, path=package(tmp_path / "elsewhere", name))
    assert ended.returncode == 2
    assert f"{name}: Python finds {tmp_path}/elsewhere/{name}/__init__.py" in ended.stderr
    assert "uv tool install" in ended.stderr
    assert "imported a stranger" not in ended.stderr


def test_the_distribution_that_brought_it_is_named(tmp_path: Path) -> None:
    folder = package(tmp_path / "elsewhere", "agents")
    info = folder / "other_agents-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-agents\nVersion: 1.2\n")
    (info / "RECORD").write_text("agents/__init__.py,,\n")
    assert "(other-agents 1.2)" in run("--help", cwd=tmp_path, path=folder).stderr


@pytest.mark.parametrize("safe", [True, False])
def test_packages_of_the_working_folder_are_not_taken_for_ours(tmp_path: Path, safe: bool) -> None:
    package(tmp_path, "agents")
    package(tmp_path, "ledger")
    ended = run("--help", cwd=tmp_path, safe=safe)
    assert ended.returncode == 0, ended.stderr
    assert "Usage" in ended.stdout


def test_the_check_takes_less_than_60_ms() -> None:
    started = time.perf_counter()
    assert _entry.find_clashes() == []
    assert time.perf_counter() - started < 0.06
