"""Which kinds of request are asked, given autonomy, mode and the brief's own wishes. Pure; docs/autonomy.md shows it whole."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.vocabulary import ApprovalKind, Autonomy, Mode
from workflows.approval_policy import KindPolicy

NEEDS = frozenset({ApprovalKind.BUDGET, ApprovalKind.ESCALATION, ApprovalKind.QUESTION})
"""Work that cannot go on without an answer: these ask always, and where a brief forbids it, they go unanswered."""

BY_AUTONOMY: dict[Autonomy, frozenset[ApprovalKind]] = {
    Autonomy.AUTONOMOUS: NEEDS,
    Autonomy.MILESTONE: NEEDS | {ApprovalKind.PLAN, ApprovalKind.MILESTONE},
    Autonomy.SUPERVISED: frozenset(ApprovalKind),
}

BY_MODE: dict[Mode, frozenset[ApprovalKind]] = {
    Mode.DRY_RUN: frozenset(),
    Mode.AUTO: frozenset(),
    Mode.STRICT: frozenset({ApprovalKind.TASK, ApprovalKind.MERGE}),
}

OF_MERGES = frozenset({ApprovalKind.MERGE, ApprovalKind.MILESTONE})
"""Ask before a branch moves; where nothing is merged there is nothing to ask."""


def asked(kind: ApprovalKind, autonomy: Autonomy, mode: Mode, wish: bool | None = None) -> bool:
    """Whether to ask a person; `wish` is what the brief says of the kind, None where it says nothing."""
    if mode is Mode.DRY_RUN and kind in OF_MERGES:
        return False
    if wish is not None:
        return wish
    return kind in BY_AUTONOMY[autonomy] or kind in BY_MODE[mode]


def replans_asked(autonomy: Autonomy, mode: Mode, wish: bool | None = None) -> bool:
    """Whether a later plan, made of what a sprint left, is asked about as the first one is.

    A milestone has just said what comes next, so only who supervises everything is asked again.
    """
    return asked(ApprovalKind.PLAN, autonomy, mode, wish) and autonomy is Autonomy.SUPERVISED


def faults(rules: Mapping[ApprovalKind, KindPolicy]) -> list[str]:
    """What a brief says of asking that cannot be meant."""
    found = [
        f"approvals.{kind.value}: `tools` belongs to the kind `tool`"
        for kind, rule in rules.items()
        if rule.tools and kind is not ApprovalKind.TOOL
    ]
    rule = rules.get(ApprovalKind.TOOL)
    if rule is not None and rule.tools and rule.ask is False:
        found.append("approvals.tool: `ask: false` and `tools` contradict each other")
    return found


def objection_below(present: Mode, wanted: Mode) -> str | None:
    """Why the mode of a sprint or task cannot become another one while it runs; None where it can."""
    if Mode.DRY_RUN in (present, wanted):
        return f"only a project can be changed from {present.value} to {wanted.value}"
    return None


def objection_to_mode(present: Mode, wanted: Mode, *, begun: bool) -> str | None:
    """Why a project's mode cannot become another one while it runs; None where it can.

    `auto` and `strict` differ only in what is asked. A running project can always stop merging; it cannot begin to, once
    sprints ran whose accepted changes were left on their branches and built on by nobody.

    Args:
        begun: whether a sprint has begun.
    """
    if present is Mode.DRY_RUN and wanted is not Mode.DRY_RUN and begun:
        return "a dry run that has begun its sprints has left changes unmerged; start the project anew to merge"
    return None
