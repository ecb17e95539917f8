"""The second attempt of an engineer who tidied: what did the change break, and how is that put right?

The worktree still holds the change. An import that looked unused is given back as an explicit re-export; what cannot be
explained like that is taken back, file by file, as far as the diff is at hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.assignments import Evidence, WorkResult
from agents.offline.clues import path_of
from agents.offline.conversation import Call, Result
from agents.offline.diffs import FileDiff, parse_diff
from agents.offline.formatting import format_changed
from agents.offline.papers import diff_of
from agents.offline.paths import is_python, is_source, module_of
from agents.offline.reading import gates_of, list_files, read_files, run_lint
from agents.offline.reexports import (
    Missing,
    definition_pattern,
    import_from,
    insertion,
    missing_for,
    missing_in_output,
    removed_import,
    well_known,
)
from agents.offline.script import Desk, End, Script, Steps, finish
from agents.offline.source import Edit, Source
from agents.scope import in_scope, is_test_file

_ROUNDS, _READ = 4, 60


@dataclass
class Case:
    """What is known about the broken change."""

    gate: str | None
    files: list[str] = field(default_factory=list[str])
    diffs: list[FileDiff] = field(default_factory=list[FileDiff])
    baseline: frozenset[str] = frozenset()
    failing: list[str] = field(default_factory=list[str])
    passed: bool = False
    output: str = ""
    done: list[str] = field(default_factory=list[str])
    taken_back: list[str] = field(default_factory=list[str])


def mend(desk: Desk) -> Script:
    """Run the gate that failed, give back what it misses, run it again; take back what stays unexplained."""
    case = Case(_gate(desk), diffs=parse_diff(diff_of(desk.assignment)))
    case.baseline = frozenset(t for gate in gates_of(desk, "tests") for t in gate.failures)
    case.files = yield from list_files(desk, "A gate failed after my change: I look at what it broke.")
    yield from _run(desk, case)
    for _ in range(_ROUNDS):
        if case.passed:
            break
        missing = yield from _missing(desk, case)
        given = (yield from _give_back(desk, case, missing)) if missing else 0
        if not given:
            break
        yield from _run(desk, case)
    if not case.passed:
        yield from _take_back(desk, case)
    yield from _sort_imports(desk, case)
    yield from format_changed(desk, _changed(desk, case))
    return _closing(desk, case)


def _gate(desk: Desk) -> str | None:
    named = [n.source.removeprefix("gate:") for n in desk.assignment.feedback if n.source.startswith("gate:")]
    kinds = {gate.name: gate.kind for gate in desk.assignment.gates}
    tests = [name for name in named if kinds.get(name, "tests" if "test" in name else "") == "tests"]
    fallback = [gate.name for gate in gates_of(desk, "tests")]
    return (tests or fallback or [None])[0]


def _run(desk: Desk, case: Case) -> Steps[None]:
    """Run the tests; failures of the baseline do not count."""
    if case.gate is None:
        case.passed = True
        return
    result = yield from desk.use(f"I run the gate {case.gate}.", "run_gate", gate=case.gate)
    failures = [str(test) for test in result.get("failures", [])]
    case.failing = [test for test in failures if test not in case.baseline]
    case.output = str(result.get("tail", ""))
    if not result.ok:
        case.failing = [str(t) for note in desk.assignment.feedback for t in _listed(note.data.get("failures"))]
        case.output = "\n".join(note.text for note in desk.assignment.feedback)
    case.passed = result.ok and (bool(result.get("passed")) or (bool(failures) and not case.failing))


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _changed(desk: Desk, case: Case) -> list[str]:
    """Files that the change touched, as far as one can know."""
    known = [diff.path for diff in case.diffs if is_source(diff.path)]
    planned = [str(path) for path in desk.assignment.params.get("paths") or []]
    in_scope_files = [p for p in case.files if is_source(p) and in_scope(desk.assignment.scope, p)]
    return list(dict.fromkeys(known or planned or in_scope_files))[:_READ]


def _missing(desk: Desk, case: Case) -> Steps[set[Missing]]:
    """Names that others want from the changed modules and do not find."""
    changed = _changed(desk, case)
    modules, _ = yield from read_files(desk, changed, "I read the modules that I changed.")
    tails = sorted({module_of(path).rpartition(".")[2] for path in changed})
    calls = [
        Call("search", {"pattern": rf"from\s+[.\w]*\b{t}\s+import", "glob": "**/*.py", "limit": 200}) for t in tails
    ]
    results: list[Result] = yield from desk.use_all("Who imports names from them?", calls[:30])
    hits = [str(m.get("path")) for r in results for m in r.get("matches", []) if isinstance(m, dict)]
    tests = [path_of(test) for test in case.failing]
    wanted = [path for path in dict.fromkeys([*tests, *hits]) if is_python(path)][:_READ]
    importers, _ = yield from read_files(desk, wanted, "I read who imports them.")
    notes = "\n".join([case.output, *(note.text for note in desk.assignment.feedback)])
    found = missing_for(importers, modules, case.files) | missing_in_output(notes, case.files)
    return {m for m in found if not is_test_file(m.path) and in_scope(desk.assignment.scope, m.path)}


def _give_back(desk: Desk, case: Case, missing: set[Missing]) -> Steps[int]:
    """Put missing names back as explicit re-exports; returns how many."""
    ordered = sorted(missing)
    texts, _ = yield from read_files(desk, sorted({m.path for m in ordered}), "I read where the names belong.")
    unknown = [m for m in ordered if removed_import(case.diffs, m) is None]
    origins = yield from _origins(desk, unknown)
    edits: list[Edit] = []
    for path, text in texts.items():
        source = Source(path, text)
        statements = {m.name: _statement(source, m, case, origins) for m in ordered if m.path == path}
        known = [statement for statement in statements.values() if statement is not None]
        if known and source.tree is not None:
            edits.append(insertion(source, known))
            case.done.extend(f"{path}: {statement}" for statement in known)
    if not edits:
        return 0
    say = f"These names are imported by others: I give back {len(case.done)} as explicit re-exports."
    result = yield from desk.use(say, "apply_patch", edits=[edit.as_json() for edit in edits])
    return len(edits) if result.ok else 0


def _origins(desk: Desk, unknown: list[Missing]) -> Steps[dict[str, str]]:
    """Where names are defined, for those that the diff does not tell."""
    if not unknown:
        return {}
    names = sorted({m.name for m in unknown})[:20]
    calls = [Call("search", {"pattern": definition_pattern(name), "glob": "**/*.py", "limit": 20}) for name in names]
    results: list[Result] = yield from desk.use_all("Where are these names defined?", calls)
    found: dict[str, str] = {}
    for name, result in zip(names, results, strict=True):
        paths = [str(m.get("path")) for m in result.get("matches", []) if isinstance(m, dict)]
        sources = [path for path in paths if is_source(path)]
        if sources:
            found[name] = sources[0]
    return found


def _statement(source: Source, missing: Missing, case: Case, origins: dict[str, str]) -> str | None:
    known = removed_import(case.diffs, missing)
    if known is not None:
        return known
    origin = origins.get(missing.name)
    if origin is not None and origin != source.path:
        return import_from(source, origin, missing.name)
    return well_known(missing.name)


def _take_back(desk: Desk, case: Case) -> Steps[None]:
    """Find the file whose changes broke the tests by trying to take each back, and take it back."""
    diffs = [d for d in case.diffs if d.blocks and not d.binary and d.old == d.new and is_source(d.path)]
    if case.done or not diffs or not case.failing:
        return  # a file that was mended meanwhile no longer is what the diff describes
    candidates = [{"id": d.path, "edits": [e.as_json() for e in d.reverse()]} for d in diffs]
    everything = [edit for candidate in candidates for edit in candidate["edits"]]
    candidates.append({"id": "everything", "edits": everything})
    say = "Which file's changes broke the tests? I try to take back each on a copy."
    result = yield from desk.use(say, "try_patch", candidates=candidates, tests=case.failing[:40], suite=False)
    rows = [row for row in result.get("results", []) if isinstance(row, dict) and row.get("fixed")]
    chosen = next((row for row in rows if row.get("id") != "everything"), rows[0] if rows else None)
    if chosen is None:
        return
    name = str(chosen["id"])
    edits = everything if name == "everything" else next(c["edits"] for c in candidates if c["id"] == name)
    undone = yield from desk.use(f"I take back the changes of {name}.", "apply_patch", edits=edits)
    if undone.ok:
        case.taken_back.append(name)
        yield from _run(desk, case)


def _sort_imports(desk: Desk, case: Case) -> Steps[None]:
    """Where the repository sorts its imports, the new ones are sorted too."""
    paths = sorted({line.partition(": ")[0] for line in case.done})
    if not paths:
        return
    lint = yield from run_lint(desk, "I lint what I gave back.", paths=paths)
    if any(f.get("code") == "I001" and f.get("fixable") for f in lint.findings):
        yield from desk.use("I sort the imports.", "fix_lint", rules=["I001"], paths=paths)


def _closing(desk: Desk, case: Case) -> End:
    evidence = [Evidence(claim=f"given back: {line}", source=f"diff:{line.partition(': ')[0]}") for line in case.done]
    evidence += [Evidence(claim="changes taken back, they broke tests", source=f"diff:{p}") for p in case.taken_back]
    if case.passed:
        if case.gate is not None:
            evidence.append(Evidence(claim="no test fails that passed at the base commit", source=case.gate))
        if case.taken_back == ["everything"]:
            summary = "All changes were taken back: they broke tests and no smaller part explains it."
            return finish(
                "I took everything back.", WorkResult(summary=summary, outcome="gave_up", evidence=tuple(evidence))
            )
        summary = f"After a failed check: {_what(case)}. {_others(desk)}".strip()
        return finish(
            "Put right; the gates decide again.",
            WorkResult(summary=summary, outcome="changed", evidence=tuple(evidence)),
        )
    shown = ", ".join(case.failing[:5])
    summary = f"The change still breaks tests ({shown}) and I could not find out why; {_what(case)}."
    return finish("I give up.", WorkResult(summary=summary, outcome="gave_up", evidence=tuple(evidence)))


def _what(case: Case) -> str:
    parts = [f"{len(case.done)} name(s) given back as explicit re-exports"] if case.done else []
    parts += [f"changes of {', '.join(case.taken_back)} taken back"] if case.taken_back else []
    return ", ".join(parts) or "nothing had to be given back"


def _others(desk: Desk) -> str:
    """Feedback that rules cannot follow is named, so that people and judges see it."""
    texts = [n.text[:160] for n in desk.assignment.feedback if n.source.startswith(("judge:", "merge"))]
    return f"Feedback that rules cannot follow: {' / '.join(texts)}" if texts else ""
