"""Candidates compete on copies: what fixes the failing tests without breaking others is told from what does not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from agents.errors import SandboxMissingError
from agents.sandbox import Refusing
from agents.tools.patches import TOOLS

(TRY,) = TOOLS

SOURCE = """def clamp(value, low, high):
    if value > low:
        return low
    if value > high:
        return high
    return value


def double(x):
    return 2 * x
"""
TESTS = """import pathlib
from clamp import clamp, double

def test_low():
    assert clamp(-1, 0, 5) == 0

def test_high():
    assert clamp(9, 0, 5) == 5

def test_double():
    assert double(2) == 4

def test_broken_before():
    assert False

def test_writes():
    target = pathlib.Path("junk")
    assert not target.exists()
    target.write_text("x")
"""
FAILING = ["test_clamp.py::test_low", "test_clamp.py::test_high"]


def candidate(name: str, line: int, text: str, path: str = "clamp.py") -> dict[str, Any]:
    return {"id": name, "edits": [{"path": path, "start": line, "end": line, "text": text}]}


@pytest.fixture(autouse=True)
def package(fill: Any) -> None:
    fill({"clamp.py": SOURCE, "test_clamp.py": TESTS})


def snapshot(tree: Path) -> dict[str, bytes]:
    return {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


async def test_candidates_are_told_apart_and_the_worktree_stays(tree: Path, make_context: Any, use: Any):
    before = snapshot(tree)
    result, content = await use(
        TRY,
        make_context(),
        tests=FAILING,
        candidates=[
            candidate("wrong", 2, "    if value >= low:"),
            candidate("right", 2, "    if value < low:"),
            candidate("syntax", 2, "    if value < :"),
            candidate("nothing", 2, "    if value > low:"),
            candidate("nowhere", 200, "x"),
            candidate("import", 1, "import nosuch\ndef clamp(value, low, high):"),
            {"id": "breaks", "edits": [
                {"path": "clamp.py", "start": 2, "end": 2, "text": "    if value < low:"},
                {"path": "clamp.py", "start": 10, "end": 10, "text": "    return x"},
            ]},
        ],
    )  # fmt: skip
    assert result.ok, content
    results = {trial["id"]: trial for trial in content["results"]}
    assert [trial["id"] for trial in content["results"]] == [
        "wrong", "right", "syntax", "nothing", "nowhere", "import", "breaks",
    ]  # fmt: skip
    assert (results["right"]["fixed"], results["right"]["suite_passed"]) == (True, True)
    assert results["right"]["broken"] == results["right"]["still_failing"] == []
    assert (results["breaks"]["fixed"], results["breaks"]["suite_passed"]) == (True, False)
    assert results["breaks"]["broken"] == ["test_clamp.py::test_double"]
    for name in ("syntax", "nothing", "nowhere"):
        assert not results[name]["applied"]
        assert results[name]["error"]
    for name in ("wrong", "import"):
        assert results[name]["applied"]
        assert not results[name]["fixed"]
        assert results[name]["suite_passed"] is None
        assert "test_clamp.py::test_low" in results[name]["still_failing"]
    assert snapshot(tree) == before
    assert list(make_context().scratch.iterdir()) == []


async def test_an_endless_candidate_dies_and_the_next_one_is_tried(make_context: Any, use: Any, monkeypatch: Any):
    monkeypatch.setattr("agents.tools.patches.TEST_S", 2.0)
    monkeypatch.setattr("agents.tools.patches.PARALLEL", 1)
    endless = candidate("endless", 2, "    while value < low: pass\n    if value > low:")
    right = candidate("right", 2, "    if value < low:")
    _, content = await use(TRY, make_context(), tests=FAILING, suite=False, candidates=[endless, right])
    assert [trial["fixed"] for trial in content["results"]] == [False, True]
    assert content["results"][1]["suite_passed"] is None


async def test_a_candidate_that_will_not_be_interrupted_is_killed(make_context: Any, use: Any, monkeypatch: Any):
    monkeypatch.setattr("agents.tools.patches.CANDIDATE_S", 3.0)
    stubborn = (
        "    import signal; signal.signal(signal.SIGALRM, signal.SIG_IGN)\n    while True: pass\n    if value > low:"
    )
    _, content = await use(TRY, make_context(), tests=FAILING, candidates=[candidate("stubborn", 2, stubborn)])
    assert content["results"][0]["fixed"] is False
    assert "stopped after" in content["results"][0]["error"]


async def test_a_candidate_that_ends_the_process_has_fixed_nothing(make_context: Any, use: Any):
    quit_ = "import os, atexit\natexit.register(os._exit, 0)\nos._exit(0)\ndef clamp(value, low, high):"
    _, content = await use(TRY, make_context(), tests=FAILING, candidates=[candidate("quit", 1, quit_)])
    assert content["results"][0]["fixed"] is False
    assert "without a report" in content["results"][0]["error"]


async def test_a_stale_cache_is_not_run_in_place_of_a_candidate(tree: Path, make_context: Any, use: Any):
    import py_compile

    py_compile.compile(str(tree / "clamp.py"))
    future = (tree / "clamp.py").stat().st_mtime
    os.utime(tree / "clamp.py", (future, future))
    _, content = await use(TRY, make_context(), tests=FAILING, candidates=[candidate("a", 2, "    if value < low:")])
    assert content["results"][0]["fixed"] is True


async def test_a_suite_without_its_own_failures_needs_no_comparison(tree: Path, make_context: Any, use: Any, fill: Any):
    fill({"test_clamp.py": TESTS.replace("assert False", "pass")})
    _, content = await use(TRY, make_context(), tests=FAILING, candidates=[candidate("a", 2, "    if value < low:")])
    assert content["results"][0]["suite_passed"] is True


@pytest.mark.parametrize("path", ["test_clamp.py", "../x.py", "conftest.py", ".git/config"])
async def test_a_candidate_may_not_touch_what_the_task_may_not(make_context: Any, use: Any, path: str):
    result, content = await use(TRY, make_context(), tests=FAILING, candidates=[candidate("a", 1, "x = 1", path)])
    assert not result.ok or not content["results"][0]["applied"]


async def test_what_there_is_no_time_for_is_named(make_context: Any, use: Any, monkeypatch: Any):
    monkeypatch.setattr("agents.tools.patches.TOTAL_S", 0.0)
    _, content = await use(TRY, make_context(), tests=FAILING, candidates=[candidate("a", 2, "    if value < low:")])
    assert content == {"results": [], "untried": ["a"], "truncated": True}


async def test_two_candidates_of_one_name_are_refused(make_context: Any, use: Any):
    same = candidate("a", 2, "    if value < low:")
    result, _ = await use(TRY, make_context(), tests=FAILING, candidates=[same, same])
    assert not result.ok


async def test_without_a_sandbox_nothing_is_tried(make_context: Any, use: Any):
    with pytest.raises(SandboxMissingError):
        await use(
            TRY,
            make_context(sandbox=Refusing("there is none")),
            tests=FAILING,
            candidates=[candidate("a", 2, "    if value < low:"), candidate("b", 2, "    if value <= low:")],
        )
