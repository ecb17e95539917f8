"""Gates on real trees, and what counts as worse than the baseline."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.environments import build_environment
from agents.gate_parsers import parse_format, parse_lint, parse_tests, parse_types, stable_id
from agents.gates import regressions, run_gate, run_gates, touched_configuration
from agents.sandbox import Refusing, Sandbox, find_sandbox
from agents.target import Baseline, Environment, EnvironmentKind, GateKind, GateResult, GateSpec

ENVIRONMENT = Environment(kind=EnvironmentKind.PLAIN, path=sys.prefix, digest="0", source_roots=(".",))
TESTS = GateSpec(name="tests", kind=GateKind.TESTS, argv=("python", "-m", "pytest"), timeout_s=60)
LINT = GateSpec(name="lint", kind=GateKind.LINT, argv=("ruff", "check"))
FORMAT = GateSpec(name="format", kind=GateKind.FORMAT, argv=("ruff", "format", "--check"))


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    found = asyncio.run(find_sandbox())
    if isinstance(found, Refusing):
        pytest.skip(found.reason)
    return found


@pytest.fixture(scope="module")
def environment(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Nothing but pytest and coverage: our own environment has plugins that take seconds to load."""
    tree = write(tmp_path_factory.mktemp("plain"), {"a.py": ""})
    return asyncio.run(build_environment(tree, cache=tmp_path_factory.mktemp("environments"), sandbox=sandbox))


@pytest.fixture
def place(tmp_path: Path, sandbox: Sandbox, environment: Environment) -> dict[str, Any]:
    return {"environment": environment, "sandbox": sandbox, "scratch": tmp_path / "scratch"}


def write(tree: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    return tree


MIXED = """
import pytest
class Base:
    def test_inherited(self): assert False
class TestIt(Base):
    @pytest.mark.parametrize("x", ["a b", "c::d", "2026-01-02 03:04:05"])
    def test_odd(self, x): assert x == "a b"
@pytest.fixture
def broken(): raise ValueError
def test_setup(broken): pass
def test_fine(): pass
@pytest.mark.skip
def test_skipped(): pass
@pytest.mark.xfail
def test_expected(): assert False
"""


async def test_failures_are_node_ids_and_every_outcome_is_counted(tmp_path: Path, place: dict[str, Any]) -> None:
    tree = write(tmp_path / "tree", {"tests/test_mixed.py": MIXED, "tests/test_bad.py": "import nothing_of_that_name"})
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    result = await run_gate(TESTS, tree=tree, **place)
    assert result.failures == (
        "tests/test_bad.py",
        "tests/test_mixed.py::TestIt::test_inherited",
        "tests/test_mixed.py::TestIt::test_odd[<time>]",
        "tests/test_mixed.py::TestIt::test_odd[c::d]",
        "tests/test_mixed.py::test_setup",
    )
    assert result.counts == {"passed": 2, "failed": 3, "errors": 2, "skipped": 2}
    assert (result.passed, result.exit_code) == (False, 1)
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before
    assert list(place["scratch"].iterdir()) == []


async def test_options_of_the_repository_that_do_not_work_here_are_dropped(
    tmp_path: Path, place: dict[str, Any]
) -> None:
    files = {"pytest.ini": "[pytest]\naddopts = --option-of-a-plugin\n", "test_a.py": "def test_a(): pass\n"}
    result = await run_gate(TESTS, tree=write(tmp_path / "tree", files), **place)
    assert result.passed, result.tail


async def test_tests_that_hang_have_no_exit_code_and_keep_what_is_known(tmp_path: Path, place: dict[str, Any]) -> None:
    code = "import time\ndef test_a(): assert False\ndef test_b(): time.sleep(600)\n"
    spec = TESTS.model_copy(update={"timeout_s": 2})
    result = await run_gate(spec, tree=write(tmp_path / "tree", {"test_a.py": code}), **place)
    assert (result.passed, result.exit_code, result.failures) == (False, None, ("test_a.py::test_a",))
    assert result.tail.endswith("[stopped: time is over]")


@pytest.mark.parametrize("code", ["import os; os._exit(0)", "import sys; sys.exit(0)"])
async def test_leaving_pytest_early_does_not_pass(tmp_path: Path, place: dict[str, Any], code: str) -> None:
    files = {"test_a.py": f"def test_a(): pass\ndef test_b():\n    {code}\n", "conftest.py": ""}
    result = await run_gate(TESTS, tree=write(tmp_path / "tree", files), **place)
    assert not result.passed


async def test_a_report_that_the_target_replaced_by_a_link_is_not_read(tmp_path: Path, place: dict[str, Any]) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"id": "leaked", "outcome": "failed"}\n{"finished": 0}\n')
    code = (
        "import os\ndef test_a():\n    path = os.environ['SYNDIC_GATE_REPORT']\n"
        f"    os.path.exists(path) and os.remove(path)\n    os.symlink({str(secret)!r}, path)\n    os._exit(0)\n"
    )
    result = await run_gate(TESTS, tree=write(tmp_path / "tree", {"test_a.py": code}), **place)
    assert (result.passed, result.failures) == (False, ())


