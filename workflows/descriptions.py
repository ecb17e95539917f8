"""What a workflow was started for, as markdown: the static details that the Web UI shows beside the current ones."""

from __future__ import annotations

from collections.abc import Sequence

from agents.assignments import PlannedTask
from ledger.vocabulary import dollars, project_workflow_id
from workflows.details import PARAGRAPH, ROWS_SHOWN, escaped
from workflows.specs import ProjectSpec, SprintSpec, TaskSpec

LINES_SHOWN = 30
"""Lines of a goal or of instructions."""
ITEMS_SHOWN = 20


def project_details(spec: ProjectSpec, project: str) -> str:
    """The brief in short, and where to look."""
    workflow = project_workflow_id(project)
    gates = [gate.name for gate in spec.gates or ()]
    facts = [
        f"repository {escaped(spec.repository, PARAGRAPH)}{f', from {escaped(spec.base)}' if spec.base else ''}",
        f"mode {spec.mode.value} · autonomy {spec.autonomy.value} · budget {dollars(spec.budget_usd)} USD",
        f"up to {spec.max_sprints} sprints, {spec.max_parallel} tasks side by side",
        f"gates: {escaped(', '.join(gates), PARAGRAPH) if gates else 'as found in the repository'}",
    ]
    look = (
        f"Watch it with `syndic watch {project}`, or `temporal workflow query --workflow-id {workflow} --type status`. "
        f"What waits for you: `syndic inbox {project}`."
    )
    return _joined(_text(spec.goal), _list(facts), look)


def sprint_details(spec: SprintSpec) -> str:
    """The sprint's goal and its tasks."""
    tasks = [f"**{task.id}**{_after(task)}: {escaped(task.title)}" for task in spec.tasks]
    return _joined(_text(spec.sprint_goal), f"For the goal: {escaped(spec.goal, PARAGRAPH)}", _list(tasks, ROWS_SHOWN))


def task_details(spec: TaskSpec) -> str:
    """What the task's agent is told, and why it is told again where the task was sent back."""
    task = spec.task
    facts = [
        f"{task.kind.value} by {task.role.value}{_after(task)}",
        f"may change: {escaped(', '.join(task.scope), PARAGRAPH)}",
        *(f"accepted when {escaped(item)}" for item in task.acceptance),
        *(f"sent back by {escaped(item.source)}: {escaped(item.text)}" for item in spec.feedback),
    ]
    return _joined(_text(task.instructions), _list(facts))


def _after(task: PlannedTask) -> str:
    return f" after {escaped(', '.join(task.depends_on))}" if task.depends_on else ""


def _text(text: str) -> str:
    """Foreign text over several lines; each line is one in markdown too."""
    lines = [escaped(line, PARAGRAPH) for line in text.splitlines() if line.strip()]
    more = ["…"] if len(lines) > LINES_SHOWN else []
    return "\n\n".join([*lines[:LINES_SHOWN], *more])


def _list(items: Sequence[str], limit: int = ITEMS_SHOWN) -> str:
    more = [f"- … and {len(items) - limit} more"] if len(items) > limit else []
    return "\n".join([*(f"- {item}" for item in items[:limit]), *more])


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
