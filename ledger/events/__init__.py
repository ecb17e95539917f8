"""Everything that can be recorded: a versioned union, one model a kind; unknown fields are refused.

A body never changes its meaning; a new need is a new optional field or a new kind.
"""

from __future__ import annotations

from ledger.events.base import Event
from ledger.events.decisions import (
    ApprovalEscalated,
    ApprovalExpired,
    ApprovalReminded,
    ApprovalRequested,
    ApproversNamed,
    DecisionConsumed,
    DecisionMade,
    DecisionRepeated,
    MessageApplied,
    MessageRefused,
)
from ledger.events.plans import HookRun, PlanConfirmed, PlanEdited, PlanProposed
from ledger.events.projects import (
    BranchDelivered,
    Note,
    PhaseChanged,
    ProjectClosed,
    ProjectOpened,
    SprintFinished,
    StandingChanged,
    TargetPrepared,
)
from ledger.events.runs import (
    BudgetChanged,
    BudgetLow,
    BudgetViolated,
    LateAnswer,
    RunDiverged,
    RunFinished,
    RunRewound,
    RunStarted,
    StepRecorded,
)
from ledger.events.tasks import (
    GatesReported,
    MergeMade,
    MergePrepared,
    MergeRefused,
    RepairChosen,
    TaskAwarded,
    TaskFinished,
    TaskGivenUp,
    TaskStarted,
    VerdictGiven,
)
from ledger.events.teams import (
    QuestionAsked,
    QuestionDecided,
    QuestionSettled,
    StateTimedOut,
    TaskHandedOver,
    TeamSupervised,
    WaitCycleFound,
)

EVENTS: dict[str, type[Event]] = {event.kind: event for event in Event.__subclasses__()}
"""Every kind and its model."""

__all__ = [
    "EVENTS",
    "ApprovalEscalated",
    "ApprovalExpired",
    "ApprovalReminded",
    "ApprovalRequested",
    "ApproversNamed",
    "BranchDelivered",
    "BudgetChanged",
    "BudgetLow",
    "BudgetViolated",
    "DecisionConsumed",
    "DecisionMade",
    "DecisionRepeated",
    "Event",
    "GatesReported",
    "HookRun",
    "LateAnswer",
    "MergeMade",
    "MergePrepared",
    "MergeRefused",
    "MessageApplied",
    "MessageRefused",
    "Note",
    "PhaseChanged",
    "PlanConfirmed",
    "PlanEdited",
    "PlanProposed",
    "ProjectClosed",
    "ProjectOpened",
    "QuestionAsked",
    "QuestionDecided",
    "QuestionSettled",
    "RepairChosen",
    "RunDiverged",
    "RunFinished",
    "RunRewound",
    "RunStarted",
    "SprintFinished",
    "StandingChanged",
    "StateTimedOut",
    "StepRecorded",
    "TargetPrepared",
    "TaskAwarded",
    "TaskFinished",
    "TaskGivenUp",
    "TaskHandedOver",
    "TaskStarted",
    "TeamSupervised",
    "VerdictGiven",
    "WaitCycleFound",
]