async def test_lint_reports_and_never_fixes(tmp_path: Path, place: dict[str, Any]) -> None:
    files = {
        "pkg/a.py": "import os\nimport sys\n",
        "ruff.toml": "fix = true\nunsafe-fixes = true\n",
        "b.py": "def (:\n",
    }
    tree = write(tmp_path / "tree", files)
    result = await run_gate(LINT, tree=tree, **place)
    assert result.counts["F401"] == 2
    assert "pkg/a.py:1:F401" in result.failures
    assert any(failure.startswith("b.py:1:invalid-syntax") for failure in result.failures)
    assert (tree / "pkg/a.py").read_text() == files["pkg/a.py"]


async def test_gate_configuration_comes_from_the_base(tmp_path: Path, place: dict[str, Any]) -> None:
    base = write(tmp_path / "base", {"a.py": "A = 1\n", "ruff.toml": "lint.select = ['F']\n", "pkg/x": ""})
    tree = write(tmp_path / "tree", {
        "a.py": "import os\n", "pkg/b.py": "import os\n", "ruff.toml": "exclude = ['*']\n",
        "pkg/ruff.toml": "exclude = ['*']\n", "pyproject.toml": "[tool.ruff]\nexclude = ['*']\n",
    })  # fmt: skip
    blind, seeing = [await run_gate(LINT, tree=tree, configuration_from=source, **place) for source in (None, base)]
    assert blind.passed
    assert seeing.failures == ("a.py:1:F401", "pkg/b.py:1:F401")


async def test_format_names_files(tmp_path: Path, place: dict[str, Any]) -> None:
    tree = write(tmp_path / "tree", {"a.py": "x=1\n", "pkg/b.py": "y = 1\n"})
    result = await run_gate(FORMAT, tree=tree, **place)
    assert (result.passed, result.failures, result.counts) == (False, ("a.py",), {"unformatted": 1})


async def test_commands_pass_by_exit_code_and_links_and_pipes_do_not_matter(
    tmp_path: Path, place: dict[str, Any]
) -> None:
    tree = write(tmp_path / "tree", {"a": ""})
    (tree / "link").symlink_to("/etc/passwd")
    os.mkfifo(tree / "pipe")
    specs = [
        GateSpec(name=n, kind=GateKind.COMMAND, argv=("sh", "-c", c))
        for n, c in (("ok", "test -L link"), ("no", "exit 3"))
    ]
    good, bad = await run_gates(specs, tree=tree, **place)
    assert (good.passed, good.exit_code, bad.passed, bad.exit_code) == (True, 0, False, 3)


def result(spec: GateSpec, failures: tuple[str, ...] = (), *, exit_code: int | None = 0, **counts: int) -> GateResult:
    passed = exit_code == 0 and not failures
    return GateResult(gate=spec, passed=passed, exit_code=exit_code, duration_s=1, failures=failures, counts=counts)


def worse(before: GateResult, after: GateResult) -> list[str]:
    baseline = Baseline(commit="0" * 40, environment=ENVIRONMENT, gates=(before,))
    return [regression.text for regression in regressions(baseline, [after])]


