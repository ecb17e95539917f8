"""The engineer who repairs: suspect lines, patch candidates, the test suite as oracle, one group of failing tests after another."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from agents.assignments import Evidence, WorkResult
from agents.offline.clues import by_module, name_of, path_of, read_hints
from agents.offline.diffs import FileDiff, parse_diff
from agents.offline.evidence import refused_lines
from agents.offline.formatting import format_changed
from agents.offline.imports import import_candidates
from agents.offline.papers import diff_of
from agents.offline.reading import gates_of, list_files, read_files
from agents.offline.script import Desk, End, Script, Steps, finish
from agents.offline.sites import Hints
from agents.offline.suspicion import Scores, scores_from_frames, scores_from_names, scores_of, tested_files
from agents.offline.templates import Candidate, candidates, ranked
from agents.offline.trials import Outcome, try_in_batches

MAX_CANDIDATES = 400
"""Tried in one run at most."""
_GROUP_CANDIDATES = 240
_SUSPECTS, _TESTS, _SHOWN = 150, 60, 6
_TRIED = re.compile(r"(\d+) patches tried for (.+?), none turned")
_ROOM = 8
"""Turns that one more group needs."""


@dataclass
class Bench:
    """The state of one repair."""

    gate: str | None
    files: list[str] = field(default_factory=list[str])
    failing: list[str] = field(default_factory=list[str])
    wanted: list[str] = field(default_factory=list[str])
    output: str = ""
    passed: bool = False
    tried: int = 0
    before: dict[str, int] = field(default_factory=dict[str, int])
    """Patches that earlier attempts tried, by group: the ranking is the same each time, so they need not be repeated."""
    excluded: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    applied: list[Candidate] = field(default_factory=list[Candidate])
    alternatives: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    undone: bool = False


def repair(desk: Desk) -> Script:
    """Turn the assignment's failing tests green, or say honestly what was tried."""
    bench = Bench(_gate(desk))
    bench.files = yield from list_files(desk)
    for count, group in (found for note in desk.feedback for found in _TRIED.findall(note.text)):
        bench.before[group] = max(int(count), bench.before.get(group, 0))
    if desk.assignment.attempt > 1 or desk.assignment.feedback:
        yield from _undo(desk, bench)
    yield from _run(desk, bench)
    if not bench.wanted:
        return _nothing(desk, bench)
    queue = _groups(bench.wanted)
    while queue and desk.turns_left > _ROOM and bench.tried < MAX_CANDIDATES:
        group = [test for test in queue.pop(0) if test in bench.wanted]
        if not group:
            continue
        fixed = yield from _repair_group(desk, bench, group)
        if fixed:
            yield from _run(desk, bench)
            left = [test for test in group if test in bench.wanted]
            queue = [left, *queue] if left and left != group else queue
        else:
            queue = [part for part in _parts(group) if part not in queue] + queue
    yield from format_changed(desk, [candidate.path for candidate in bench.applied])
    return _closing(desk, bench)


def _gate(desk: Desk) -> str | None:
    tests = gates_of(desk, "tests")
    failing = [gate.name for gate in tests if gate.failures or not gate.passed]
    return next(iter([*failing, *(gate.name for gate in tests)]), None)


def _run(desk: Desk, bench: Bench) -> Steps[None]:
    """Run the tests; keep what fails and belongs to this task."""
    asked = [str(test) for test in desk.assignment.params.get("tests") or []]
    known = [test for gate in gates_of(desk, "tests") for test in gate.failures]
    if bench.gate is None:
        bench.failing = asked or known
    else:
        result = yield from desk.use(f"I run the gate {bench.gate}.", "run_gate", gate=bench.gate)
        failures = [str(test) for test in result.get("failures", [])]
        bench.failing = failures if result.ok else asked or known
        bench.output = str(result.get("tail", ""))
        bench.passed = result.ok and bool(result.get("passed"))
    bench.wanted = [t for t in bench.failing if not asked or _covers(asked, t)]


