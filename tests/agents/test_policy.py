"""Policy is default deny: every way out of the table or out of the worktree is refused with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from agents.assignments import Work
from agents.policy import MAX_PATH, MAX_TEXT, TIER_CEILING, TOOLSETS, Decision, Policy
from agents.tools.base import Tool, ToolContext, ToolResult
from ledger.vocabulary import Role, Tier


class Nothing(BaseModel):
    pass


async def unused(context: ToolContext, arguments: Nothing) -> ToolResult:
    raise AssertionError("policy never runs a tool")


def tool(name: str, tier: Tier = Tier.READ, **more: object) -> Tool:
    return Tool(name, "", Nothing, tier, unused, **more)  # pyright: ignore[reportArgumentType]


READ = tool("read_file", paths=("path",))
WRITE = tool("write_file", Tier.WRITE, writes=True, paths=("path",))
PATCH = tool("apply_patch", Tier.WRITE, writes=True, paths=("edits[].path",))
TRY = tool("try_patch", Tier.RUN, paths=("candidates[].edits[].path",), scoped=True)
RUN = tool("run_program", Tier.RUN)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "src").mkdir(parents=True)
    (tree / "tests").mkdir()
    (tmp_path / "secret").write_text("s")
    (tree / "src" / "a.py").write_text("")
    (tree / "tests" / "test_a.py").write_text("")
    (tree / "out").symlink_to(tmp_path)
    (tree / "out.txt").symlink_to(tmp_path / "secret")
    (tree / "src" / "link.py").symlink_to("../tests/test_a.py")
    (tree / "src" / "more").symlink_to("../tests")
    return tree


def decide(
    root: Path | None,
    tool: Tool | str,
    role: Role = Role.ENGINEER,
    scope: tuple[str, ...] = ("**",),
    policy: Policy | None = None,
    **arguments: object,
) -> Decision:
    return (policy or Policy()).decide(role=role, tool=tool, arguments=arguments, scope=scope, root=root)


def test_every_role_has_a_ceiling_and_a_toolset_and_none_may_merge():
    assert set(TIER_CEILING) == set(TOOLSETS) == set(Role)
    assert max(TIER_CEILING.values()) == Tier.WRITE


def test_an_allowed_call_says_why(root: Path):
    decision = decide(root, READ, path="src/a.py")
    assert decision.allowed
    assert "engineer may use read_file" in decision.reason


@pytest.mark.parametrize("name", ["make_coffee", "", "read_file ", "READ_FILE"])
def test_a_name_that_no_tool_has_is_refused(root: Path, name: str):
    assert decide(root, name).rule == "unknown-tool"


@given(name=st.text(max_size=30), role=st.sampled_from(Role), tier=st.sampled_from(Tier))
def test_a_tool_that_no_table_and_no_grant_names_is_refused(name: str, role: Role, tier: Tier):
    if any(name in names for names in TOOLSETS.values()):
        return
    assert decide(None, tool(name, tier), role).rule == "unknown-tool"
    assert decide(None, name, role).rule == "unknown-tool"


@pytest.mark.parametrize("role", [role for role in Role if TIER_CEILING[role] < Tier.WRITE])
def test_a_role_below_write_gets_no_writing_tool(root: Path, role: Role):
    for writing in (WRITE, PATCH, tool("fix_lint", Tier.WRITE, writes=True), tool("replace", Tier.WRITE, writes=True)):
        assert decide(root, writing, role, path="src/a.py").rule == "not-in-toolset"


def test_a_tool_above_the_ceiling_is_refused_even_when_granted(root: Path):
    granted = Policy(grants={"deploy": frozenset({Role.QA, Role.ENGINEER})})
    assert decide(root, tool("deploy", Tier.WRITE, writes=True), Role.QA, policy=granted).rule == "tier"
    assert decide(root, tool("deploy", Tier.MERGE), Role.ENGINEER, policy=granted).rule == "tier"


def test_an_extension_tool_is_for_the_roles_it_names_and_no_others(root: Path):
    policy = Policy.with_extensions([tool("count", roles=frozenset({Role.ANALYST})), tool("orphan")])
    assert decide(root, tool("count"), Role.ANALYST, policy=policy).allowed
    assert decide(root, tool("count"), Role.ENGINEER, policy=policy).rule == "not-in-toolset"
    assert not any(decide(root, tool("orphan"), role, policy=policy).allowed for role in Role)


def test_an_extension_cannot_grant_a_built_in_tool(root: Path):
    policy = Policy.with_extensions([tool("write_file", roles=frozenset(Role))])
    assert decide(root, tool("write_file"), Role.JUDGE, policy=policy, path="src/a.py").rule == "not-in-toolset"


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "..", "../secret", "src/../../secret", "out/secret", "out", "out.txt", ".git/config", "src/.GIT/x",
     "a\0b", "", "src/../src/a.py", ".git", "./.git/hooks/x", "\udcff/../.."],
)  # fmt: skip
def test_paths_that_leave_the_worktree_are_refused_for_reads_and_writes_alike(root: Path, path: str):
    for call in (READ, WRITE):
        decision = decide(root, call, path=path)
        assert (decision.allowed, decision.rule) == (False, "path")
    assert decide(root, PATCH, edits=[{"path": "src/a.py"}, {"path": path}]).rule == "path"
    candidates = [{"id": "1", "edits": [{"path": "src/a.py"}]}, {"id": "2", "edits": [{"path": path}]}]
    assert decide(root, TRY, candidates=candidates).rule == "path"


_PARTS = st.one_of(
    st.sampled_from(
        ["..", ".", "", "src", "out", "out.txt", ".git", "a.py", "more", "secret", "tests", "link.py", "~"]
    ),
    st.text(max_size=6),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(parts=st.lists(_PARTS, max_size=6), absolute=st.booleans(), call=st.sampled_from([READ, WRITE]))
def test_no_path_that_resolves_outside_is_ever_allowed(root: Path, parts: list[str], absolute: bool, call: Tool):
    path = ("/" if absolute else "") + "/".join(parts)
    if not decide(root, call, path=path).allowed:
        return
    resolved = Path(os.path.realpath(root / path))
    assert resolved.is_relative_to(root.resolve())
    assert ".git" not in resolved.relative_to(root.resolve()).parts


@pytest.mark.parametrize("path", [3, {"a": 1}, [["x"]], True])
def test_a_path_that_is_no_text_is_refused(root: Path, path: object):
    assert decide(root, READ, path=path).rule == "malformed"


def test_a_path_where_there_is_no_worktree_is_refused():
    assert decide(None, READ, path="a.py").rule == "no-worktree"


def test_writes_outside_the_scope_are_refused_and_reads_are_not(root: Path):
    assert decide(root, WRITE, scope=("src/**",), path="docs/x.md").rule == "scope"
    assert decide(root, WRITE, scope=("src/**",), path="src/new.py").allowed
    assert decide(root, READ, scope=("src/**",), path="tests/test_a.py").allowed


def test_a_candidate_patch_is_held_against_the_scope(root: Path):
    candidates = [{"id": "1", "edits": [{"path": "tests/test_a.py"}]}]
    assert decide(root, TRY, candidates=candidates).rule == "scope"


def test_a_link_in_scope_opens_nothing_out_of_scope(root: Path):
    assert decide(root, WRITE, path="src/link.py").rule == "path"
    assert decide(root, WRITE, path="src/more/test_a.py").rule == "scope"


def test_programs_are_started_by_allowed_base_name_only(root: Path):
    assert decide(root, RUN, argv=["pytest", "-x"]).allowed
    for argv in (["bash", "-c", "x"], ["/usr/bin/python"], ["./pytest"], ["pytest "], [""]):
        assert decide(root, RUN, argv=argv).rule == "program"
    for argv in (None, [], "pytest", ["pytest", 1]):
        assert decide(root, RUN, argv=argv).rule == "malformed"


def test_arguments_that_are_too_long_are_refused(root: Path):
    assert decide(root, WRITE, path="src/a.py", text="x" * (MAX_TEXT + 1)).rule == "too-long"
    assert decide(root, READ, path="x/" * MAX_PATH).rule == "too-long"
    assert decide(root, RUN, argv=["pytest", "x" * (MAX_TEXT + 1)]).rule == "too-long"
    many = [{"path": "src/a.py", "text": "x" * MAX_TEXT}] * 6
    assert decide(root, PATCH, edits=many).rule == "too-long"


@given(path=st.text(max_size=3_000))
def test_reasons_stay_short(path: str):
    assert len(decide(Path("/"), READ, path=path).reason) < 800


def test_the_engineer_has_every_built_in_tool_of_the_registry():
    registry = pytest.importorskip("agents.tools.registry")
    assert set(registry.all_tools(Work.CHANGE)) == TOOLSETS[Role.ENGINEER]
