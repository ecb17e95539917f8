"""What people change while a team works: the payload of the signal `edit`, one model for each `do`. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, model_validator

from ledger.vocabulary import Brief, Role, Slug
from workflows.specs import TaskBrief

Dependents = Literal["skip", "run"]
Note = Annotated[str, Field(max_length=20_000)]


class EditBase(Brief):
    """What every edit says."""

    by: str = Field(default="unknown", min_length=1, max_length=200)
    """A claim: whoever can reach the namespace can use any name."""
    id: str | None = Field(default=None, max_length=200)
    """Makes the edit idempotent: a second one with the same id is refused."""


class TaskEdit(EditBase):
    """An edit of one task."""

    task: Slug

    @property
    def about(self) -> str:
        """The task's id."""
        return self.task


class Reassign(TaskEdit):
    """Give a task to another role, another agent, or both; one that is at work is stopped and handed over as it stands."""

    do: Literal["reassign"] = "reassign"
    role: Role | None = None
    agent: str | None = Field(default=None, max_length=200)
    """A name (`grace`) or an agent id."""
    note: Note = ""

    @model_validator(mode="after")
    def _names_somebody(self) -> Reassign:
        if self.role is None and self.agent is None:
            raise ValueError("say to whom: role, agent or both")
        return self


class Skip(TaskEdit):
    """Leave a task out. `dependents`: `skip` leaves out what depends on it, `run` lets it run without."""

    do: Literal["skip"] = "skip"
    dependents: Dependents = "skip"


class Retry(TaskEdit):
    """Begin a task again that ended without success, from a clean start."""

    do: Literal["retry"] = "retry"
    note: Note = ""


class Add(EditBase):
    """Add a task, written as in a brief."""

    do: Literal["add"] = "add"
    task: TaskBrief
    sprint: int | None = Field(default=None, ge=1)
    """Of a plan that is not confirmed yet; a running sprint takes tasks for itself."""

    @property
    def about(self) -> str:
        return self.task.id


class Drop(TaskEdit):
    """Take a task out of the plan that has not begun and that nothing depends on."""

    do: Literal["drop"] = "drop"


class Cancel(TaskEdit):
    """Stop a task for good and put down what it holds; what depends on it is skipped."""

    do: Literal["cancel"] = "cancel"
    reason: Note = ""


class Rewind(TaskEdit):
    """Let a task go on from a step of its agent's journal: the steps before are served, this one is done again."""

    do: Literal["rewind"] = "rewind"
    step: int = Field(ge=1, le=100_000)
    attempt: int | None = Field(default=None, ge=1)
    """Of which attempt; the last one where it is left out."""
    note: Note = ""
    """What the agent reads at that step."""


Edit = Reassign | Skip | Retry | Add | Drop | Cancel | Rewind

EDIT: TypeAdapter[Edit] = TypeAdapter(Annotated[Edit, Field(discriminator="do")])
"""Reads an edit; which model it must fit is what `do` says."""


class EditError(ValueError):
    """The edit cannot be made; the text says why."""


def words(edit: Edit) -> str:
    """An edit in one line."""
    match edit:
        case Reassign():
            to = " ".join(part for part in (edit.role and edit.role.value, edit.agent) if part)
            return f"reassign {edit.task} to {to}"
        case Skip():
            return f"skip {edit.task}, dependents {edit.dependents}"
        case Rewind():
            attempt = f" of attempt {edit.attempt}" if edit.attempt else ""
            return f"rewind {edit.task} to step {edit.step}{attempt}"
        case _:
            return f"{edit.do} {edit.about}"
