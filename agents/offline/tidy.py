"""The engineer who tidies: lint findings under the repository's own configuration, safe fixes by rule family."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from agents.assignments import Evidence, Report, WorkResult
from agents.offline.conversation import Call, Result
from agents.offline.formatting import format_changed
from agents.offline.handwork import can_mend, edits_for
from agents.offline.hygiene import cleaned, is_plain_text
from agents.offline.mending import mend
from agents.offline.papers import find_all
from agents.offline.paths import is_source
from agents.offline.reading import Lint, count_rules, is_wanted, list_files, read_files, run_lint
from agents.offline.script import Desk, End, Script, Steps, finish
from agents.offline.source import Source
from agents.offline.wishes import read_wishes
from agents.scope import in_scope

_ROUNDS = 4
_RULE = re.compile(r"[A-Z]{1,7}[0-9]{0,5}")
_PATHS, _EDITS, _READ = 200, 200, 40
_CHANGES_BEHAVIOUR = ("S", "B904", "BLE")
"""Rules whose automatic fixes are more than cosmetic, or which a person should decide."""


@dataclass
class Work:
    """What has been done so far. Findings are counted in scope and outside tests."""

    first: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    last: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    changed: set[str] = field(default_factory=set[str])
    refused: list[str] = field(default_factory=list[str])
    by_hand: int = 0


def tidy(desk: Desk) -> Script:
    """Fix by rule family, mend the simple rest by hand, finish; the gates run afterwards.

    When feedback says that a gate failed, the change is still in the worktree: what it broke is put right instead.
    """
    if any(_is_breakage(desk, note.source) for note in desk.assignment.feedback):
        return (yield from mend(desk))
    if desk.assignment.params.get("hygiene"):
        return (yield from _white_space(desk))
    work = Work()
    lint = yield from _lint(desk, "I lint the files of this task under the repository's own configuration.")
    if lint.refused:
        return _gave_up(f"Lint could not run: {lint.refused}")
    work.first = work.last = lint.findings
    for _ in range(_ROUNDS):
        before = len(work.changed), count_rules(work.last)
        yield from _fix_families(desk, work)
        yield from _mend_by_hand(desk, work)
        if (len(work.changed), count_rules(work.last)) == before:
            break
    yield from format_changed(desk, work.changed)
    return _finished(desk, work)


def _is_breakage(desk: Desk, source: str) -> bool:
    """Whether feedback means that something broke; findings of lint and format gates are mended by linting again."""
    kinds = {f"gate:{gate.name}": gate.kind for gate in desk.assignment.gates}
    return source.startswith(("gate:", "judge:", "merge")) and kinds.get(source) not in ("lint", "format")


def _lint(desk: Desk, say: str) -> Steps[Lint]:
    """Findings that this task may mend."""
    paths = [str(p) for p in desk.assignment.params.get("paths") or []][:_PATHS]
    lint = yield from run_lint(desk, say, paths=paths)
    if lint.refused and paths:
        lint = yield from run_lint(desk, "I lint everything, since the named paths could not be linted.")
    wishes = read_wishes(desk.feedback)
    scope = (*desk.assignment.scope, *(f"!{path}" for path in sorted(wishes.paths)))
    asked = [str(rule) for rule in desk.assignment.params.get("rules") or []]
    lint.findings = [
        f
        for f in lint.findings
        if _may_mend(str(f["path"]), scope)
        and (code := str(f.get("code"))) not in wishes.rules
        and (is_wanted(code, lint.configured) or code in asked)
    ]
    return lint


def _may_mend(path: str, scope: tuple[str, ...]) -> bool:
    return is_source(path) and in_scope(scope, path)


def _allowed(desk: Desk, work: Work, finding: dict[str, Any]) -> bool:
    """Whether the plan names the finding's rule, or the finding came up through our own fixes."""
    rules = [str(rule) for rule in desk.assignment.params.get("rules") or []]
    code = str(finding.get("code", ""))
    if not _RULE.fullmatch(code) or code.startswith(_CHANGES_BEHAVIOUR):
        return False
    known = {(f["path"], f.get("code")) for f in work.first}
    return not rules or any(code.startswith(rule) for rule in rules) or (finding["path"], code) not in known


