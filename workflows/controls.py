"""What people send to steer: pauses, words, how much they are asked, work that is brought before a person. Pure."""

from __future__ import annotations

from pydantic import Field, model_validator

from ledger.vocabulary import Autonomy, Brief, Mode


class AutonomyChange(Brief):
    """Payload of the signal `set_autonomy`: autonomy, mode, or both."""

    autonomy: Autonomy | None = None
    mode: Mode | None = None
    by: str = Field(default="unknown", max_length=200)

    @model_validator(mode="after")
    def _changes_something(self) -> AutonomyChange:
        if self.autonomy is None and self.mode is None:
            raise ValueError("say what changes: autonomy, mode or both")
        return self

    def for_children(self) -> AutonomyChange | None:
        """What it means below; a sprint that has begun ends in the mode it began with, merged or not."""
        mode = None if self.mode is Mode.DRY_RUN else self.mode
        if mode is None and self.autonomy is None:
            return None
        return self.model_copy(update={"mode": mode})

    @property
    def words(self) -> str:
        """The change in a line."""
        return " ".join(part.value for part in (self.autonomy, self.mode) if part is not None)


class Escalation(Brief):
    """Payload of the signal `escalate`: nothing new starts until a person has decided how it goes on."""

    reason: str = Field(min_length=1, max_length=20_000)
    by: str = Field(default="unknown", max_length=200)
    task: str | None = Field(default=None, max_length=200)
    """One task; otherwise everything under the workflow that gets the signal."""


class Control(Brief):
    """Payload of `pause`, `resume` and of `feedback` (with `text`)."""

    by: str = Field(default="unknown", max_length=200)
    reason: str = Field(default="", max_length=20_000)


class FeedbackNote(Brief):
    """Payload of the signal `feedback`; `task` or `agent` addresses one of them, otherwise everyone at work."""

    text: str = Field(min_length=1, max_length=20_000)
    by: str = Field(default="unknown", max_length=200)
    task: str | None = Field(default=None, max_length=200)
    agent: str | None = Field(default=None, min_length=1, max_length=200)
    """A name (`grace`), a role and a name (`engineer.grace`), or an agent id."""
