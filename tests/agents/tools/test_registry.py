"""Each role is offered its tools and no others; endings carry the result of the work; gates are run by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.assignments import RESULTS, Work
from agents.policy import TOOLSETS
from agents.target import GateKind, GateSpec
from agents.tools import gates
from agents.tools.registry import all_tools, tools_for
from ledger.vocabulary import Role, Tier


def test_every_built_in_tool_describes_itself_and_its_arguments():
    for tool in all_tools().values():
        schema = tool.schema()
        assert schema["function"]["description"]
        if tool.name != "finish":
            assert all(
                "description" in field for field in schema["function"]["parameters"].get("properties", {}).values()
            )


def test_the_engineer_is_offered_everything_for_a_change():
    assert {tool.name for tool in tools_for(Role.ENGINEER, Work.CHANGE)} == set(all_tools())


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("work", Work)
def test_only_a_change_may_write_and_everyone_can_finish_and_escalate(role: Role, work: Work):
    tools = {tool.name: tool for tool in tools_for(role, work)}
    assert {"finish", "escalate"} <= tools.keys() <= TOOLSETS[role]
    if work is not Work.CHANGE:
        assert max(tool.tier for tool in tools.values()) < Tier.WRITE
    assert tools["finish"].arguments is RESULTS[work]


def test_judges_only_read():
    assert {tool.name for tool in tools_for(Role.JUDGE, Work.JUDGE)} == {
        "list_files", "read_file", "search", "finish", "escalate",
    }  # fmt: skip


def test_tools_that_write_say_so():
    for tool in all_tools().values():
        assert tool.writes == (tool.tier is Tier.WRITE)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("finish", {"summary": "done", "outcome": "changed"}),
        ("refuse", {"reason": "cannot", "can_do": ["tidy"]}),
        ("escalate", {"question": "which?"}),
        ("hand_off", {"role": "qa", "reason": "look"}),
    ],
)
async def test_an_ending_ends_the_run_with_its_arguments_as_data(
    make_context: Any, use: Any, name: str, arguments: dict[str, Any]
):
    result, _ = await use(all_tools()[name], make_context(), **arguments)
    assert result.ok
    assert result.ends
    assert arguments.items() <= result.data.items()


async def test_a_gate_is_run_by_name_and_leaves_the_worktree_alone(tree: Path, make_context: Any, use: Any, fill: Any):
    fill({"test_a.py": "def test_a():\n    open('junk', 'w').close()\n    assert False\n\ndef test_b(): pass\n"})
    (tool,) = gates.TOOLS
    result, content = await use(tool, make_context(), gate="tests")
    assert result.ok
    assert (content["passed"], content["failures"]) == (False, ["test_a.py::test_a"])
    assert content["counts"]["passed"] == 1
    assert [path.name for path in tree.iterdir()] == ["test_a.py"]


async def test_an_unknown_gate_is_an_answer_that_names_the_others(make_context: Any, use: Any):
    lint = GateSpec(name="lint", kind=GateKind.LINT, argv=("ruff", "check"))
    (tool,) = gates.TOOLS
    result, content = await use(tool, make_context(gates=(lint,)), gate="tests")
    assert not result.ok
    assert "lint" in content["hint"]
