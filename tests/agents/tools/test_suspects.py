"""Lines are ranked by which failing and passing tests ran them, on any layout and under any options of the target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.target import GateKind, GateSpec
from agents.tools.probe import ProbeReport
from agents.tools.suspects import TOOLS, rank

(RANK,) = TOOLS

SOURCE = '''"""Sums and shares."""


def total(values):
    result = 0
    for value in values:
        result += value
    return result


class Share:
    def of(self, part, whole):
        if whole == 0:
            return None
        share = part * whole
        return share


def spin():
    while True:
        pass
'''
TESTS = """import pytest
from pkg.core import Share, total


@pytest.mark.parametrize("values", [[1], [1, 2]])
def test_total(values):
    assert total(values) == sum(values)


def test_share_of_nothing():
    assert Share().of(1, 0) is None


class TestShare:
    @pytest.mark.parametrize("whole", [2, 4])
    def test_share(self, whole):
        assert Share().of(1, whole) == 1 / whole
"""
FAILING = ["tests/test_core.py::TestShare::test_share[2]", "tests/test_core.py::TestShare::test_share[4]"]
FAULT = {"path": "src/pkg/core.py", "line": 15, "function": "Share.of", "score": 1.0}


@pytest.fixture
def package(fill: Any) -> None:
    fill({"src/pkg/__init__.py": "", "src/pkg/core.py": SOURCE, "tests/test_core.py": TESTS})


@pytest.mark.usefixtures("package")
async def test_the_fault_comes_first_and_tests_are_no_suspects(tree: Path, make_context: Any, use: Any):
    result, content = await use(RANK, make_context(source_roots=("src",)), tests=FAILING)
    assert result.ok, content
    assert content["suspects"][:2] == [FAULT, FAULT | {"line": 16}]
    assert (content["failing"], content["passing"], content["sampled"]) == (2, 3, False)
    assert {suspect["path"] for suspect in content["suspects"]} == {"src/pkg/core.py"}
    assert "total" not in {suspect["function"] for suspect in content["suspects"]}
    condition = next(suspect for suspect in content["suspects"] if suspect["line"] == 13)
    assert condition["score"] == pytest.approx((2 / 3) ** 0.5, abs=1e-3)
    assert not list(tree.rglob(".coverage*"))


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("tests", [["tests/test_core.py::TestShare"], ["tests/test_core.py::TestShare::test_share"]])
async def test_an_id_may_stand_for_several_tests(make_context: Any, use: Any, tests: list[str]):
    _, content = await use(RANK, make_context(source_roots=("src",)), tests=tests)
    assert content["failing"] == 2


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    "options",
    [
        "--cov=pkg --cov-report=term-missing --cov-fail-under=90 --no-cov-on-fail",
        "--cov --cov-branch -n auto --dist loadfile",
        "-x --strict-markers --strict-config -W error",
        "--import-mode=importlib --doctest-modules -v",
    ],
)
async def test_options_of_the_target_do_not_get_in_the_way(make_context: Any, use: Any, fill: Any, options: str):
    fill({"pyproject.toml": f'[tool.pytest.ini_options]\naddopts = "{options}"\n'})
    result, content = await use(RANK, make_context(source_roots=("src",)), tests=FAILING)
    assert result.ok, content
    assert content["suspects"][0] == FAULT


@pytest.mark.usefixtures("package")
async def test_the_gates_own_options_are_kept(make_context: Any, use: Any, fill: Any):
    fill({"conftest.py": "def pytest_addoption(parser):\n    parser.addoption('--need', required=True)\n"})
    gate = GateSpec(name="t", kind=GateKind.TESTS, argv=("python", "-m", "pytest", "--need=1", "tests"))
    result, content = await use(RANK, make_context(source_roots=("src",), gates=(gate,)), tests=FAILING)
    assert result.ok, content
    assert content["suspects"][0] == FAULT


async def test_a_flat_layout_and_a_unittest_work(make_context: Any, use: Any, fill: Any):
    fill(
        {
            "calc.py": "def double(x):\n    y = x * 3\n    return y\n",
            "test_calc.py": "import unittest\nimport calc\n\nclass T(unittest.TestCase):\n"
            "    def test_d(self):\n        self.assertEqual(calc.double(2), 4)\n",
        }
    )
    _, content = await use(RANK, make_context(), tests=["test_calc.py::T::test_d"])
    assert [(suspect["line"], suspect["function"]) for suspect in content["suspects"]] == [(2, "double"), (3, "double")]


async def test_the_line_that_raised_comes_before_its_equals(make_context: Any, use: Any, fill: Any):
    fill(
        {
            "m.py": "def f(x):\n    a = 1\n    b = x.size\n    return (\n        a + b\n    )\n",
            "test_m.py": "import m\n\ndef test_f():\n    assert m.f(None) == 1\n",
        }
    )
    _, content = await use(RANK, make_context(), tests=["test_m.py::test_f"])
    assert content["suspects"][0]["line"] == 3


@pytest.mark.parametrize(
    ("source", "line"), [("import os\nx = 1 / 0\n", 2), ("a = 1\nfrom os import nosuch\n", 2), ("a = 1\nb = (\n", 2)]
)
async def test_a_module_that_cannot_be_imported_is_found_by_its_traceback(
    make_context: Any, use: Any, fill: Any, source: str, line: int
):
    fill(
        {"m.py": source, "test_m.py": "import m\n\ndef test_f():\n    assert m\n", "test_n.py": "def test_n(): pass\n"}
    )
    _, content = await use(RANK, make_context(), tests=["test_m.py"])
    assert [(s["path"], s["line"]) for s in content["suspects"]] == [("m.py", line)]
    assert content["passing"] == 1


async def test_a_test_that_never_ends_is_stopped_and_its_loop_is_suspect(
    make_context: Any, use: Any, fill: Any, monkeypatch: Any
):
    monkeypatch.setattr("agents.tools.suspects.TEST_S", 1.0)
    fill(
        {
            "m.py": SOURCE,
            "test_m.py": "import m\n\ndef test_f():\n    m.spin()\n\ndef test_g():\n    assert m.total([1]) == 1\n",
        }
    )
    _, content = await use(RANK, make_context(), tests=["test_m.py::test_f"])
    assert content["suspects"][0]["function"] == "spin"


@pytest.mark.usefixtures("package")
async def test_tests_that_pass_or_do_not_exist_are_an_answer(make_context: Any, use: Any):
    context = make_context(source_roots=("src",))
    result, content = await use(RANK, context, tests=["tests/test_core.py::test_total"])
    assert not result.ok
    assert "passed" in content["error"]
    for name in ("tests/test_core.py::test_gone", "tests/gone.py::test_x", "--version"):
        result, content = await use(RANK, context, tests=[name])
        assert not result.ok
        assert "no test has such an id" in content["error"]


async def test_a_conftest_that_breaks_pytest_is_an_answer(make_context: Any, use: Any, fill: Any):
    fill({"conftest.py": "raise SystemExit(3)\n", "test_a.py": "def test_a(): assert False\n"})
    result, content = await use(RANK, make_context(), tests=["test_a.py::test_a"])
    assert not result.ok
    assert "without a report" in content["error"]


@pytest.mark.usefixtures("package")
async def test_tests_that_write_files_leave_the_worktree_alone(tree: Path, make_context: Any, use: Any, fill: Any):
    fill({"test_w.py": "import pathlib\n\ndef test_w():\n    pathlib.Path('junk').write_text('x')\n    assert False\n"})
    before = sorted(tree.rglob("*"))
    await use(RANK, make_context(source_roots=("src",)), tests=["test_w.py::test_w"])
    assert sorted(tree.rglob("*")) == before


def test_ranking_follows_ochiai(tree: Path, fill: Any):
    fill({"m.py": "a = 1\nb = 2\nc = 3\n"})
    red = ProbeReport(outcomes={"t1": "failed", "t2": "failed"}, lines={"m.py": {1: (2, 0), 2: (1, 0), 3: (2, 0)}})
    green = ProbeReport(outcomes={"t3": "passed", "t4": "passed"}, lines={"m.py": {1: (0, 2), 2: (0, 0)}})
    assert [(s.line, s.score) for s in rank(tree, red, green)] == [(3, 1.0), (1, 0.7071), (2, 0.7071)]
