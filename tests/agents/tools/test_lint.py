"""Ruff judges by the repository's own configuration, and fixes only what is safe, asked for and in scope."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agents.errors import SandboxMissingError
from agents.sandbox import Refusing
from agents.tools import lint
from agents.tools.ruff import covers

TOOLS = {tool.name: tool for tool in lint.TOOLS}
DEBT = "import os\nimport sys\n\nx = None\nif x == None:\n    print(f'a')\n"


async def test_findings_have_relative_paths_and_counts(make_context: Any, use: Any, fill: Any):
    fill({"src/a.py": DEBT, "b.py": "x = 1\n"})
    _, content = await use(TOOLS["lint"], make_context())
    assert content["counts"] == {"F401": 2, "F541": 1}
    assert content["fixable"] == {"F401": 2, "F541": 1}
    assert content["configured"] is False
    first = content["findings"][0]
    assert (first["path"], first["line"], first["code"], first["fixable"]) == ("src/a.py", 1, "F401", True)


async def test_the_repositorys_configuration_decides(tree: Path, make_context: Any, use: Any, fill: Any):
    configuration = '[tool.ruff.lint]\nselect = ["F"]\nunfixable = ["F541"]\nexclude = ["gen/**"]\n'
    fill({"a.py": DEBT, "gen/b.py": DEBT, "pyproject.toml": configuration})
    _, content = await use(TOOLS["lint"], make_context(), rules=["F", "E7", "SIM"])
    assert content["configured"] is True
    assert content["counts"] == {"F401": 2, "F541": 1}
    assert content["fixable"] == {"F401": 2}
    _, content = await use(TOOLS["lint"], make_context(), paths=["gen/b.py"])
    assert content["counts"] == {}
    _, content = await use(TOOLS["fix_lint"], make_context(), rules=["ALL"])
    assert content["changed"] == ["a.py"]
    assert content["after"] == {"F541": 1}
    assert (tree / "gen/b.py").read_text() == DEBT


async def test_without_configuration_asked_rules_are_selected(make_context: Any, use: Any, fill: Any):
    fill({"a.py": "def f(a):\n    if a:\n        return True\n    else:\n        return False\n"})
    _, content = await use(TOOLS["lint"], make_context(), rules=["SIM", "RET505"])
    assert set(content["counts"]) == {"SIM103", "RET505"}


async def test_only_asked_rules_and_safe_fixes_are_applied(tree: Path, make_context: Any, use: Any, fill: Any):
    fill({"a.py": DEBT})
    _, content = await use(TOOLS["fix_lint"], make_context(), rules=["F401", "E711"])
    assert content["changed"] == ["a.py"]
    assert content["before"] == {"F401": 2, "E711": 1}
    assert content["after"] == {"E711": 1}
    assert (tree / "a.py").read_text() == "\nx = None\nif x == None:\n    print(f'a')\n"


async def test_tests_configuration_and_paths_out_of_scope_stay_as_they_are(
    tree: Path, make_context: Any, use: Any, fill: Any
):
    kept = ["tests/helper.py", "pkg/test_a.py", "conftest.py", "other/b.py"]
    fill({"pkg/a.py": DEBT} | dict.fromkeys(kept, DEBT))
    context = make_context(scope=("**", "!other/**"))
    _, content = await use(TOOLS["fix_lint"], context, rules=["F"], paths=["."])
    assert content["changed"] == ["pkg/a.py"]
    assert content["not_changed_for_scope"] == sorted(kept)
    assert all((tree / name).read_text() == DEBT for name in kept)


async def test_a_test_file_that_the_scope_names_is_fixed(tree: Path, make_context: Any, use: Any, fill: Any):
    fill({"tests/test_a.py": DEBT})
    _, content = await use(TOOLS["fix_lint"], make_context(scope=("tests/**",)), rules=["F401"])
    assert content["changed"] == ["tests/test_a.py"]


async def test_linting_changes_nothing_even_when_configuration_asks_for_fixes(
    tree: Path, make_context: Any, use: Any, fill: Any
):
    fill({"a.py": DEBT, "ruff.toml": "fix = true\nunsafe-fixes = true\n"})
    _, content = await use(TOOLS["lint"], make_context())
    assert content["counts"]["F401"] == 2
    assert (tree / "a.py").read_text() == DEBT
    assert sorted(path.name for path in tree.iterdir()) == ["a.py", "ruff.toml"]
    await use(TOOLS["fix_lint"], make_context(), rules=["E711"])
    assert (tree / "a.py").read_text() == DEBT


async def test_nothing_to_fix_is_a_success(make_context: Any, use: Any, fill: Any):
    fill({"a.py": "x = 1\n"})
    result, content = await use(TOOLS["fix_lint"], make_context(), rules=["F"])
    assert result.ok
    assert content["changed"] == []


async def test_a_broken_configuration_is_an_answer(make_context: Any, use: Any, fill: Any):
    fill({"a.py": DEBT, "ruff.toml": "nonsense = ["})
    result, content = await use(TOOLS["lint"], make_context())
    assert not result.ok
    assert "ruff.toml" in content["error"]


async def test_a_file_that_does_not_parse_is_a_finding(make_context: Any, use: Any, fill: Any):
    fill({"a.py": "x = (\n"})
    _, content = await use(TOOLS["lint"], make_context())
    assert set(content["counts"]) == {"invalid-syntax"}


async def test_a_flood_of_findings_still_fits(make_context: Any, use: Any, fill: Any):
    fill({"a.py": "".join(f"import module_with_a_long_name_{number}\n" for number in range(3_000))})
    _, content = await use(TOOLS["lint"], make_context())
    assert content["truncated"]
    assert content["counts"] == {"F401": 3_000}


@pytest.mark.parametrize("path", ["../x", "/etc", ".git"])
async def test_paths_outside_are_refused(make_context: Any, use: Any, path: str):
    for name, more in (("lint", {}), ("fix_lint", {"rules": ["F"]})):
        result, _ = await use(TOOLS[name], make_context(), paths=[path], **more)
        assert not result.ok


@pytest.mark.parametrize("rule", ["--config=x", "f401", "F401,E", ""])
def test_a_rule_cannot_become_an_option(rule: str):
    with pytest.raises(ValidationError):
        lint.FixLint(rules=[rule])


@pytest.mark.parametrize(
    ("rule", "code", "expected"),
    [("F", "F401", True), ("F", "FBT001", False), ("F4", "F401", True), ("F401", "F401", True), ("E7", "E501", False),
     ("PL", "PLR0913", True), ("P", "PLR0913", False), ("ALL", "X1", True), ("C4", "C401", True), ("C4", "C901", False)],
)  # fmt: skip
def test_rules_cover_codes_as_in_ruff(rule: str, code: str, expected: bool):
    assert covers([rule], code) is expected


async def test_without_a_sandbox_nothing_runs(make_context: Any, use: Any, fill: Any):
    fill({"a.py": DEBT})
    with pytest.raises(SandboxMissingError):
        await use(TOOLS["lint"], make_context(sandbox=Refusing("there is none")))