def test_what_failed_before_and_still_fails_is_no_regression() -> None:
    before = result(TESTS, ("t::a", "t::b"), exit_code=1, passed=5, failed=2)
    assert worse(before, before) == []
    assert worse(before, result(TESTS, ("t::b",), exit_code=1, passed=6, failed=1)) == []
    assert worse(before, result(TESTS, ("t::b",), exit_code=1, passed=9, failed=1, skipped=1)) == []


def test_new_failures_vanished_tests_and_hanging_gates_are_regressions() -> None:
    before = result(TESTS, ("t::a",), exit_code=1, passed=5, failed=1)
    assert "t::b" in worse(before, result(TESTS, ("t::b",), exit_code=1, passed=5, failed=1))[0]
    assert worse(before, result(TESTS, ("t::a",), exit_code=1, passed=4, failed=1, skipped=1)) == [
        "1 tests that passed at the baseline are gone or skipped"
    ]
    assert worse(before, result(TESTS, passed=5)) == ["1 tests of the baseline are gone"]
    assert "did not finish" in worse(before, result(TESTS, exit_code=None))[0]
    assert worse(result(TESTS, exit_code=None), result(TESTS, exit_code=None)) == []


def test_findings_count_by_file_and_rule_wherever_they_moved() -> None:
    before = result(LINT, ("a.py:1:F401", "a.py:9:E501", "b:c.py:2:F401"), exit_code=1, F401=2, E501=1)
    moved = result(LINT, ("a.py:50:F401", "b:c.py:7:F401"), exit_code=1, F401=2)
    assert worse(before, moved) == []
    other = result(LINT, ("b:c.py:1:F401", "b:c.py:2:F401"), exit_code=1, F401=2)
    assert worse(before, other) == ["1 more findings of F401 in b:c.py"]
    many = tuple(f"a.py:{line}:F401" for line in range(5_000))
    cut = result(LINT, many, exit_code=1, F401=6_000)
    assert worse(cut, result(LINT, many, exit_code=1, F401=5_999)) == []
    assert worse(cut, result(LINT, many, exit_code=1, F401=6_001)) == ["1 more findings of F401"]


def test_format_and_commands_compare_with_the_baseline() -> None:
    before = result(FORMAT, ("a.py",), exit_code=1)
    assert worse(before, result(FORMAT, ("a.py",), exit_code=1)) == []
    assert worse(before, result(FORMAT, ("a.py", "b.py"), exit_code=1)) == ["1 more files are not formatted: b.py"]
    command = GateSpec(name="make", kind=GateKind.COMMAND, argv=("make",))
    assert worse(result(command, exit_code=2), result(command, exit_code=3)) == []
    assert "exit code 3" in worse(result(command), result(command, exit_code=3))[0]


def test_reports_that_break_off_or_are_garbage_are_incomplete() -> None:
    assert not parse_tests('{"id": "a", "outcome": "passed"}\n{"id": "b", "outc').complete
    assert not parse_tests("").complete
    assert not parse_lint("ruff failed", Path("/t")).complete
    assert parse_tests('[1]\n{"id": 3, "outcome": "passed"}\n{"finished": 0}').counts["passed"] == 0
    assert parse_types("a.py:3: error: Bad thing  [arg-type]\na.py:4:1: error: x\n").failures == (
        "a.py:3:arg-type",
        "a.py:4:error",
    )
    assert parse_format("would reformat /t/a.py\n", Path("/t")).failures == ("a.py",)
    assert parse_format("Would reformat: a.py\nunformatted: x\n --> b.py:1:2\n", Path("/t")).failures == (
        "a.py",
        "b.py",
    )


def test_ids_lose_times_and_addresses_in_parameters_only() -> None:
    assert (
        stable_id("t.py::test_20260101[2026-01-02T03:04:05.6Z-0x7f00aabbcc]") == "t.py::test_20260101[<time>-<address>]"
    )
    assert stable_id("t.py::test[1790000000.25]") == "t.py::test[<time>]"
    assert stable_id("t.py::test[1-2]") == "t.py::test[1-2]"


def test_configuration_and_tests_are_guarded() -> None:
    guarded = (
        "pyproject.toml",
        "pkg/ruff.toml",
        "tests/data/x.json",
        "pkg/test_a.py",
        "conftest.py",
        "sitecustomize.py",
    )
    assert touched_configuration((*guarded, "pkg/a.py", "README.md", "contest.py")) == guarded
