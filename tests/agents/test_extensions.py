"""Extensions are found by entry point, checked when they are loaded, and get nothing that policy does not grant."""

from __future__ import annotations

import sys
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.assignments import Work
from agents.extensions import ExtensionError, load_gates, load_graphs, load_tools
from agents.graphs.registry import graph_for
from agents.policy import Policy
from agents.sandbox import Bubblewrap
from agents.target import Environment, EnvironmentKind
from agents.tools.base import ToolContext
from agents.tools.registry import tools_for
from ledger.vocabulary import Role

EXAMPLE = Path(__file__).parents[2] / "examples" / "extension"
ENVIRONMENT = Environment(kind=EnvironmentKind.PLAIN, path=sys.prefix, digest="0" * 64)
Install = Callable[..., Path]

TOOL = """
from pydantic import BaseModel
from agents.tools.base import Tool, ToolResult
from ledger.vocabulary import Role, Tier

class Nothing(BaseModel):
    pass

async def run(context, arguments):
    {body}

{name} = Tool("{name}", "", Nothing, Tier.{tier}, run, writes={writes}, roles=frozenset({{Role.ENGINEER}}))
"""


@pytest.fixture(autouse=True)
def forget_modules() -> Any:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("syndic_license_headers", "ext_")):
            del sys.modules[name]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Lay a distribution's metadata and modules on the path, which is all that installing does for entry points."""

    def lay(name: str, points: dict[str, dict[str, str]], modules: dict[str, str] | None = None) -> Path:
        place = tmp_path / name
        metadata = place / f"{name.replace('-', '_')}-0.1.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
        lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in named.items()) for group, named in points.items()]
        (metadata / "entry_points.txt").write_text("\n".join(lines))
        for module, text in (modules or {}).items():
            (place / f"{module}.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(place)
        return place

    return lay


@pytest.fixture
def example(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install(project["name"], project["entry-points"])
    monkeypatch.syspath_prepend(EXAMPLE / "src")


def tool_module(
    name: str, body: str = "return ToolResult(ok=True, content='{}')", tier: str = "READ", writes: bool = False
) -> str:
    return TOOL.format(name=name, body=body, tier=tier, writes=writes)


def test_without_extensions_there_is_nothing():
    assert (load_tools(), load_gates(), load_graphs()) == ((), (), {})


@pytest.mark.usefixtures("example")
async def test_the_examples_tool_is_offered_to_its_roles_and_works(tmp_path: Path):
    (tool,) = load_tools()
    assert "missing_headers" in {offered.name for offered in tools_for(Role.ANALYST, Work.SURVEY, (tool,))}
    assert "missing_headers" not in {offered.name for offered in tools_for(Role.JUDGE, Work.JUDGE, (tool,))}
    policy = Policy.with_extensions((tool,))
    asked: dict[str, Any] = {"tool": tool, "scope": ("**",), "root": tmp_path}
    assert policy.decide(role=Role.ANALYST, arguments={"folder": "."}, **asked).allowed
    assert policy.decide(role=Role.ANALYST, arguments={"folder": "../x"}, **asked).rule == "path"
    assert policy.decide(role=Role.ARCHITECT, arguments={"folder": "."}, **asked).rule == "not-in-toolset"
    assert Policy().decide(role=Role.ANALYST, arguments={}, **asked).rule == "unknown-tool"

    (tmp_path / "a.py").write_text("# SPDX-License-Identifier: MIT\n")
    (tmp_path / "b.py").write_text("x = 1\n")
    result = await tool.run(context(tmp_path), tool.arguments())
    assert result.content == '{"files": ["b.py"], "count": 1}'
    result = await tool.run(context(tmp_path), tool.arguments(folder=".."))
    assert not result.ok


@pytest.mark.usefixtures("example")
async def test_the_examples_gate_runs_in_the_sandbox(tmp_path: Path):
    from agents.gates import run_gate

    tree = tmp_path / "tree"
    tree.mkdir()
    (find,) = load_gates()
    assert find(tree, ENVIRONMENT) == ()
    (tree / "LICENSE").write_text("MIT")
    (tree / "a.py").write_text("x = 1\n")
    (spec,) = find(tree, ENVIRONMENT)
    place: dict[str, Any] = {"environment": ENVIRONMENT, "sandbox": Bubblewrap(), "scratch": tmp_path / "scratch"}
    red = await run_gate(spec, tree=tree, **place)
    assert (red.passed, red.tail.strip()) == (False, "a.py")
    (tree / "a.py").write_text("# SPDX-License-Identifier: MIT\nx = 1\n")
    assert (await run_gate(spec, tree=tree, **place)).passed


@pytest.mark.usefixtures("example")
def test_the_examples_graph_replaces_the_built_in_one_for_its_work():
    graphs = load_graphs()
    assert graph_for(Work.SURVEY, graphs).get_name() == "careful-survey"
    assert graph_for(Work.CHANGE, graphs).get_name() == "worker"


def test_an_extension_that_cannot_be_imported_is_named(install: Install):
    install(
        "broken-thing",
        {"syndic.tools": {"x": "ext_broken:x"}, "syndic.gates": {"g": "ext_gone:g"}},
        {"ext_broken": "1 / 0"},
    )
    with pytest.raises(
        ExtensionError, match=r"'broken-thing' cannot be used: .*ZeroDivisionError.*uninstall 'broken-thing'"
    ):
        load_tools()
    with pytest.raises(ExtensionError, match=r"'broken-thing' cannot be used: .*ext_gone"):
        load_gates()


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("count = 3", "no agents.tools.base.Tool"),
        (tool_module("other") + "\ncount = other", "same name"),
        (tool_module("count", writes=True), "needs tier WRITE"),
    ],
)
def test_what_is_no_proper_tool_is_refused(install: Install, module: str, reason: str):
    install("odd", {"syndic.tools": {"count": "ext_odd:count"}}, {"ext_odd": module})
    with pytest.raises(ExtensionError, match=reason):
        load_tools()


