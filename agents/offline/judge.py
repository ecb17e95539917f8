"""The judges: a verdict from evidence, each seat with questions of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agents.assignments import Evidence, Report, Verdict, Work, WorkResult
from agents.offline import evidence as see
from agents.offline.conversation import Call, Result
from agents.offline.diffs import FileDiff, parse_diff
from agents.offline.intents import REPAIR
from agents.offline.papers import SPRINT, diff_of, find_all, find_own, gate_results
from agents.offline.paths import is_python
from agents.offline.quality import worse_than
from agents.offline.reading import read_files
from agents.offline.script import Desk, End, Script, Steps, finish
from agents.offline.source import Source
from agents.scope import is_test_file
from ledger.vocabulary import Answer, Seat

_LARGE_REPAIR, _LARGE_CHANGE = 40, 1500
_READ, _NAMES = 12, 8


@dataclass
class Case:
    """What a seat has found: reasons against the change, reasons for it, evidence, and what it could not see."""

    diffs: list[FileDiff]
    against: list[str] = field(default_factory=list[str])
    grave: list[str] = field(default_factory=list[str])
    """Reasons to reject rather than to revise."""
    ok: list[str] = field(default_factory=list[str])
    evidence: list[Evidence] = field(default_factory=list[Evidence])
    unseen: list[str] = field(default_factory=list[str])

    def hold(self, trouble: list[str], bad: str, good: str, source: str, *, grave: bool = False) -> None:
        """Note a check: `bad` with its places where there is trouble, else `good`."""
        if trouble:
            text = f"{bad}: {', '.join(trouble[:5])}"
            (self.grave if grave else self.against).append(text)
            self.evidence.append(Evidence(claim=text, source=source))
        else:
            self.ok.append(good)
            self.evidence.append(Evidence(claim=good, source=source))


def give_verdict(desk: Desk) -> Script:
    """Judge a change, a report or a sprint from the documents, and look into the worktree where that helps."""
    case = Case(parse_diff(diff_of(desk.assignment)))
    report = find_own(desk.assignment, Report)
    if not case.diffs and report is not None and desk.assignment.task != SPRINT:
        yield from ()
        _judge_report(desk, case, report)
        return _verdict(desk, case)
    if not case.diffs:
        case.unseen.append("there is no diff among the documents")
    match desk.assignment.seat:
        case Seat.CONSTITUTIONAL:
            _constitution(desk, case)
        case Seat.QUALITY:
            _quality(desk, case)
        case Seat.INTEGRATION:
            yield from _integration(desk, case)
        case _:
            yield from _technique(desk, case)
    return _verdict(desk, case)


def _constitution(desk: Desk, case: Case) -> None:
    diffs, scope = case.diffs, desk.assignment.scope
    case.hold(see.outside_scope(diffs, scope), "outside the task's scope", "every path is in scope", "diff", grave=True)
    tests = [path for path in see.touched_tests(diffs) if see.forbidden(path, scope)]
    case.hold(tests, "test files changed", "no test file is changed", "diff", grave=True)
    settings = [path for path in see.touched_configuration(diffs) if see.forbidden(path, scope)]
    case.hold(settings, "configuration of gates changed", "no configuration of a gate is changed", "diff", grave=True)
    case.hold(see.added_suppressions(diffs), "new suppressions", "no suppression is added", "diff")
    case.hold(see.added_secrets(diffs), "looks like a secret in", "nothing looks like a secret", "diff", grave=True)
    case.hold(see.binaries(diffs), "binary files changed", "no binary file is changed", "diff")


def _technique(desk: Desk, case: Case) -> Steps[None]:
    rows = gate_results(desk.assignment)
    if not rows and desk.assignment.gates:
        rows = yield from _run_gates(desk)
    before = {gate.name: gate for gate in desk.assignment.gates}
    for row in rows:
        name = str(row["name"])
        if name in before:
            case.hold(worse_than(before[name], row), "worse than before", f"gate {name}: nothing is worse", name)
    if not rows:
        case.unseen.append("no results of gates")
    _check_claim(desk, case, rows)
    paths = [d.path for d in case.diffs if d.new and is_python(d.path)][:_READ]
    texts, refused = yield from read_files(desk, paths, "Do the changed files compile?")
    broken = [path for path, text in texts.items() if Source(path, text).tree is None]
    case.hold(broken, "does not parse", f"{len(texts)} changed file(s) parse", "worktree", grave=True)
    case.unseen.extend(f"{path} could not be read" for path in refused)


def _run_gates(desk: Desk) -> Steps[list[dict[str, Any]]]:
    calls = [Call("run_gate", {"gate": gate.name}) for gate in desk.assignment.gates]
    results: list[Result] = yield from desk.use_all("No results are among the documents: I run the gates.", calls)
    return [
        {**result.data, "name": gate.name, "kind": gate.kind}
        for gate, result in zip(desk.assignment.gates, results, strict=True)
        if result.ok
    ]


def _check_claim(desk: Desk, case: Case, rows: list[dict[str, Any]]) -> None:
    """Whether the tests that a repair claims to mend pass now."""
    wanted = [str(test) for test in desk.assignment.params.get("tests") or ()]
    tests = [row for row in rows if row.get("kind") == "tests"]
    if not wanted or not tests:
        return
    failing = {failure for row in tests for failure in row["failures"]}
    left = [test for test in wanted if test in failing]
    done = len(wanted) - len(left)
    if left and done:
        case.ok.append(f"{done} of {len(wanted)} named tests pass now")
        case.evidence.append(Evidence(claim=f"a part is mended; still failing: {', '.join(left[:3])}", source="gates"))
    else:
        case.hold(left, "still failing", "the tests of this task pass", "gates")


def _quality(desk: Desk, case: Case) -> None:
    result = find_own(desk.assignment, WorkResult)
    added = sum(len(diff.added) for diff in case.diffs)
    removed = sum(len(diff.removed) for diff in case.diffs)
    size = f"{len(case.diffs)} file(s), +{added} -{removed} lines"
    limit = _LARGE_REPAIR if desk.assignment.params.get("intent") == REPAIR else _LARGE_CHANGE
    case.hold([size] if added + removed > limit else [], "larger than the task explains", f"focused: {size}", "diff")
    case.hold(see.leftovers(case.diffs), "left behind", "no leftovers", "diff")
    empty = [d.path for d in case.diffs if not d.blocks and not d.binary and d.old == d.new]
    case.hold(empty, "changed without content", "every file changed for a reason", "diff")
    if result is None:
        case.unseen.append("the author's result is not among the documents")
    elif result.alternatives:
        case.ok.append(f"{len(result.alternatives)} alternative(s) were weighed")
        case.evidence.append(Evidence(claim=result.alternatives[0][:200], source="result"))
    if result is not None and not result.evidence:
        case.against.append("the result names no evidence")


def _integration(desk: Desk, case: Case) -> Steps[None]:
    case.hold(see.conflict_markers(case.diffs), "conflict markers in", "no conflict markers", "diff", grave=True)
    gone = list(dict.fromkeys(see.removed_names(case.diffs)))[:_NAMES]
    calls = [Call("search", {"pattern": rf"\b{name}\b", "glob": "**/*.py", "limit": 20}) for _, name in gone]
    results: list[Result] = (yield from desk.use_all("Are removed names used elsewhere?", calls)) if calls else []
    used = [
        f"{name} of {path} (in {m.get('path')})"
        for (path, name), result in zip(gone, results, strict=True)
        for m in result.get("matches", [])[:1]
        if isinstance(m, dict) and not is_test_file(path)
    ]
    case.hold(used, "removed but used elsewhere", "no public name is removed that others use", "search")
    reviews = [report for _, report in find_all(desk.assignment, Report) if not report.passed]
    case.hold([r.summary[:160] for r in reviews], "QA found", "no review speaks against it", "documents")
    for row in gate_results(desk.assignment):
        state = next((gate for gate in desk.assignment.gates if gate.name == row["name"]), None)
        if state is not None and (worse := worse_than(state, row)):
            case.against.append(f"gate {state.name} is worse: {worse[0]}")
    done = find_all(desk.assignment, WorkResult)
    case.ok.append(f"results of {len(done)} task(s) are at hand" if done else "it depends on no other result")


def _judge_report(desk: Desk, case: Case, report: Report) -> None:
    """Analysis is judged too: does it say something, does it answer, does it stand on facts?"""
    match desk.assignment.seat:
        case Seat.CONSTITUTIONAL:
            case.hold(see.added_secrets([]), "looks like a secret", "a report changes no file", "report")
        case Seat.TECHNICAL:
            unsure = [] if report.findings or "no finding" in report.markdown.lower() else ["no findings"]
            case.hold(unsure, "it stands on nothing", f"{len(report.findings)} finding(s)", "report")
        case Seat.QUALITY:
            thin = [] if len(report.markdown) > 200 else [f"{len(report.markdown)} characters"]
            case.hold(thin, "too thin to be of use", "the report has substance", "report")
        case _:
            silent = [] if report.suggested_tasks or report.findings else ["no suggestion"]
            case.hold(silent, "nothing follows from it", f"{len(report.suggested_tasks)} suggested task(s)", "report")
    if not report.summary.strip():
        case.against.append("the report has no summary")


def _verdict(desk: Desk, case: Case) -> End:
    checks = len(case.ok) + len(case.against) + len(case.grave)
    confidence = min(0.95, 0.4 + 0.08 * checks) * (0.75 if case.unseen else 1.0)
    answer = Answer.APPROVE
    if case.grave or case.against:
        answer = Answer.REVISE
    elif not checks or (not case.diffs and desk.assignment.task != SPRINT and not _is_report(desk)):
        answer = Answer.REVISE
        case.against.append("there is nothing to judge: no diff and no report")
    reasons = [*case.grave, *case.against] if answer is not Answer.APPROVE else case.ok
    if answer is not Answer.APPROVE and (lines := see.refused_text(case.diffs)):
        reasons = [*reasons, lines]
    reasons = [*reasons, *(f"not seen: {text}" for text in case.unseen)]
    result = Verdict(
        verdict=answer,
        confidence=round(confidence, 2),
        reasons=tuple(reason[:500] for reason in reasons),
        evidence=tuple(case.evidence[:12]),
    )
    return finish(f"My verdict: {answer.value}.", result)


def _is_report(desk: Desk) -> bool:
    return desk.assignment.work is Work.JUDGE and find_own(desk.assignment, Report) is not None
