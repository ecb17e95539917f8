"""Documents of an assignment, told apart by what is in them rather than by their names."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from agents.assignments import Assignment, Document, Plan, Report, Requirements, WorkResult
from ledger.vocabulary import Record

_R = TypeVar("_R", bound=Record)
SPRINT = "sprint"
"""Task id of runs that look at a sprint as a whole."""

_PROJECT = frozenset({"requirements", "survey", "plan"})
_DIFF = re.compile(r"^(diff --git |--- \S)", re.MULTILINE)
_MARKS: dict[type[Record], str] = {
    Requirements: "requirements",
    Report: "markdown",
    Plan: "sprints",
    WorkResult: "outcome",
}


def find_all(assignment: Assignment, model: type[_R]) -> list[tuple[str, _R]]:
    """Documents that hold a result of one kind, with their names, in the order given."""
    return _results(assignment.documents, model)


def find_own(assignment: Assignment, model: type[_R]) -> _R | None:
    """The task's own result of one kind."""
    found = _results(own(assignment), model)
    return found[-1][1] if found else None


def _results(documents: Sequence[Document], model: type[_R]) -> list[tuple[str, _R]]:
    found: list[tuple[str, _R]] = []
    for document in documents:
        data = as_json(document)
        if isinstance(data, dict) and _MARKS[model] in data:
            try:
                found.append((document.name, model.model_validate(data)))
            except ValidationError:
                continue
    return found


def find(assignment: Assignment, model: type[_R]) -> _R | None:
    """The last document of one kind."""
    found = find_all(assignment, model)
    return found[-1][1] if found else None


def as_json(document: Document) -> Any:
    """The document's JSON value, None where it holds none."""
    try:
        return json.loads(document.text)
    except ValueError:
        return None


def own(assignment: Assignment) -> list[Document]:
    """Documents of the task itself: those of predecessors carry their task's name, those of the project have fixed names."""
    return [d for d in assignment.documents if "/" not in d.name and d.name not in _PROJECT]


def diff_of(assignment: Assignment) -> str:
    """The task's own diff; at the level of a sprint those of all its tasks; empty where there is none."""
    texts = [d.text for d in own(assignment) if _DIFF.search(d.text)]
    if texts or assignment.task != SPRINT:
        return texts[-1] if texts else ""
    return "\n".join(d.text for d in assignment.documents if _DIFF.search(d.text))


def gate_results(assignment: Assignment) -> list[dict[str, Any]]:
    """The task's own gate results; at the level of a sprint those of all its tasks.

    Each has `name`, `kind`, `passed`, `failures` and `counts`.
    """
    documents = assignment.documents if assignment.task == SPRINT else own(assignment)
    return [row for document in documents for row in _gate_rows(as_json(document))]


def _gate_rows(data: Any) -> list[dict[str, Any]]:
    rows = data.get("gates") if isinstance(data, dict) else data
    return [
        _flat_gate(row)
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict) and "passed" in row and ("gate" in row or "name" in row)
    ]


def _flat_gate(row: dict[str, Any]) -> dict[str, Any]:
    gate = row.get("gate")
    inner = gate if isinstance(gate, dict) else {"name": gate or row.get("name"), "kind": row.get("kind", "")}
    return {
        "name": str(inner.get("name") or row.get("name")),
        "kind": str(inner.get("kind") or row.get("kind") or ""),
        "passed": bool(row.get("passed")),
        "failures": [str(f) for f in row.get("failures") or ()],
        "counts": {str(k): v for k, v in (row.get("counts") or {}).items() if isinstance(v, int)},
    }
