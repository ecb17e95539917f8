"""QA: the gates on the sprint's tree, held against how they stood before."""

from __future__ import annotations

from typing import Any

from agents.assignments import Finding, GateState, Report
from agents.gate_parsers import MAX_FAILURES, per_file
from agents.offline.conversation import Call, Result
from agents.offline.papers import gate_results
from agents.offline.script import Desk, Script, finish


def check_sprint(desk: Desk) -> Script:
    """Run every gate that the assignment names and report whether anything is worse than it was."""
    gates = list(desk.assignment.gates)
    calls = [Call("run_gate", {"gate": gate.name}) for gate in gates]
    results: list[Result] = (yield from desk.use_all("I run the gates on the sprint's tree.", calls)) if calls else []
    recorded = {row["name"]: row for row in gate_results(desk.assignment)}
    findings: list[Finding] = []
    lines: list[str] = []
    for gate, result in zip(gates, results, strict=True):
        row = result.data if result.ok else recorded.get(gate.name)
        if row is None:
            findings.append(
                Finding(title=f"Gate {gate.name} could not be run", detail=result.error or "", severity="medium")
            )
            lines.append(f"- {gate.name}: could not be run")
            continue
        worse = worse_than(gate, row)
        findings.extend(Finding(title=f"Worse than before: {text}", severity="high") for text in worse)
        lines.append(f"- {gate.name}: {'passes' if row.get('passed') else 'fails'}; {_compared(gate, row, worse)}")
    passed = not any(finding.severity == "high" for finding in findings)
    summary = _summary(gates, passed, findings)
    markdown = f"# QA of sprint {desk.assignment.sprint}\n\n{summary}\n\n" + ("\n".join(lines) or "- no gates") + "\n"
    report = Report(summary=summary, markdown=markdown, findings=tuple(findings), passed=passed)
    return finish("The sprint may go on." if passed else "The sprint must not go on.", report)


def worse_than(before: GateState, after: dict[str, Any]) -> list[str]:
    """What a gate finds now that it did not find before."""
    failures = [str(f) for f in after.get("failures") or ()]
    if before.kind == "tests":
        new = [test for test in failures if test not in before.failures]
        if not new and before.passed and not after.get("passed"):
            return [f"{before.name} failed without naming a test"]
        return [f"{test} fails" for test in new]
    if before.kind == "format":
        return [f"{path} is not formatted" for path in failures if path not in before.failures]
    more = _more_findings(before, failures, after.get("counts") or {})
    if not more and before.passed and not after.get("passed"):
        return [f"{before.name} passed before and fails now"]
    return more


def _more_findings(before: GateState, failures: list[str], counts: dict[str, Any]) -> list[str]:
    """Findings by file and rule, since lines move; by rule alone where the lists were cut."""
    if max(len(before.failures), len(failures)) >= MAX_FAILURES:
        return [
            f"{before.name}: {rule} {before.counts.get(rule, 0)} -> {count}"
            for rule, count in counts.items()
            if isinstance(count, int) and count > before.counts.get(rule, 0)
        ]
    surplus = per_file(tuple(failures)) - per_file(before.failures)
    return [f"{before.name}: {count} more {rule} in {path}" for (path, rule), count in sorted(surplus.items())]


def _compared(before: GateState, after: dict[str, Any], worse: list[str]) -> str:
    if worse:
        return "; ".join(worse[:5])
    gone = len(set(before.failures) - {str(f) for f in after.get("failures") or ()})
    return f"nothing is worse, {gone} failure(s) or finding(s) fewer"


def _summary(gates: list[GateState], passed: bool, findings: list[Finding]) -> str:
    if not gates:
        return "There is no gate: nothing could be verified from the outside."
    if passed:
        return f"{len(gates)} gate(s) run, nothing is worse than before."
    return f"{sum(f.severity == 'high' for f in findings)} thing(s) are worse than before."
