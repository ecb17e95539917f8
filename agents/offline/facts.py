"""What the architect must know before planning: failing tests with the files they reach, lint findings."""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.offline import units
from agents.offline.clues import by_module, path_of
from agents.offline.conversation import Call
from agents.offline.paths import is_source
from agents.offline.reading import Lint, gates_of, read_files, run_lint
from agents.offline.script import Desk, Steps
from agents.offline.suspicion import imported_sources
from agents.offline.wishes import Wishes
from agents.scope import in_scope

_GENERATED = r"(?i)@generated|\b(auto-?|automatically |file )generated\b|do not edit|don't change"
_HEAD = 5
"""Lines at the top of a file in which it may say that a program wrote it."""

_GROUPS, _SUSPECT_FILES, _TESTS, _DEPTH = 5, 12, 40, 4


@dataclass(frozen=True)
class Repair:
    """Failing tests with one likely cause and the files under suspicion."""

    tests: tuple[str, ...]
    files: tuple[str, ...]


@dataclass
class Facts:
    """What a plan is made of."""

    intents: tuple[str, ...]
    wishes: Wishes
    files: list[str] = field(default_factory=list[str])
    lint: Lint = field(default_factory=Lint)
    repairs: list[Repair] = field(default_factory=list[Repair])
    risks: list[str] = field(default_factory=list[str])
    scope: tuple[str, ...] = ("**",)
    generated: int = 0
    """Lint findings in files that a program wrote."""


def find_repairs(desk: Desk, facts: Facts) -> Steps[list[Repair]]:
    """Groups of failing tests whose suspect files do not overlap."""
    failing = [test for gate in gates_of(desk, "tests") for test in gate.failures]
    found: list[Repair] = []
    for group in by_module(failing)[:_GROUPS]:
        files = yield from _suspect_files(desk, facts, group[:_TESTS])
        found.append(Repair(tuple(group[:_TESTS]), files))
    groups = by_module(failing)
    if len(groups) > _GROUPS:
        facts.risks.append(f"failing tests of {len(groups) - _GROUPS} more modules wait for a later plan")
    return _without_overlap(found)


def _suspect_files(desk: Desk, facts: Facts, tests: list[str]) -> Steps[tuple[str, ...]]:
    """The sources that failing tests reach through imports; none where they are too many to name."""
    first = path_of(tests[0])
    fixtures = [p for p in facts.files if p.endswith("conftest.py") and first.startswith(p.removesuffix("conftest.py"))]
    waiting, reached = [first, *fixtures], dict[str, None]()
    for _ in range(_DEPTH):
        texts, _ = yield from read_files(desk, waiting, f"What do {', '.join(waiting[:3])} import?")
        waiting = [path for path in imported_sources(texts, facts.files) if path not in reached]
        reached |= dict.fromkeys(waiting)
        if not waiting or len(reached) > _SUSPECT_FILES:
            break
    files = [path for path in reached if in_scope(facts.scope, path)]
    return tuple(files) if len(files) <= _SUSPECT_FILES else ()


def _without_overlap(repairs: list[Repair]) -> list[Repair]:
    """Repairs that suspect a common file become one: they may have one cause, and would conflict otherwise."""
    merged: list[Repair] = []
    for repair in repairs:
        shared = [m for m in merged if not repair.files or not m.files or set(m.files) & set(repair.files)]
        tests = [t for m in shared for t in m.tests] + list(repair.tests)
        files = [f for m in shared for f in m.files] + list(repair.files)
        merged = [m for m in merged if m not in shared]
        merged.append(Repair(tuple(dict.fromkeys(tests)), tuple(dict.fromkeys(files))))
    return merged


def find_lint(desk: Desk, facts: Facts) -> Steps[Lint]:
    """All lint findings in files that people write."""
    lint = yield from _all_lint(desk, facts)
    if lint.findings:
        call = Call("search", {"pattern": _GENERATED, "glob": "**/*.py", "limit": 500})
        [found] = yield from desk.use_all("Which of these files did a program write? They are left alone.", [call])
        generated = {match["path"] for match in found.get("matches", []) if match["line"] <= _HEAD}
        kept = [finding for finding in lint.findings if finding["path"] not in generated]
        facts.generated = len(lint.findings) - len(kept)
        lint.findings = kept
    return lint


def _all_lint(desk: Desk, facts: Facts) -> Steps[Lint]:
    """By folder where they are too many for one answer, from the gate where lint cannot run."""
    lint = yield from run_lint(desk, "I lint under the repository's own configuration.")
    if lint.truncated:
        parts = units.split(p for p in facts.files if is_source(p) and in_scope(facts.scope, p))
        folders = [glob.removesuffix("/**") for unit in parts for glob in unit.scope if glob.endswith("/**")]
        calls = [Call("lint", {"paths": [folder]}) for folder in folders[:12]]
        results = yield from desk.use_all("There are many findings: I lint folder by folder.", calls)
        rows = [row for result in results for row in result.get("findings", [])]
        known = {(f["path"], f["line"], f["column"], f["code"]): f for f in [*lint.findings, *rows]}
        lint.findings = list(known.values())
    if lint.refused:
        rows = [f.rsplit(":", 2) for gate in gates_of(desk, "lint") for f in gate.failures]
        lint.findings = [{"path": row[0], "code": row[2]} for row in rows if len(row) == 3]
    return lint
