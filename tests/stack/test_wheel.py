"""The wheel in a clean environment: `syndic doctor` there, then a neighbour that installs a package of the same name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def uv() -> str:
    places = (ROOT / ".bootstrap" / "bin", Path(sys.executable).parent)
    found = shutil.which("uv") or shutil.which("uv", path=os.pathsep.join(map(str, places)))
    if found is None:
        pytest.skip("uv is not installed; `make test` brings it")
    return found


@pytest.fixture(scope="module")
def installed(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds the wheel and the base dependencies at the locked versions."""
    folder = tmp_path_factory.mktemp("wheel")
    environment = folder / "venv"
    run(uv, "build", "--wheel", "--quiet", "--out-dir", str(folder), str(ROOT))
    run(uv, "venv", "--quiet", "--python", sys.executable, str(environment))
    locked = folder / "locked.txt"
    exported = run(
        uv, "export", "--quiet", "--locked", "--no-default-groups", "--no-emit-project", "--project", str(ROOT)
    )
    locked.write_text(exported.stdout)
    python = str(environment / "bin" / "python")
    run(uv, "pip", "install", "--quiet", "--python", python, "-r", str(locked))
    run(uv, "pip", "install", "--quiet", "--python", python, "--no-deps", str(next(folder.glob("*.whl"))))
    return environment


def run(*argv: str, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SYNDIC_", "VIRTUAL_ENV"))
    }
    kept = {name: value for name, value in kept.items() if not name.startswith(("TEMPORAL_", "VAULT_"))}
    ended = subprocess.run(argv, env=kept, cwd=cwd, capture_output=True, text=True, timeout=200, check=False)
    assert not check or ended.returncode == 0, ended.stdout + ended.stderr
    return ended


def neighbour(folder: Path) -> Path:
    """A wheel of another distribution that brings a package `agents`."""
    wheel = folder / "other_agents-1.2-py3-none-any.whl"
    info = "other_agents-1.2.dist-info"
    files = {
        "agents/swarm.py": "",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: other-agents\nVersion: 1.2\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


def test_the_installed_wheel_is_healthy_and_a_clashing_neighbour_is_named(
    uv: str, installed: Path, tmp_path: Path
) -> None:
    syndic = str(installed / "bin" / "syndic")
    healthy = run(syndic, "doctor", "--json", cwd=tmp_path)
    assert str(installed) in healthy.stdout
    assert "syndic[local]" in healthy.stdout

    python = str(installed / "bin" / "python")
    run(uv, "pip", "install", "--quiet", "--python", python, "--no-deps", str(neighbour(tmp_path)))
    refused = run(syndic, "doctor", check=False, cwd=tmp_path)
    assert refused.returncode == 2
    assert "agents/swarm.py" in refused.stderr
    assert "other-agents 1.2" in refused.stderr
    assert "uv tool install" in refused.stderr

    run(uv, "pip", "uninstall", "--quiet", "--python", python, "other-agents")
    assert run(syndic, "--help", cwd=tmp_path).returncode == 0
