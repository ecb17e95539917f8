"""The architect: from requirements, survey and gates to a plan; as project manager, a plan of what is left."""

from __future__ import annotations

from collections import Counter
from typing import Any

from agents.assignments import Plan, PlannedSprint, PlannedTask, Requirements
from agents.offline import units
from agents.offline.clues import path_of
from agents.offline.facts import Facts, find_lint, find_repairs
from agents.offline.handwork import can_mend
from agents.offline.hygiene import is_plain_text
from agents.offline.intents import ANALYZE, REPAIR, TIDY, read_goal
from agents.offline.papers import find
from agents.offline.paths import is_python, is_source, module_of, slug
from agents.offline.reading import count_rules, gates_of, is_wanted, list_files
from agents.offline.remains import is_replan, plan_remains
from agents.offline.script import Desk, End, Script, finish
from agents.offline.wishes import Wishes, read_wishes
from agents.scope import in_scope
from ledger.vocabulary import Role, TaskKind


def write_plan(desk: Desk) -> Script:
    """Plan what the requirements ask for; as project manager only what is left."""
    if is_replan(desk):
        return plan_remains(desk)
    wishes = read_wishes(desk.feedback)
    facts = Facts(tuple(i for i in _intents(desk) if wishes.allows(i)), wishes, scope=_scope(desk))
    facts.files = yield from list_files(desk)
    facts.risks.extend(f"I could not follow this wish: {text}" for text in wishes.unheard)
    if REPAIR in facts.intents:
        facts.repairs = yield from find_repairs(desk, facts)
    if TIDY in facts.intents:
        facts.lint = yield from find_lint(desk, facts)
    return _plan(desk, facts)


def _scope(desk: Desk) -> tuple[str, ...]:
    """The brief's scope."""
    return tuple(str(glob) for glob in desk.assignment.params.get("scope") or desk.assignment.scope)


def _intents(desk: Desk) -> tuple[str, ...]:
    requirements = find_requirements(desk)
    if requirements is not None:
        named = tuple(i for i in requirements.intents if i in (REPAIR, TIDY, ANALYZE))
        return named or read_goal(" and ".join(requirements.requirements)).served
    return read_goal(desk.assignment.goal).served


def find_requirements(desk: Desk) -> Requirements | None:
    """The product owner's result among the documents."""
    return find(desk.assignment, Requirements)


def _plan(desk: Desk, facts: Facts) -> End:
    tasks: list[PlannedTask] = []
    if ANALYZE in facts.intents:
        tasks.append(_analysis(facts))
    tasks.extend(_repair_tasks(facts))
    if TIDY in facts.intents:
        tasks.extend(_tidy_tasks(facts, tasks))
    tasks = _honoured(tasks, facts.wishes)
    if not tasks:
        summary = f"Nothing to do: {_nothing(facts)}."
        return finish("There is nothing to do.", Plan(summary=summary, risks=tuple(facts.risks)))
    facts.risks.extend(_usual_risks(desk, facts, tasks))
    kinds = Counter(str(task.params.get("intent")) for task in tasks)
    goal = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    plan = Plan(
        summary=f"One sprint with {len(tasks)} task(s): {goal}. Planned by rules, without a language model.",
        sprints=(PlannedSprint(goal=f"Sprint 1: {goal}", tasks=tuple(tasks)),),
        risks=tuple(facts.risks),
    )
    return finish("Here is the plan.", plan)


def _nothing(facts: Facts) -> str:
    if not facts.intents:
        return "after your feedback no kind of work is left that I can do"
    parts = {
        REPAIR: "no test fails",
        TIDY: _no_tidying(facts),
        ANALYZE: "no analysis is left",
    }
    return ", ".join(str(parts[intent]) for intent in facts.intents)


def _no_tidying(facts: Facts) -> str:
    """Why there is no task, for a person who may see that lint does complain."""
    lint = facts.lint
    if lint.refused:
        return f"lint could not run ({lint.refused})"
    if not lint.findings:
        return f"lint has no findings{f' but {facts.generated} in generated files' if facts.generated else ''}"
    shown = ", ".join(f"{rule} {count}" for rule, count in list(count_rules(lint.findings).items())[:6])
    left = f"none of {len(lint.findings)} lint finding(s) is in scope, outside tests and surely mendable ({shown})"
    return left if lint.configured else f"{left}; where no linter is configured only plain mistakes are mended"


def _usual_risks(desk: Desk, facts: Facts, tasks: list[PlannedTask]) -> list[str]:
    risks: list[str] = []
    if not gates_of(desk, "tests"):
        risks.append("there is no test gate: changes cannot be verified by tests")
    if any(task.params.get("intent") == TIDY for task in tasks):
        risks.append("an import that looks unused may be relied on elsewhere; the test gate decides")
    if facts.generated:
        risks.append(f"{facts.generated} lint finding(s) in generated files are left alone: mend what writes them")
    if any(task.params.get("intent") == REPAIR for task in tasks):
        risks.append("a patch may fit the tests and still not be what the author meant: look at repairs")
    return risks


def _analysis(facts: Facts) -> PlannedTask:
    return PlannedTask(
        id="analysis",
        title="Analyse the repository",
        kind=TaskKind.ANALYSIS,
        role=Role.ANALYST,
        instructions="Report structure, size, tests, lint, gates and risks, and suggest tasks. Change nothing.",
        scope=facts.scope,
        acceptance=("the report has findings or says that there are none", "no diff"),
        priority=90,
        params={"intent": ANALYZE},
    )