def _covers(asked: list[str], test: str) -> bool:
    """Whether a test was asked for; a file that cannot be collected hides the tests in it."""
    return any(test == a or test.startswith((a + "[", a + "::")) or a.startswith(test + "::") for a in asked)


def _groups(tests: list[str]) -> list[list[str]]:
    return [group[:_TESTS] for group in by_module(tests)]


def _parts(group: list[str]) -> list[list[str]]:
    """A group that no single patch fixes may have several causes: one test function after the other."""
    functions: dict[str, list[str]] = {}
    for test in group:
        functions.setdefault(f"{path_of(test)}::{name_of(test)}", []).append(test)
    if len(functions) > 1:
        return list(functions.values())
    return [[test] for test in group] if len(group) > 1 else []


def _repair_group(desk: Desk, bench: Bench, group: list[str]) -> Steps[bool]:
    """Find and apply a patch for tests with one likely cause."""
    made = yield from _candidates(desk, bench, group)
    before = bench.before.get(_named(group), 0)
    if not made and not before:
        bench.notes.append(f"no suspect line in scope for {_named(group)}")
        return False
    outcome = yield from try_in_batches(desk, made, group, f"For {_named(group)}")
    bench.tried += outcome.tried
    if outcome.refused:
        bench.notes.append(f"patches could not be tried: {outcome.refused}")
    best, rest = yield from _chosen(desk, outcome, group)
    if best is None:
        bench.notes.append(
            f"{before + outcome.tried} patches tried for {_named(group)}, none turned it green without breaking others"
        )
        bench.alternatives += [f"breaks other tests: {c.title}" for c in outcome.breaking[:3]]
        return False
    bench.alternatives += [f"also passes: {c.title}" for c in rest[:_SHOWN]]
    bench.alternatives += [f"breaks other tests: {c.title}" for c in outcome.breaking[:3]]
    say = f"This patch turns {_named(group)} green and breaks nothing: {best.title}"
    result = yield from desk.use(say, "apply_patch", edits=[edit.as_json() for edit in best.edits])
    if not result.ok:
        bench.notes.append(f"the patch could not be applied: {result.error}")
        return False
    bench.applied.append(best)
    return True


def _chosen(desk: Desk, outcome: Outcome, group: list[str]) -> Steps[tuple[Candidate | None, list[Candidate]]]:
    """The best candidate, also one that fixes only a part of the group and breaks nothing."""
    if outcome.good:
        return outcome.good[0], outcome.good[1:]
    partial = sorted(outcome.partial, key=lambda pair: (len(pair[1]), -pair[0].score))[:1]
    for candidate, still in partial:
        green = [test for test in group if test not in still]
        say = f"One patch fixes {len(green)} of {len(group)} tests: does it break others?"
        asked = [{"id": "partial", "edits": [edit.as_json() for edit in candidate.edits]}]
        result = yield from desk.use(say, "try_patch", candidates=asked, tests=green, suite=True)
        rows = result.get("results", [])
        if rows and rows[0].get("fixed") and not rows[0].get("broken") and rows[0].get("suite_passed") is not False:
            return candidate, []
    return None, []


def _candidates(desk: Desk, bench: Bench, group: list[str]) -> Steps[list[Candidate]]:
    """Patch candidates for a group, the most promising first, without those that were refused before."""
    say = f"Which lines do {_named(group)} run that passing tests do not?"
    suspects = yield from desk.use(say, "rank_suspects", tests=group, limit=_SUSPECTS)
    tests = list(dict.fromkeys(path_of(test) for test in group))[:6]
    sources, _ = yield from read_files(desk, tests, "I read the failing tests.")
    hints = read_hints(group, sources, bench.output, bench.files)
    scope = desk.assignment.scope
    scores: Scores = scores_of(suspects.get("suspects", []), hints, scope) or scores_from_frames(hints, scope)
    paths = list(scores) or tested_files(group, sources, bench.files, scope)
    texts, _ = yield from read_files(desk, paths, "I read the suspect files.")
    scores = scores or scores_from_names(group, texts, hints)
    made = [*import_candidates(bench.output, texts, bench.files), *_made(scores, texts, hints)]
    fresh = [c for c in made if not _is_excluded(c, bench.excluded, texts.get(c.path, ""))]
    before = bench.before.get(_named(group), 0)
    return ranked(fresh, before + min(_GROUP_CANDIDATES, MAX_CANDIDATES - bench.tried))[before:]


