"""Runs that go on from an earlier step, and tasks that are given up, as workflows reach them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from temporalio import activity

from activities.entries import entry
from activities.failures import translated
from activities.lineage_contracts import (
    GivenUp,
    GiveUpTask,
    LineageActivities,
    ReadRun,
    RewindRun,
    Rewound,
    RunSoFar,
)
from agents.git import GitStore
from agents.git_aside import KEPT, branches_below, put_aside
from agents.layout import Layout
from agents.worktree import remove_tree
from ledger import events
from ledger.errors import LineageError
from ledger.rows import Step
from ledger.store import Store
from ledger.vocabulary import StepKind, StepStatus

ZERO = Decimal(0)


class Lineages(LineageActivities):
    """All idempotent: a second rewind is the first one, what is given up already stays so."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    @activity.defn(name="read_run")
    async def read_run(self, request: ReadRun) -> RunSoFar:
        """How many first steps a run has results for, and what it has taken; a run that is not there has none."""
        with translated():
            steps = await self._store.steps(request.thread)
        own = [step for step in steps if step.status is StepStatus.DONE and step.origin is None]
        return RunSoFar(
            thread=request.thread,
            steps=_leading(steps),
            model_calls=sum(step.kind is StepKind.MODEL for step in own),
            cost_usd=sum((step.cost_usd for step in own), start=ZERO),
            tokens=sum(step.usage.tokens for step in own if step.usage is not None),
        )

    @activity.defn(name="rewind_run")
    async def rewind_run(self, request: RewindRun) -> Rewound:
        """Begin the new lineage, on the record."""
        with translated():
            try:
                forked = await self._store.fork(request.source, request.target, request.step)
            except LineageError as error:
                return Rewound(refusal=str(error))
            body = events.RunRewound(
                source=request.source,
                target=request.target,
                step=request.step,
                sprint=request.sprint,
                task=request.task,
                commit=forked.commit,
                claimed_by=request.by,
            )
            await self._store.record([entry(request.project, f"{request.target}/rewound", body)])
        return Rewound(commit=forked.commit, in_doubt=forked.in_doubt)

    @activity.defn(name="give_up_task")
    async def give_up_task(self, request: GiveUpTask) -> GivenUp:
        """Take leases, settle reservations, remove worktrees, put the branch aside; what it was stays on the record."""
        with translated():
            in_doubt = await self._store.retire(request.project, request.sprint, request.task)
            commit, kept = await self._put_branch_aside(request)
            body = events.TaskGivenUp(
                sprint=request.sprint,
                task=request.task,
                branch=request.branch,
                commit=commit,
                kept=kept,
                in_doubt=in_doubt,
                by=request.by,
                reason=request.reason,
            )
            await self._store.record([entry(request.project, f"given-up/{request.branch}/{commit or 'nothing'}", body)])
        return GivenUp(commit=commit, kept=kept, in_doubt=in_doubt)

    async def _put_branch_aside(self, request: GiveUpTask) -> tuple[str | None, str | None]:
        git = GitStore(self._layout.repository(request.project))
        commit = await put_aside(git, request.branch, request.base_commit)
        # Branches of those who only read, such as judges, hold nothing of their own.
        readers = await branches_below(git, f"run/{request.project}.s{request.sprint}.{request.task}.")
        for branch in readers:
            await put_aside(git, branch, branch)
        for branch in (request.branch, *readers):
            await asyncio.to_thread(remove_tree, self._layout.tree(request.project, branch))
        return commit, f"{KEPT}/{request.branch}" if commit is not None else None


def _leading(steps: Sequence[Step]) -> int:
    """How many ordinals in a row, from 0, have results."""
    done = {step.ordinal for step in steps}
    undone = {step.ordinal for step in steps if step.status in (StepStatus.RESERVED, StepStatus.IN_DOUBT)}
    undone |= {step.ordinal for step in steps if step.status is StepStatus.FAILED and step.kind is StepKind.MODEL}
    count = 0
    while count in done and count not in undone:
        count += 1
    return count
