"""What an agent is asked and what it must answer: the assignment and the result schema of each kind of work.

Every agent ends its run with the tool `finish`, whose arguments are the result model of its assignment (`RESULTS`). Pure
pydantic: workflow code imports this module.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from ledger.vocabulary import Answer, Json, Record, Role, Seat, Slug, TaskKind


class Work(StrEnum):
    """Kinds of assignment."""

    REQUIREMENTS = "requirements"
    """Product owner: goal -> requirements, or refuse a goal that cannot be served."""
    SURVEY = "survey"
    """Analyst: repository and baseline -> findings."""
    PLAN = "plan"
    """Architect: requirements and survey -> plan; project manager: replan from what is left."""
    CHANGE = "change"
    """Engineer: change files of the worktree."""
    ANALYSIS = "analysis"
    """Analyst or engineer: a report, no diff."""
    QA = "qa"
    """QA: look at a finished sprint from the outside."""
    JUDGE = "judge"
    """One seat of the council: verdict on a change or a report."""
    ANSWER = "answer"
    """Whoever is asked: a colleague's question."""
    SUPERVISE = "supervise"
    """Project manager: who waits for whom, who takes a task over, and what to do about it."""
    MEDIATION = "mediation"
    """Project manager: a question of the board whose votes tie, or are not sure."""
    BID = "bid"
    """Whoever may take a task: what it would take, and how sure they are."""


class Document(Record):
    """Something the agent may read: a predecessor's report, a diff, a gate's findings."""

    name: str
    media_type: str = "text/plain"
    text: str


class Feedback(Record):
    """Why an earlier attempt was not accepted, or what a person wants."""

    source: str
    """`gate:<name>`, `judge:<seat>`, `merge`, `person:<who>` or `validation`."""
    text: str
    data: dict[str, Json] = {}


class GateState(Record):
    """How one gate stood at the base commit."""

    name: str
    kind: str
    passed: bool
    failures: tuple[str, ...] = ()
    """Test ids for gates of kind tests; `path:line:code` for lint."""
    counts: dict[str, int] = {}
    """Findings by rule for lint; passed, failed, errors, skipped for tests."""


class Assignment(Record):
    """All that an agent is told. It is journaled as the run's first input step and shown to the model as JSON."""

    work: Work
    project: str
    sprint: int = 0
    task: str
    role: Role
    seat: Seat | None = None
    agent: str
    goal: str
    """The project's goal in the person's words."""
    title: str = ""
    instructions: str = ""
    scope: tuple[str, ...] = ("**",)
    """Globs (gitignore syntax) of the paths that may be changed."""
    acceptance: tuple[str, ...] = ()
    params: dict[str, Json] = {}
    """Machine-readable hints of the plan, such as `{"intent": "repair", "tests": [...]}`."""
    gates: tuple[GateState, ...] = ()
    documents: tuple[Document, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    attempt: int = 1
    colleagues: tuple[str, ...] = ()
    """Agent ids that may be asked."""


class Requirements(Record):
    """Result of the product owner."""

    summary: str
    requirements: tuple[str, ...] = Field(min_length=1)
    out_of_scope: tuple[str, ...] = ()
    acceptance: tuple[str, ...] = ()
    intents: tuple[str, ...] = ()
    """Kinds of maintenance that were recognised in the goal, such as `repair`, `tidy`, `analyze`; free for other models."""


class Finding(Record):
    title: str
    detail: str = ""
    path: str | None = None
    line: int | None = None
    severity: Literal["info", "low", "medium", "high"] = "info"


class Report(Record):
    """Result of an analyst, an analysis task or QA: markdown for people, findings for machines."""

    summary: str
    markdown: str
    findings: tuple[Finding, ...] = ()
    suggested_tasks: tuple[str, ...] = ()
    passed: bool = True
    """QA only: whether the sprint as a whole may go on."""


class PlannedTask(Record):
    id: Slug
    title: str
    kind: TaskKind
    instructions: str
    role: Role = Role.ENGINEER
    depends_on: tuple[str, ...] = ()
    scope: tuple[str, ...] = ("**",)
    acceptance: tuple[str, ...] = ()
    priority: int = 0
    """Higher runs first among the tasks that are ready."""
    params: dict[str, Json] = {}


class PlannedSprint(Record):
    goal: str
    tasks: tuple[PlannedTask, ...] = Field(min_length=1)


class Plan(Record):
    """Result of the architect, and of the project manager when it replans. No sprints means: nothing to do."""

    summary: str
    sprints: tuple[PlannedSprint, ...] = ()
    risks: tuple[str, ...] = ()


class Evidence(Record):
    claim: str
    source: str
    """What supports it: a gate's name, `diff:<path>`, an artifact's name."""


class WorkResult(Record):
    """Result of an engineer."""

    summary: str
    outcome: Literal["changed", "nothing_to_do", "gave_up"]
    evidence: tuple[Evidence, ...] = ()
    alternatives: tuple[str, ...] = ()
    """Candidates that competed with the one applied, one line each."""


class Verdict(Record):
    """Result of a judge."""

    verdict: Answer
    confidence: float = Field(ge=0, le=1)
    reasons: tuple[str, ...] = Field(min_length=1)
    evidence: tuple[Evidence, ...] = ()


class Reply(Record):
    """Result of whoever was asked by a colleague."""

    answer: str = Field(min_length=1, max_length=8_000)
    confidence: float = Field(default=0.5, ge=0, le=1)
    evidence: tuple[Evidence, ...] = ()


class Ruling(Record):
    """What an asker is told in place of the colleague who does not answer."""

    question: str
    """The question's id."""
    answer: str = Field(min_length=1, max_length=8_000)


class Handover(Record):
    """Who takes a task over."""

    task: str
    role: Role
    reason: str = ""


class Supervision(Record):
    """Result of the project manager who looks after a team at work."""

    summary: str
    rulings: tuple[Ruling, ...] = ()
    handovers: tuple[Handover, ...] = ()


class Mediation(Record):
    """Result of the mediator."""

    choice: str
    """One of the options, word for word."""
    reasoning: str = Field(min_length=1, max_length=8_000)
    confidence: float = Field(ge=0, le=1)
    evidence: tuple[Evidence, ...] = ()


class Bid(Record):
    """Result of somebody who may take a task."""

    estimate_steps: int = Field(ge=1, le=1000)
    """Turns that it would take."""
    confidence: float = Field(ge=0, le=1)
    reasons: tuple[str, ...] = ()


RESULTS: dict[Work, type[Record]] = {
    Work.REQUIREMENTS: Requirements,
    Work.SURVEY: Report,
    Work.PLAN: Plan,
    Work.CHANGE: WorkResult,
    Work.ANALYSIS: Report,
    Work.QA: Report,
    Work.JUDGE: Verdict,
    Work.ANSWER: Reply,
    Work.SUPERVISE: Supervision,
    Work.MEDIATION: Mediation,
    Work.BID: Bid,
}
