"""Tiny repositories and a context with the real sandbox."""

from __future__ import annotations

import compileall
import importlib.metadata
import importlib.util
import json
import shutil
import venv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.sandbox import Bubblewrap
from agents.target import Environment, EnvironmentKind, GateKind, GateSpec
from agents.tools.base import Tool, ToolContext, ToolResult

MakeContext = Callable[..., ToolContext]

GREEN = GateSpec(name="tests", kind=GateKind.TESTS, argv=("python", "-m", "pytest"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    path.mkdir()
    return path


_PYTEST = ("py", "pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments")


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own with pytest and nothing else, as a target has it: no coverage, no plugins."""
    path = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(path, symlinks=True)
    packages = next(path.glob("lib/python3*/site-packages"))
    for name in _PYTEST:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        if spec.submodule_search_locations:
            shutil.copytree(Path(spec.origin).parent, packages / name)
        else:
            shutil.copy(spec.origin, packages)
    place = packages / "pluggy.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(
        f"Name: pluggy\nVersion: {importlib.metadata.version('pluggy')}\n"
    )  # pytest's header
    assert compileall.compile_dir(packages, quiet=1), (
        "sandboxes keep no compiled files, so each run would compile pytest"
    )
    return path


@pytest.fixture
def make_context(tree: Path, target: Path, tmp_path: Path) -> MakeContext:
    """A context on `tree`; keyword arguments replace its fields."""

    def make(**changes: Any) -> ToolContext:
        roots = changes.pop("source_roots", (".",))
        fields: dict[str, Any] = {
            "worktree": SimpleNamespace(path=tree),
            "sandbox": Bubblewrap(),
            "environment": Environment(
                kind=EnvironmentKind.PLAIN, path=str(target), digest="0" * 64, source_roots=roots
            ),
            "gates": (GREEN,),
            "programs": frozenset({"python", "pytest", "ruff"}),
            "scratch": tmp_path / "scratch",
        }
        return ToolContext(**{**fields, **changes})

    return make


async def call(tool: Tool, context: ToolContext, **arguments: Any) -> tuple[ToolResult, dict[str, Any]]:
    """Validate arguments as a graph does, run the tool, and read its answer as a model does."""
    result = await tool.run(context, tool.arguments.model_validate(arguments))
    assert len(result.content) <= 40_000
    return result, json.loads(result.content)


@pytest.fixture
def use() -> Any:
    return call


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def fill(tree: Path) -> Callable[[dict[str, str]], None]:
    return lambda files: write(tree, files)