def _repair_tasks(facts: Facts) -> list[PlannedTask]:
    tasks: list[PlannedTask] = []
    for repair in facts.repairs:
        name = module_of(path_of(repair.tests[0])).rpartition(".")[2].removeprefix("test_")
        scope = _exact(repair.files) or _packages(facts)
        shown = ", ".join(repair.tests[:5])
        tasks.append(
            PlannedTask(
                id=_unique(f"repair-{slug(name, 32)}", tasks),
                title=f"Repair {name}: {len(repair.tests)} failing test(s)",
                kind=TaskKind.CHANGE,
                instructions=f"Make these tests pass without breaking others: {shown}. Do not change tests.",
                scope=_without(scope, facts.wishes.paths),
                acceptance=("the named tests pass", "no test that passed before fails", "no test file is changed"),
                priority=100,
                params={"intent": REPAIR, "tests": list(repair.tests)},
            )
        )
    return tasks


def _exact(files: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(path if "/" in path else f"/{path}" for path in files)


def _packages(facts: Facts) -> tuple[str, ...]:
    """Globs of all source folders, where no file in particular is under suspicion."""
    found = units.split(p for p in facts.files if is_source(p) and in_scope(facts.scope, p))
    return tuple(dict.fromkeys(glob for unit in found for glob in unit.scope)) or facts.scope


def _without(scope: tuple[str, ...], paths: set[str]) -> tuple[str, ...]:
    return (*scope, *(f"!{path}" for path in sorted(paths)))


def _tidy_tasks(facts: Facts, others: list[PlannedTask]) -> list[PlannedTask]:
    by_path: dict[str, list[dict[str, Any]]] = {}
    for finding in facts.lint.findings:
        path = str(finding["path"])
        code = str(finding.get("code"))
        wanted = is_wanted(code, facts.lint.configured or bool(facts.lint.refused)) and code not in facts.wishes.rules
        if wanted and is_source(path) and in_scope(facts.scope, path):
            by_path.setdefault(path, []).append(finding)
    hopeful = [path for path, rows in by_path.items() if any(_can_mend(row) for row in rows)]
    found = units.split(p for p in hopeful if in_scope(_without(("**",), facts.wishes.paths), p))
    tasks = [_tidy_task(unit, by_path, others, facts) for unit in found]
    if not any(is_python(path) for path in facts.files):
        tasks.extend(_hygiene_tasks(facts))
    return _named_apart(tasks)


def _tidy_task(
    unit: units.Unit, by_path: dict[str, list[dict[str, Any]]], others: list[PlannedTask], facts: Facts
) -> PlannedTask:
    wishes = facts.wishes
    scope = unit.scope if facts.scope == ("**",) else _exact(unit.files)
    counts = count_rules([finding for path in unit.files for finding in by_path[path]])
    before = [
        task.id for task in others if task.kind == TaskKind.ANALYSIS or any(_meets(scope, glob) for glob in task.scope)
    ]
    shown = ", ".join(f"{rule} {count}" for rule, count in list(counts.items())[:8])
    return PlannedTask(
        id=f"tidy-{slug(unit.name, 40)}",
        title=f"Tidy {unit.name}: {sum(counts.values())} lint finding(s)",
        kind=TaskKind.CHANGE,
        instructions=f"Mend lint findings under the repository's own configuration: {shown}. Keep behaviour.",
        depends_on=tuple(before),
        scope=_without(scope, wishes.paths),
        acceptance=("fewer findings, no rule with more", "behaviour unchanged: the tests pass", "no new suppressions"),
        priority=50,
        params={"intent": TIDY, "rules": sorted(counts), "paths": list(unit.files[:100])},
    )


def _can_mend(finding: dict[str, Any]) -> bool:
    return bool(finding.get("fixable", True)) or can_mend(str(finding.get("code")))


def _meets(scope: tuple[str, ...], glob: str) -> bool:
    """Whether a scope may share a file with another scope's glob; wildcards are not looked into."""
    return not glob.startswith("!") and ("*" in glob or in_scope(scope, glob.lstrip("/")))


def _hygiene_tasks(facts: Facts) -> list[PlannedTask]:
    texts = [path for path in facts.files if is_plain_text(path) and in_scope(facts.scope, path)]
    if not texts:
        return []
    return [
        PlannedTask(
            id="tidy-text",
            title="Tidy white space of text files",
            kind=TaskKind.CHANGE,
            instructions="Trailing white space, final newlines and mixed line endings of text files.",
            scope=_without(facts.scope, facts.wishes.paths),
            acceptance=("only white space changes",),
            priority=50,
            params={"intent": TIDY, "hygiene": True, "paths": texts[:100]},
        )
    ]


def _named_apart(tasks: list[PlannedTask]) -> list[PlannedTask]:
    named: list[PlannedTask] = []
    for task in tasks:
        named.append(task.model_copy(update={"id": _unique(task.id, named)}))
    return named


def _unique(name: str, tasks: list[PlannedTask]) -> str:
    taken = {task.id for task in tasks}
    return next(n for n in (name, *(f"{name[:44]}-{i}" for i in range(2, 100))) if n not in taken)


def _honoured(tasks: list[PlannedTask], wishes: Wishes) -> list[PlannedTask]:
    kept = [task for task in tasks if task.id not in wishes.tasks]
    ids = {task.id for task in kept}
    kept = [t.model_copy(update={"depends_on": tuple(d for d in t.depends_on if d in ids)}) for t in kept]
    if wishes.serial:
        ordered = sorted(kept, key=lambda task: -task.priority)
        kept = [
            task.model_copy(update={"depends_on": tuple(dict.fromkeys([*task.depends_on, ordered[i - 1].id]))})
            if i
            else task
            for i, task in enumerate(ordered)
        ]
    return kept
