"""A pytest plugin that runs inside the target's environment and writes one JSON line for each outcome.

JUnit files do not hold node ids, and agents name tests by them. Standard library and pytest alone; any pytest since 5.
"""

import json
import os


def _write(**fields: object) -> None:
    with open(os.environ["SYNDIC_GATE_REPORT"], "a", encoding="utf-8") as file:
        file.write(json.dumps(fields) + "\n")


def pytest_collectreport(report) -> None:
    if report.failed:
        _write(id=report.nodeid, outcome="error")


def pytest_runtest_logreport(report) -> None:
    if report.when == "call" or report.outcome != "passed":
        outcome = report.outcome if report.when == "call" or report.skipped else "error"
        _write(id=report.nodeid, outcome=outcome)


def pytest_sessionfinish(session, exitstatus) -> None:
    if not hasattr(session.config, "workerinput"):
        _write(finished=int(exitstatus))
