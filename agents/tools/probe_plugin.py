"""A pytest plugin that runs inside the target: chooses tests, records outcomes, counts which lines which outcomes ran.

It is copied into a folder of its own and loaded by name, so it may import nothing but pytest, the standard library and
coverage. `SYNDIC_PROBE` names the JSON file with its request (see `agents.tools.probe.ProbeRequest`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_QUIET = (
    "no-data-collected", "no-ctracer", "no-sysmon", "module-not-measured", "module-not-imported", "module-not-python",
    "couldnt-parse", "trace-changed", "already-imported", "include-ignored",
)  # fmt: skip
_CAUSES = 5
_RANK = {"passed": 0, "skipped": 1, "failed": 2, "error": 3}


class Probe:
    """What one session learns."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.outcomes: dict[str, str] = {}
        self.frames: list[list[Any]] = []
        self.started = time.monotonic()
        self.complete = True
        self.coverage: Any = None

    def start(self) -> None:
        if not self.request["coverage_path"]:
            return
        try:
            import coverage
        except ImportError:
            sys.path.append(self.request["coverage_path"])
            import coverage
        self.coverage = coverage.Coverage(data_file=None, config_file=False, source=[self.request["root"]])
        self.coverage.set_option("run:disable_warnings", list(_QUIET))  # the target may turn warnings into errors
        self.coverage.start()

    def select(self, items: list[Any]) -> tuple[list[Any], list[Any]]:
        """The items to run and the others. A sample is taken evenly: each part of a suite has its share."""
        wanted = [item for item in items if self._is_wanted(item.nodeid)]
        if (limit := self.request["max_tests"]) and len(wanted) > limit:
            self.complete = False
            wanted = [wanted[index * len(wanted) // limit] for index in range(limit)]
        chosen = {id(item) for item in wanted}
        return wanted, [item for item in items if id(item) not in chosen]

    def _is_wanted(self, nodeid: str) -> bool:
        only, without = self.request["only"], self.request["without"]
        return (not only or _covers(only, nodeid)) and not _covers(without, nodeid)

    def is_out_of_time(self) -> bool:
        return bool(self.request["seconds"]) and time.monotonic() - self.started > self.request["seconds"]

    def record(self, nodeid: str, outcome: str) -> None:
        if _RANK[outcome] >= _RANK.get(self.outcomes.get(nodeid, "passed"), 0):
            self.outcomes[nodeid] = outcome

    def remember(self, error: BaseException | None) -> None:
        """Where the tree's own code was when it raised, the innermost frame first, then the same of its cause."""
        for _ in range(_CAUSES):
            if error is None:
                return
            if isinstance(error, SyntaxError):
                self._remember(error.filename, error.lineno)
            for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
                self._remember(frame.f_code.co_filename, line)
            error = error.__cause__ or error.__context__

    def _remember(self, path: str | None, line: int | None) -> None:
        root, real = self.request["root"] + os.sep, os.path.realpath(path or "")
        if line and real.startswith(root):
            self.frames.append([real[len(root) :], line])

    def lines(self) -> dict[str, dict[int, list[int]]]:
        """`{path: {line: [failing tests, passing tests]}}`; lines that ran outside of any test count for none."""
        if self.coverage is None:
            return {}
        data, root, found = self.coverage.get_data(), self.request["root"] + os.sep, {}
        for path in data.measured_files():
            real = os.path.realpath(path)
            if real.startswith(root) and real.endswith(".py"):
                found[real[len(root) :]] = self._counted(data.contexts_by_lineno(path))
        return found

    def _counted(self, contexts: dict[int, list[str]]) -> dict[int, list[int]]:
        counted = {}
        for line, names in contexts.items():
            outcomes = [self.outcomes.get(name) for name in names]
            failing, passing = sum(o in ("failed", "error") for o in outcomes), outcomes.count("passed")
            if failing or passing:
                counted[line] = [failing, passing]
        return counted

    def write(self) -> None:
        if self.coverage is not None:
            self.coverage.stop()
        report = {
            "outcomes": self.outcomes, "frames": self.frames[:200], "lines": self.lines(), "complete": self.complete,
        }  # fmt: skip
        out = Path(self.request["out"])
        out.with_suffix(".part").write_text(json.dumps(report))
        os.replace(out.with_suffix(".part"), out)


def _covers(ids: list[str], nodeid: str) -> bool:
    return any(nodeid == given or nodeid.startswith((given + "[", given + "::")) for given in ids)


_PROBE = Probe(json.loads(Path(os.environ["SYNDIC_PROBE"]).read_text()))


def pytest_configure(config: Any) -> None:
    _PROBE.start()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    items[:], others = _PROBE.select(items)
    config.hook.pytest_deselected(items=others)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: Any) -> Iterator[None]:
    if _PROBE.is_out_of_time():
        _PROBE.complete = False
        item.session.shouldstop = "the probe's time is over"
    if _PROBE.coverage is not None:
        _PROBE.coverage.switch_context(item.nodeid)
    previous = signal.signal(signal.SIGALRM, _too_slow)
    # It comes again and again: code under test may swallow what the first one raises.
    signal.setitimer(signal.ITIMER_REAL, _PROBE.request["test_seconds"], 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        if _PROBE.coverage is not None:
            _PROBE.coverage.switch_context("")


def _too_slow(*_: object) -> None:
    pytest.fail("the test ran out of time", pytrace=True)


def pytest_runtest_logreport(report: Any) -> None:
    if report.failed:
        _PROBE.record(report.nodeid, "failed" if report.when == "call" else "error")
    elif report.skipped or report.when == "call":
        _PROBE.record(report.nodeid, report.outcome)


def pytest_collectreport(report: Any) -> None:
    if report.failed:
        _PROBE.record(report.nodeid, "error")


def pytest_exception_interact(call: Any) -> None:
    if call.excinfo is not None:
        _PROBE.remember(call.excinfo.value)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    _PROBE.write()