def _families(findings: list[dict[str, Any]]) -> dict[str, tuple[list[str], list[str]]]:
    """Rules and paths of fixable findings by family (the letters of a code)."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for finding in findings:
        code = str(finding["code"])
        rules, paths = found.setdefault(re.sub(r"\d.*", "", code), (set(), set()))
        rules.add(code)
        paths.add(str(finding["path"]))
    return {family: (sorted(r)[:50], sorted(p)[:_PATHS]) for family, (r, p) in sorted(found.items())}


def _fix_families(desk: Desk, work: Work) -> Steps[None]:
    wanted = [f for f in work.last if f.get("fixable") and _allowed(desk, work, f)]
    families = _families(wanted)
    if not families:
        return
    calls = [Call("fix_lint", {"rules": rules, "paths": paths}) for rules, paths in families.values()]
    say = f"I apply safe fixes by rule family: {', '.join(families)}."
    results: list[Result] = yield from desk.use_all(say, calls)
    for family, result in zip(families, results, strict=True):
        work.changed.update(str(path) for path in result.get("changed", []))
        if not result.ok:
            work.refused.append(f"{family}: {result.error}")
    work.last = (yield from _lint(desk, "I lint again to see what is left.")).findings


def _mend_by_hand(desk: Desk, work: Work) -> Steps[None]:
    wanted = [f for f in work.last if can_mend(str(f.get("code"))) and _allowed(desk, work, f)]
    paths = sorted({str(f["path"]) for f in wanted})[:_READ]
    if not paths:
        return
    texts, _ = yield from read_files(desk, paths, "I read the places that have no safe automatic fix.")
    edits = [
        edit
        for path, text in texts.items()
        for edit in edits_for(Source(path, text), [f for f in wanted if f["path"] == path])
    ][:_EDITS]
    if not edits:
        return
    say = f"I mend {len(edits)} finding(s) that have no safe automatic fix."
    result = yield from desk.use(say, "apply_patch", edits=[edit.as_json() for edit in edits])
    if not result.ok:
        work.refused.append(f"by hand: {result.error}")
        return
    work.by_hand += len(edits)
    work.changed.update(edit.path for edit in edits)
    work.last = (yield from _lint(desk, "I lint again.")).findings


def _finished(desk: Desk, work: Work) -> End:
    left = count_rules(work.last)
    if not work.changed:
        why = f"{sum(left.values())} finding(s) have no fix that surely keeps behaviour" if left else "lint is clean"
        if any(note.source.startswith("gate:") for note in desk.assignment.feedback):
            return _gave_up(f"A gate does not pass and I cannot mend what it finds: {why}.")
        if work.refused:
            return _gave_up(f"Nothing could be changed: {'; '.join(work.refused)[:600]}")
        result = WorkResult(summary=f"Nothing to do: {why}.", outcome="nothing_to_do", evidence=_evidence(desk, work))
        return finish("Nothing to do here.", result)
    summary = (
        f"{len(work.first)} lint finding(s) became {len(work.last)} in {len(work.changed)} file(s), "
        f"{work.by_hand} of them mended by hand; {_in_words(count_rules(work.first))} before, {_in_words(left)} after."
    )
    if work.refused:
        summary += f" Refused: {'; '.join(work.refused)[:300]}."
    result = WorkResult(summary=summary, outcome="changed", evidence=_evidence(desk, work))
    return finish("Tidied; the gates decide.", result)


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{rule} {count}" for rule, count in list(counts.items())[:10]) or "none"


def _evidence(desk: Desk, work: Work) -> tuple[Evidence, ...]:
    evidence = [
        Evidence(claim=f"before: {_in_words(count_rules(work.first))}", source="lint"),
        Evidence(claim=f"after: {_in_words(count_rules(work.last))}", source="lint"),
    ]
    for name, report in find_all(desk.assignment, Report):
        listed = {(f.path, f.title.removeprefix("lint ")) for f in report.findings if f.title.startswith("lint ")}
        here = {(path, code) for path, code in listed if path and in_scope(desk.assignment.scope, path)}
        gone = here - {(str(f["path"]), str(f.get("code"))) for f in work.last}
        if here:
            claim = f"{len(gone)} of {len(here)} kinds of finding that the report lists for this scope are gone"
            evidence.append(Evidence(claim=claim, source=name))
    for name, done in find_all(desk.assignment, WorkResult):
        evidence.append(Evidence(claim=f"built on the predecessor's result: {done.summary[:200]}", source=name))
    return tuple(evidence)


def _gave_up(summary: str) -> End:
    return finish("I cannot tidy this.", WorkResult(summary=summary, outcome="gave_up"))


def _white_space(desk: Desk) -> Script:
    files = yield from list_files(desk)
    scope = desk.assignment.scope
    paths = [str(p) for p in desk.assignment.params.get("paths") or files]
    wanted = [p for p in paths if is_plain_text(p) and in_scope(scope, p)][:_READ]
    texts, refused = yield from read_files(desk, wanted, "I read the text files.")
    dirty = {path: cleaned(path, text) for path, text in texts.items() if cleaned(path, text) != text}
    calls = [Call("write_file", {"path": path, "text": text}) for path, text in dirty.items()]
    results: list[Result] = (yield from desk.use_all("I clean their white space.", calls)) if calls else []
    done = [path for path, result in zip(dirty, results, strict=True) if result.ok]
    if not done:
        summary = f"White space is clean in {len(texts)} text file(s); {len(refused)} could not be read."
        return finish("Nothing to do here.", WorkResult(summary=summary, outcome="nothing_to_do"))
    evidence = tuple(Evidence(claim="only white space changed", source=f"diff:{path}") for path in done[:20])
    summary = f"White space cleaned in {len(done)} of {len(texts)} text file(s)."
    return finish("White space is clean.", WorkResult(summary=summary, outcome="changed", evidence=evidence))
