"""Workflows that wait for a person, one for each kind of request: in a project, in a sprint, or in a task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from agents.assignments import Work, WorkResult
from agents.runs import AgentOutcome, AgentRun, PendingCall
from ledger.vocabulary import ApprovalKind, OutcomeKind, sprint_workflow_id, task_workflow_id
from tests.support.signing import approvers, signed
from tests.workflows.recorded import Books
from tests.workflows.script import Script, change, done, ended, plan
from tests.workflows.world import World, eventually
from workflows.approval_models import ApprovalView

OF_PROJECTS = (ApprovalKind.PLAN, ApprovalKind.ARCHITECTURE, ApprovalKind.MERGE, ApprovalKind.MILESTONE)
"""Kinds that a project asks, or its sprint; a task that starts alone asks the others."""


@dataclass(frozen=True)
class Stand:
    """One workflow and the request that it waits with."""

    world: World
    books: Books
    kind: ApprovalKind
    view: ApprovalView

    @property
    def id(self) -> str:
        return self.view.workflow_id

    def about(self, **changes: Any) -> Stand:
        """The same with a request that is not the one that was made."""
        return replace(self, view=self.view.model_copy(update=changes))

    def written(self, kind: str) -> list[dict[str, Any]]:
        """Entries of this kind that the workflow wrote."""
        return self.books.bodies(self.id, kind)

    def answer(self, way: str, by: str = "pat", decision: str = "approve", **more: Any) -> dict[str, Any]:
        """What decides about the request, as it is sent this way."""
        if self.kind is ApprovalKind.BUDGET:
            more = {"budget_usd": "100", **more}
        if way == "signed":
            return signed(self.view, by, decision, datetime.now(UTC), **more)
        if way == "batch":
            return {"all_of": self.kind.value, "decision": decision, "by": by, **more}
        return {"approval": self.view.id, "decision": decision, "by": by, "digest": self.view.digest, **more}


def other(kind: ApprovalKind) -> ApprovalKind:
    """A kind of which nothing is asked where this one is."""
    return ApprovalKind.PLAN if kind is not ApprovalKind.PLAN else ApprovalKind.TOOL


async def stand(
    world: World, books: Books, kind: ApprovalKind, *, signed: bool, expires_h: float | None = None
) -> Stand:
    """Start what asks for this kind, and wait until it does. Of the approvers, kim may not decide about it."""
    keys = approvers("pat", "lee") + [{**one, "kinds": [other(kind).value]} for one in approvers("kim")]
    rules = {kind.value: {"ask": True, "signed": signed, "expires_h": expires_h}}
    if kind in OF_PROJECTS:
        await world.start(approvers=keys, approvals=rules)
        where = sprint_workflow_id(world.project, 1) if kind is ApprovalKind.MERGE else world.id
    else:
        task = {"id": kind.value, "title": f"Change {kind.value}", "kind": "change", "instructions": "i"}
        await world.start_task({"task": task, "autonomy": "autonomous", "approvers": keys, "approvals": rules})
        where = task_workflow_id(world.project, 1, kind.value)
    await eventually(lambda: books.bodies(where, "approval_requested"))
    approvals = await world.approvals(where)
    return Stand(world, books, kind, (*approvals.open, *approvals.decided)[0])


def hire(script: Script, paid: set[str]) -> None:
    """Agents that need the persons of all stands. `paid`: projects whose agent ran out of money already."""

    def wants_a_tool(run: AgentRun) -> AgentOutcome:
        call = PendingCall(place="t/0/0", tool="deploy", tier="MERGE", arguments={}, digest="d", why="tier")
        return script.usual(run) if run.rulings else ended(run, OutcomeKind.NEEDS_HUMAN, "wants to deploy", call=call)

    def asks(run: AgentRun) -> AgentOutcome:
        question = ended(run, OutcomeKind.NEEDS_HUMAN, "asks", question="left or right?", question_id="q")
        return question if run.answer is None else script.usual(run)

    def runs_out(run: AgentRun) -> AgentOutcome:
        if run.project in paid:
            return script.usual(run)
        paid.add(run.project)
        return ended(run, OutcomeKind.OVER_BUDGET, "the next call could exceed the limit")

    def gives_up(run: AgentRun) -> AgentOutcome:
        return done(run, WorkResult(summary="no template fits", outcome="gave_up"))

    script.plan = plan(change("one"))
    for kind, say in (
        (ApprovalKind.TOOL, wants_a_tool),
        (ApprovalKind.QUESTION, asks),
        (ApprovalKind.BUDGET, runs_out),
        (ApprovalKind.ESCALATION, gives_up),
    ):
        script.agents[(Work.CHANGE, kind.value)] = say