def _made(scores: Scores, texts: dict[str, str], hints: Hints) -> list[Candidate]:
    return [
        candidate
        for path, lines in scores.items()
        if path in texts
        for candidate in candidates(path, texts[path], tuple(sorted(lines.items())), hints)
    ]


def _is_excluded(candidate: Candidate, excluded: dict[str, set[str]], text: str) -> bool:
    """Whether a candidate is what an earlier attempt did: its new lines are those that were not accepted."""
    old = {line.strip() for line in text.splitlines()}
    new = {line.strip() for edit in candidate.edits for line in edit.text.splitlines()} - old - {""}
    return bool(new) and new <= excluded.get(candidate.path, set())


def _undo(desk: Desk, bench: Bench) -> Steps[None]:
    """Take back the change of an earlier attempt and remember it, so that the next candidate gets its turn."""
    for path, line in refused_lines(note.text for note in desk.feedback):
        bench.excluded.setdefault(path, set()).add(line)
    diffs = [d for d in parse_diff(diff_of(desk.assignment)) if d.blocks and not d.binary and d.old == d.new]
    if not diffs:
        return
    for diff in diffs:
        bench.excluded.setdefault(diff.path, set()).update(line.strip() for line in diff.added)
    texts, _ = yield from read_files(desk, [d.path for d in diffs], "My former change was not accepted: I look at it.")
    standing = [diff for diff in diffs if _stands(diff, texts.get(diff.path, ""))]
    if standing:
        edits = [edit.as_json() for diff in standing for edit in diff.reverse()]
        result = yield from desk.use("I take it back and look for another one.", "apply_patch", edits=edits)
        bench.undone = result.ok


def _stands(diff: FileDiff, text: str) -> bool:
    """Whether the file still is as the diff left it."""
    lines = text.split("\n")
    return all(lines[b.start - 1 : b.start - 1 + len(b.added)] == b.added for b in diff.blocks)


def _named(group: list[str]) -> str:
    return group[0] if len(group) == 1 else f"{group[0]} and {len(group) - 1} more"


def _nothing(desk: Desk, bench: Bench) -> End:
    if bench.undone:
        summary = "The former change was taken back and its tests pass without it."
        return finish("Nothing is left to repair.", WorkResult(summary=summary, outcome="changed"))
    changed = desk.assignment.attempt > 1
    summary = "The tests of this task pass as they are."
    evidence = (Evidence(claim="the named tests pass", source=bench.gate or "assignment"),)
    outcome = "changed" if changed else "nothing_to_do"
    return finish("The tests pass.", WorkResult(summary=summary, outcome=outcome, evidence=evidence))


def _closing(desk: Desk, bench: Bench) -> End:
    if not bench.applied:
        summary = f"No patch found; {bench.tried} candidates tried. {'; '.join(bench.notes)[:900]}"
        result = WorkResult(summary=summary, outcome="gave_up", alternatives=tuple(bench.alternatives[:12]))
        return finish("I give up on this one.", result)
    left = f" Still failing: {', '.join(bench.wanted[:5])}." if bench.wanted else ""
    patches = "; ".join(candidate.title for candidate in bench.applied)
    summary = f"{patches}. {bench.tried} candidates tried.{left}"
    evidence = [
        Evidence(claim=f"patch by the template {c.template}, suspicion x weight {c.score:.2f}", source=f"diff:{c.path}")
        for c in bench.applied
    ]
    if not bench.wanted:
        evidence.append(Evidence(claim="the tests of this task pass", source=bench.gate or "try_patch"))
    evidence.append(Evidence(claim="the suite has no new failure with the patch", source="try_patch"))
    result = WorkResult(
        summary=summary, outcome="changed", evidence=tuple(evidence), alternatives=tuple(bench.alternatives[:12])
    )
    return finish("Repaired." if not bench.wanted else "Repaired in part.", result)
