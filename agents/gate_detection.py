"""Which checks a repository has, read from its files. None at all is a valid answer."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from agents.detection import read_ini, read_toml
from agents.target import Environment, GateKind, GateSpec

TESTS_TIMEOUT_S = 600
_TEST_FILES = ("test_*.py", "*_test.py")
_SKIPPED = {"node_modules", "build", "dist", "site-packages", "__pycache__"}
_MAX_FILES = 50_000


def detect_gates(tree: Path, environment: Environment) -> tuple[GateSpec, ...]:
    """Tests, lint, format and types, each only where the repository has it.

    Lint alone has a default: Python without any configuration is checked by ruff's own rules (`--isolated`), since only
    the comparison with the baseline counts.
    """
    files = list(itertools.islice(_python_files(tree), _MAX_FILES))
    if not files:
        return ()
    found: list[GateSpec] = []
    if environment.path and any(path.match(pattern) for path in files for pattern in _TEST_FILES):
        found.append(_gate("tests", GateKind.TESTS, "python", "-m", "pytest", timeout_s=TESTS_TIMEOUT_S))
    isolated = () if _uses_ruff(tree) else ("--isolated",)
    found.append(_gate("lint", GateKind.LINT, "ruff", "check", *isolated))
    found.extend(_format(tree, environment))
    found.extend(_types(tree, environment))
    return tuple(found)


def _gate(name: str, kind: GateKind, *argv: str, timeout_s: int = 300) -> GateSpec:
    return GateSpec(name=name, kind=kind, argv=argv, timeout_s=timeout_s)


def _python_files(tree: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(tree):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(names) if name.endswith(".py"))


def _tool(tree: Path, name: str) -> dict[str, object] | None:
    tools = read_toml(tree / "pyproject.toml").get("tool", {})
    found = tools.get(name) if isinstance(tools, dict) else None
    return found if isinstance(found, dict) else None


def _uses_ruff(tree: Path) -> bool:
    return _tool(tree, "ruff") is not None or any((tree / name).is_file() for name in ("ruff.toml", ".ruff.toml"))


def _format(tree: Path, environment: Environment) -> Iterator[GateSpec]:
    hooks = tree / ".pre-commit-config.yaml"
    hooked = hooks.read_text(errors="replace") if hooks.is_file() and not hooks.is_symlink() else ""
    ruff = [_tool(tree, "ruff") or {}, *(read_toml(tree / name) for name in ("ruff.toml", ".ruff.toml"))]
    if "ruff-format" in hooked or any("format" in configuration for configuration in ruff):
        yield _gate("format", GateKind.FORMAT, "ruff", "format", "--check")
    elif (_tool(tree, "black") is not None or "psf/black" in hooked) and _installed(environment, "black"):
        yield _gate("format", GateKind.FORMAT, "python", "-m", "black", "--check", ".")


def _types(tree: Path, environment: Environment) -> Iterator[GateSpec]:
    """mypy where its configuration says what to check; without that it could not be run as the repository runs it."""
    sections = [dict(parser.items("mypy")) for name in ("mypy.ini", ".mypy.ini", "setup.cfg")
                if (parser := read_ini(tree / name)).has_section("mypy")]  # fmt: skip
    sections.append({key: str(value) for key, value in (_tool(tree, "mypy") or {}).items()})
    if _installed(environment, "mypy") and any({"files", "packages", "modules"} & set(section) for section in sections):
        yield _gate("types", GateKind.TYPES, "python", "-m", "mypy")


def _installed(environment: Environment, program: str) -> bool:
    return environment.path is not None and (Path(environment.path) / "bin" / program).exists()
