"""The analyst: a report on structure, size, tests, lint, gates and risks. Serves the survey and analysis tasks."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from agents.assignments import Finding, Report, Work
from agents.offline.conversation import Call, Result
from agents.offline.paths import folder_of, is_document, is_python, is_source, module_of
from agents.offline.reading import Lint, count_rules, list_files, read_files, refusals, run_lint
from agents.offline.script import Desk, End, Script, finish
from agents.offline.source import Source
from agents.scope import in_scope, is_gate_configuration, is_test_file

_DOCUMENTS, _SOURCES = 12, 24
_LONG_FUNCTION, _DEEP, _LONG_FILE = 60, 5, 600
_SEARCHES = {
    "broad except": r"^\s*except\s*(Exception|BaseException)?\s*(as \w+)?:",
    "open note": r"(#|//)\s*(TODO|FIXME|XXX|HACK)\b",
    "suppression": r"#\s*(noqa|type:\s*ignore|pragma:\s*no cover|pylint:\s*disable)",
}


@dataclass
class Picture:
    """What was seen of the repository."""

    files: list[str]
    texts: dict[str, str] = field(default_factory=dict[str, str])
    lint: Lint = field(default_factory=Lint)
    matches: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, "list[dict[str, Any]]"])
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def sources(self) -> list[str]:
        return [path for path in self.files if is_source(path)]

    @property
    def tests(self) -> list[str]:
        return [path for path in self.files if is_python(path) and is_test_file(path)]


def write_report(desk: Desk) -> Script:
    """Look at everything that can be looked at; a refused look is a finding and no obstacle."""
    picture = Picture((yield from list_files(desk)))
    scope = desk.assignment.scope
    documents = [p for p in picture.files if is_document(p) or is_gate_configuration(p)]
    sources = [p for p in picture.sources if in_scope(scope, p)]
    wanted = documents[:_DOCUMENTS] + (sources[:_SOURCES] if desk.assignment.work == Work.ANALYSIS else [])
    picture.texts, refused = yield from read_files(desk, wanted, "I read documents, configuration and sources.")
    picture.findings.extend(refusals(refused))
    picture.lint = yield from run_lint(desk, "I lint under the repository's own configuration.")
    picture.lint.findings = [f for f in picture.lint.findings if in_scope(scope, str(f["path"]))]
    calls = [Call("search", {"pattern": p, "glob": "**/*.py", "limit": 200}) for p in _SEARCHES.values()]
    results: list[Result] = yield from desk.use_all("I search for risks.", calls)
    picture.matches = {
        name: [m for m in r.get("matches", []) if isinstance(m, dict)]
        for name, r in zip(_SEARCHES, results, strict=True)
    }
    return _report(desk, picture)


def _report(desk: Desk, picture: Picture) -> End:
    picture.findings.extend(_gate_findings(desk))
    picture.findings.extend(_code_findings(picture))
    picture.findings.extend(_test_findings(picture))
    picture.findings.extend(_search_findings(picture))
    picture.findings.extend(_lint_findings(picture))
    suggested = _suggestions(desk, picture)
    summary = (
        f"{len(picture.files)} files, {len(picture.sources)} Python sources, {len(picture.tests)} test files, "
        f"{len(picture.lint.findings)} lint findings, {_gates_in_words(desk)}. Written by rules, without a language model."
    )
    result = Report(
        summary=summary,
        markdown=_markdown(desk, picture, summary, suggested),
        findings=tuple(picture.findings[:200]),
        suggested_tasks=tuple(suggested),
    )
    return finish("The report is written.", result)


def _gates_in_words(desk: Desk) -> str:
    gates = desk.assignment.gates
    if not gates:
        return "no gate at all"
    return ", ".join(f"gate {gate.name} {'passes' if gate.passed else 'fails'}" for gate in gates)


def _gate_findings(desk: Desk) -> list[Finding]:
    found: list[Finding] = []
    for gate in desk.assignment.gates:
        if gate.kind == "tests":
            for test in gate.failures[:20]:
                path = test.partition("::")[0]
                found.append(Finding(title=f"Failing test: {test}", path=path, severity="high"))
        elif not gate.passed:
            detail = ", ".join(f"{rule} {count}" for rule, count in list(gate.counts.items())[:12])
            found.append(Finding(title=f"Gate {gate.name} fails", detail=detail, severity="medium"))
    if not any(gate.kind == "tests" for gate in desk.assignment.gates):
        found.append(Finding(title="No test gate", detail="No change can be verified by tests.", severity="high"))
    return found


def _code_findings(picture: Picture) -> list[Finding]:
    """Functions that are very long or deep, files that do not parse, very long files."""
    found: list[Finding] = []
    for path in (p for p in picture.texts if is_source(p)):
        source = Source(path, picture.texts[path])
        if source.tree is None:
            found.append(Finding(title="Does not parse", path=path, severity="high"))
            continue
        if len(source.lines) > _LONG_FILE:
            found.append(Finding(title=f"Long file: {len(source.lines)} lines", path=path, severity="low"))
        for node in ast.walk(source.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found.extend(_function_findings(path, node))
    return found


def _function_findings(path: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[Finding]:
    found: list[Finding] = []
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if length > _LONG_FUNCTION:
        found.append(
            Finding(title=f"Long function {node.name}: {length} lines", path=path, line=node.lineno, severity="low")
        )
    if (depth := _depth(node)) > _DEEP:
        title = f"Deeply nested function {node.name}: {depth} levels"
        found.append(Finding(title=title, path=path, line=node.lineno, severity="low"))
    return found


def _depth(node: ast.AST) -> int:
    inner = max((_depth(child) for child in ast.iter_child_nodes(node)), default=0)
    return inner + isinstance(node, (ast.If, ast.For, ast.While, ast.With, ast.Try))


def _test_findings(picture: Picture) -> list[Finding]:
    """Modules that no test file is named after."""
    names = " ".join(re.sub(r"\W+", "_", path.lower()) for path in picture.tests)
    if not picture.tests:
        return [Finding(title="No test files", severity="high")] if picture.sources else []
    missing = [
        path
        for path in picture.sources
        if (stem := module_of(path).rpartition(".")[2].strip("_").lower()) not in names
        and not path.endswith(("__init__.py", "__main__.py"))
        and stem
    ]
    return [
        Finding(title="No test file is named after this module", path=path, severity="info") for path in missing[:40]
    ]


def _search_findings(picture: Picture) -> list[Finding]:
    found: list[Finding] = []
    for name, matches in picture.matches.items():
        for match in matches[:25]:
            path, line = str(match.get("path")), match.get("line")
            severity = "medium" if name == "broad except" and not is_test_file(path) else "info"
            detail = str(match.get("text", "")).strip()[:160]
            where = line if isinstance(line, int) else None
            found.append(Finding(title=name.capitalize(), detail=detail, path=path, line=where, severity=severity))
    return found


def _lint_findings(picture: Picture) -> list[Finding]:
    if picture.lint.refused:
        return [Finding(title="Lint could not run", detail=picture.lint.refused, severity="info")]
    return [
        Finding(
            title=f"lint {f.get('code')}",
            detail=str(f.get("message", ""))[:200],
            path=str(f["path"]),
            line=f["line"] if isinstance(f.get("line"), int) else None,
            severity="low",
        )
        for f in picture.lint.findings[:80]
    ]


def _suggestions(desk: Desk, picture: Picture) -> list[str]:
    suggested: list[str] = []
    failing = [t for gate in desk.assignment.gates if gate.kind == "tests" for t in gate.failures]
    if failing:
        suggested.append(f"repair: {len(failing)} failing test(s), first {failing[0]}")
    for folder, count in Counter(folder_of(str(f["path"])) or "." for f in picture.lint.findings).most_common(8):
        suggested.append(f"tidy: {count} lint finding(s) in {folder}")
    broad = [m for m in picture.matches.get("broad except", ()) if not is_test_file(str(m.get("path")))]
    if broad:
        suggested.append(f"by a person or a language model: narrow {len(broad)} broad except clause(s)")
    untested = sum(f.title.startswith("No test file is named") for f in picture.findings)
    if untested:
        suggested.append(f"by a person or a language model: tests for {untested} module(s) that no test is named after")
    return suggested


def _markdown(desk: Desk, picture: Picture, summary: str, suggested: list[str]) -> str:
    folders = Counter(folder_of(path) or "." for path in picture.files)
    risks = [f for f in picture.findings if f.severity in {"medium", "high"}]
    parts = [
        f"# {desk.assignment.title or 'Survey'}\n\n{summary}",
        "## Structure\n\n" + _bullets(f"`{folder}`: {count} files" for folder, count in folders.most_common(20)),
        "## Gates\n\n" + _bullets(_gate_line(gate) for gate in desk.assignment.gates),
        "## Lint\n\n" + _bullets(f"{rule}: {n}" for rule, n in list(count_rules(picture.lint.findings).items())[:30]),
        "## Risks\n\n" + _bullets(_finding_line(f) for f in risks[:40]),
        "## Suggested tasks\n\n" + _bullets(suggested),
        "## Documents read\n\n" + _bullets(f"`{path}`: {_headline(text)}" for path, text in picture.texts.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _gate_line(gate: Any) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in list(gate.counts.items())[:12])
    return f"{gate.name} ({gate.kind}): {'passes' if gate.passed else 'fails'}{'; ' + counts if counts else ''}"


def _finding_line(finding: Finding) -> str:
    where = f" `{finding.path}{':' + str(finding.line) if finding.line else ''}`" if finding.path else ""
    detail = f": {finding.detail}" if finding.detail else ""
    return f"{finding.severity}: {finding.title}{where}{detail}"


def _headline(text: str) -> str:
    first = next((line.strip("# =-\t") for line in text.splitlines() if line.strip("# =-\t")), "empty")
    return first[:100]


def _bullets(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines) or "- none"
