"""What a sprint and its tasks tell each other about questions between agents."""

from __future__ import annotations

from pydantic import field_validator

from agents.runs import AgentRun
from ledger.vocabulary import Brief, Role


class TeamSignal(Brief):
    """Base of what a sprint and its tasks tell each other."""


class Question(TeamSignal):
    """Payload of `ask`, from a task to its sprint: an agent rests until it is answered."""

    id: str
    to: str
    """An agent id."""
    text: str
    run: AgentRun
    """The asker's run."""

    @field_validator("to")
    @classmethod
    def _names_an_agent(cls, agent: str) -> str:
        _, _, named = agent.partition(".")
        role, _, name = named.partition(".")
        if role not in set(Role) or not name:
            raise ValueError("is no agent: <project>.<role>.<name>")
        return agent


class Wanted(TeamSignal):
    """Payload of `wanted`, from a sprint to the task that employs an agent: say when it is free."""

    question: str
    agent: str


class Freed(TeamSignal):
    """Payload of `free`, from a task to its sprint: the agent is not at work there."""

    question: str
    task: str


class Answered(TeamSignal):
    """Payload of `answered`, from a sprint to the asker's task: the answer is in the asker's inbox."""

    question: str