def test_two_extensions_of_one_name_are_refused_and_so_is_a_built_in_name(install: Install):
    install("first", {"syndic.tools": {"count": "ext_first:count"}}, {"ext_first": tool_module("count")})
    assert [tool.name for tool in load_tools()] == ["count"]
    install("second", {"syndic.tools": {"count": "ext_second:count"}}, {"ext_second": tool_module("count")})
    with pytest.raises(ExtensionError, match=r"'second' cannot be used: 'first' already has one"):
        load_tools()


def test_a_built_in_name_is_taken(install: Install):
    install("sly", {"syndic.tools": {"read_file": "ext_sly:read_file"}}, {"ext_sly": tool_module("read_file")})
    with pytest.raises(ExtensionError, match="'Syndic' already has one"):
        load_tools()


@pytest.mark.parametrize("body", ["raise ValueError('oops')", "return ToolResult(ok=True, content='x' * 50_000)"])
async def test_a_tool_that_raises_or_floods_gives_a_failed_answer(install: Install, tmp_path: Path, body: str):
    install("loud", {"syndic.tools": {"count": "ext_loud:count"}}, {"ext_loud": tool_module("count", body)})
    (tool,) = load_tools()
    result = await tool.run(context(tmp_path), tool.arguments())
    assert not result.ok
    assert len(result.content) < 1_000


@pytest.mark.parametrize(
    "module", ["def g(tree, environment): raise OSError('no')", "def g(tree, environment): return [3]"]
)
def test_a_gate_finder_that_fails_is_named_and_never_passed_over(install: Install, tmp_path: Path, module: str):
    install("gatekeeper", {"syndic.gates": {"g": "ext_gate:g"}}, {"ext_gate": module})
    (find,) = load_gates()
    with pytest.raises(ExtensionError, match="gatekeeper"):
        find(tmp_path, ENVIRONMENT)


@pytest.mark.parametrize(("name", "reason"), [("dance", "kind of work"), ("survey", "cannot be called")])
def test_a_graph_must_be_named_after_a_kind_of_work_and_be_callable(install: Install, name: str, reason: str):
    install("graphs", {"syndic.graphs": {name: "ext_graph:g"}}, {"ext_graph": "g = 3"})
    with pytest.raises(ExtensionError, match=reason):
        load_graphs()


def test_the_page_on_extending_shows_the_example_as_it_is():
    page = (EXAMPLE.parents[1] / "docs" / "extending.md").read_text()
    blocks = page.split("```")[1::2]
    shown = [block.partition("\n")[2].rstrip("\n") for block in blocks if block.startswith(("python", "toml"))]
    files = [path.read_text() for path in [EXAMPLE / "pyproject.toml", *EXAMPLE.rglob("*.py")]]
    assert len(shown) == 4
    for block in shown:
        assert any(block in text for text in files), block


def context(tree: Path) -> ToolContext:
    fields: dict[str, Any] = {
        "worktree": SimpleNamespace(path=tree),
        "sandbox": Bubblewrap(),
        "environment": ENVIRONMENT,
    }
    return ToolContext(gates=(), **fields)
