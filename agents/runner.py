"""One agent run from request to outcome: lease, journal, worktree, graph, result."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars

from agents.announcing import Announcer, Beat
from agents.blackboard import Blackboard
from agents.cards import publish_card
from agents.confirming import kept_whole
from agents.context import PROMPT_VERSION, WITHOUT_BOARD, opening
from agents.errors import ConfirmationNeededError, HaltedError, OverBudgetError, RunStoppedError
from agents.feed import Feed
from agents.graphs.registry import GraphFactory, graph_for
from agents.inbox import Inbox
from agents.layout import Layout
from agents.leases import HeldLease
from agents.mailbox import Mailbox
from agents.model_choice import Choices
from agents.models import Models, hearing
from agents.opening import ASSIGNMENT, Opening, load_baseline, read_opening
from agents.policy import TEAM_TOOLS, Policy
from agents.receipts import Pen
from agents.runs import AgentOutcome, AgentRun
from agents.sandbox import Sandbox
from agents.state import Ending, RunContext, begin
from agents.steps import Reading, Steps, Wiring
from agents.target import Baseline
from agents.team import card
from agents.tools.base import Tool
from agents.tools.registry import tools_for
from agents.workplace import Workplace, environment_of, tool_context
from ledger.chain import canonical
from ledger.clock import Clock, utc_now
from ledger.events import RunFinished, RunStarted
from ledger.journal import GroupCommit
from ledger.store import Lease, NewEntry, Store, ThreadInfo
from ledger.vocabulary import AgentState, ArtifactRef, OutcomeKind, Tier, thread_id

log = structlog.get_logger(__name__)

NODES_PER_TURN = 4
"""Think, act, and what may come between; LangGraph's recursion limit counts nodes."""

STATES = {
    OutcomeKind.FINISHED: AgentState.COMPLETED,
    OutcomeKind.REFUSED: AgentState.COMPLETED,
    OutcomeKind.HANDOFF: AgentState.COMPLETED,
    OutcomeKind.NEEDS_HUMAN: AgentState.WAITING_INPUT,
    OutcomeKind.NEEDS_TEAMMATE: AgentState.BLOCKED,
    OutcomeKind.PAUSED: AgentState.BLOCKED,
    OutcomeKind.OVER_BUDGET: AgentState.BLOCKED,
    OutcomeKind.FAILED: AgentState.ERROR,
}


@dataclass(frozen=True)
class AgentDeps:
    """What a worker process holds for its runs."""

    store: Store
    journal: GroupCommit
    gateway: Models
    feed: Feed
    sandbox: Sandbox
    layout: Layout
    worker: str
    clock: Clock = utc_now
    tools: tuple[Tool, ...] = ()
    """Tools of extensions."""
    graphs: Mapping[str, GraphFactory] = field(default_factory=dict[str, GraphFactory])
    """Graphs of extensions, by kind of work."""
    choices: Choices | None = None
    """Models that a person chose for roles; None leaves runs at their own chains."""


async def run_agent(
    request: AgentRun, deps: AgentDeps, *, stopping: asyncio.Event, beat: Beat, holder: str
) -> AgentOutcome:
    """Run one agent to its next outcome, served from the thread's journal as far as that goes.

    Args:
        request: What is asked.
        deps: The worker's own.
        stopping: Once set, no new step starts and the outcome is `paused`.
        beat: Told the ordinal and name of each step that is done for real.
        holder: Who takes the lease; the same holder takes over from itself at once.

    Raises:
        LeaseHeldError: Another holder works on the thread.
        LostLeaseError: Another holder has taken it over; nothing more was written.
        DivergenceError: The journal does not fit the code.
        ModelError: No model could be asked; another attempt goes on from there.
    """
    with bound_contextvars(project=request.project, task=request.task, agent=request.agent):
        return await _Run(request, deps, stopping, beat, holder).outcome()


class _Run:
    def __init__(self, request: AgentRun, deps: AgentDeps, stopping: asyncio.Event, beat: Beat, holder: str) -> None:
        self._request = request
        self._deps = deps
        self._thread = thread_id(request.project, request.sprint, request.task, request.lineage)
        self._announcer = Announcer(deps.feed, request, beat)
        self._held = HeldLease(deps.store, self._info(), holder, stopping)
        self._log = log.bind(thread=self._thread)
        self._questions: set[str] = set()

    def _info(self) -> ThreadInfo:
        request = self._request
        return ThreadInfo(
            thread=self._thread, project=request.project, sprint=request.sprint, task=request.task,
            role=request.role.value, agent=request.agent, budget_scope=request.budget_scope,
            prompt_version=PROMPT_VERSION,
        )  # fmt: skip

    async def outcome(self) -> AgentOutcome:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._announcer)
            await stack.enter_async_context(self._held)
            scratch = stack.enter_context(self._deps.layout.scratch(self._request.project, "run"))
            place = Workplace(self._request, self._deps.layout, scratch)
            steps = await self._steps(place)
            await self._started(steps)
            try:
                with hearing(self._announcer.hears):
                    ending = await self._work(steps, place, scratch)
            except (HaltedError, RunStoppedError) as error:
                ending = Ending(kind=OutcomeKind.PAUSED, summary=str(error))
            except OverBudgetError as error:
                ending = Ending(kind=OutcomeKind.OVER_BUDGET, summary=str(error), exceeded=error.exceeded)
            except ConfirmationNeededError as error:
                call = await kept_whole(error.call, self._deps.store)
                ending = Ending(kind=OutcomeKind.NEEDS_HUMAN, summary=str(error), call=call)
            except Exception as error:
                self._announcer.state(AgentState.ERROR, f"{type(error).__name__}: {error}")
                raise
            return await self._finished(ending, steps, place)

    async def _steps(self, place: Workplace) -> Steps:
        served, _ = await asyncio.gather(self._deps.store.steps(self._thread), self._publish_card(AgentState.IDLE))
        return Steps(
            served,
            Wiring(
                pen=Pen(self._info(), self._held.lease, self._deps.worker),
                submit=self._deps.journal.submit,
                record=self._deps.store.record,
                guard=self._held,
                observer=self._announcer,
                before_first_real=place.bring_to,
            ),
        )

    async def _work(self, steps: Steps, place: Workplace, scratch: Any) -> Ending:
        request, deps = self._request, self._deps
        baseline = await load_baseline(deps.store, request.baseline)
        told = await self._opening(steps, place, baseline)
        environment = await environment_of(baseline, request.project, deps.layout, deps.sandbox)
        policy = Policy.with_extensions(deps.tools)
        offered = self._offered(place, told.prompt)
        context = RunContext(
            request=request,
            assignment=told.assignment,
            steps=steps,
            guard=self._held,
            gateway=deps.gateway,
            mailbox=Mailbox(deps.store, request.project, request.agent, self._inbox()),
            policy=policy,
            offered=offered,
            tool_context=replace(
                tool_context(request, place, deps.sandbox, environment, baseline, policy.programs, scratch),
                board=self._board(),
            ),
            questions=self._questions,
            has_worktree=place.exists,
            window=told.window,
            commit_changes=lambda name, ordinal, sub: place.commit(name, ordinal, sub, self._thread),
            clean=place.clean,
            thread=self._thread,
            record=deps.store.record,
            choices=deps.choices,
        )
        graph = graph_for(request.work, deps.graphs)
        state = await graph.ainvoke(
            begin(opening(told.assignment, told.prompt, told.guidance), request.chain),
            context=context,
            config={"recursion_limit": NODES_PER_TURN * (request.max_steps + 2)},
        )
        return state["ending"]

    async def _opening(self, steps: Steps, place: Workplace, baseline: Baseline | None) -> Opening:
        """Ordinal 0. A served one also says where the worktree began, before anything is done for real."""
        known = steps.known(0)
        if known is not None and known.result is not None:
            place.start = Opening.model_validate(known.result).commit

        async def read() -> Reading:
            start = await place.choose_start()
            return await read_opening(self._request, self._deps.store, baseline, start, self._thread)

        told = Opening.model_validate(await steps.input(0, ASSIGNMENT, read))
        place.start = told.commit
        if known is None:
            await place.open()
        return told

    def _board(self) -> Blackboard:
        request, deps = self._request, self._deps
        return Blackboard(deps.store, request.project, request.task, self._thread, self._held.lease.epoch, deps.clock)

    def _offered(self, place: Workplace, prompt: str) -> dict[str, Tool]:
        request = self._request
        tools = tools_for(request.role, request.work, self._deps.tools, above_tier=request.asks_above_tier)
        if prompt in WITHOUT_BOARD:
            tools = tuple(tool for tool in tools if tool.name not in TEAM_TOOLS)
        offered = {tool.name: tool for tool in tools if place.exists or tool.tier is Tier.OBSERVE}
        if not self._request.colleagues:
            offered.pop("ask", None)
        return offered

    def _inbox(self) -> Inbox:
        return Inbox(self._deps.feed.redis, self._deps.store, self._request.project, self._request.agent)

    async def _publish_card(self, state: AgentState) -> None:
        request = self._request
        shown = card(request.agent, request.role, request.seat, skills=request.skills, state=state, task=request.task)
        await publish_card(self._deps.store, self._deps.feed.redis, request.project, shown)

    async def _started(self, steps: Steps) -> None:
        lease = self._held.lease
        body = RunStarted(
            thread=self._thread, role=self._request.role.value, agent=self._request.agent, epoch=lease.epoch,
            served=steps.totals.steps,
        )  # fmt: skip
        await self._record(body, lease)
        self._log.info("run_started", epoch=lease.epoch, served=steps.totals.steps)

    async def _finished(self, ending: Ending, steps: Steps, place: Workplace) -> AgentOutcome:
        totals = steps.totals
        outcome = AgentOutcome(
            kind=ending.kind, thread=self._thread, summary=ending.summary, result=ending.result,
            artifact=await self._keep(ending), question=ending.question, question_id=ending.question_id,
            to_role=ending.to_role, questions=tuple(sorted(self._questions)),
            to_agent=ending.to_agent, commit=totals.commit or place.start, steps=totals.steps,
            model_calls=totals.model_calls, cost_usd=totals.cost_usd, tokens=totals.tokens, exceeded=ending.exceeded,
            call=ending.call,
        )  # fmt: skip
        body = RunFinished(
            thread=self._thread, outcome=outcome.kind.value, summary=outcome.summary, steps=outcome.steps,
            model_calls=outcome.model_calls, cost_usd=outcome.cost_usd, commit=outcome.commit,
        )  # fmt: skip
        await asyncio.gather(self._record(body, self._held.lease), self._publish_card(STATES[ending.kind]))
        self._announcer.kept(outcome.artifact)
        self._announcer.state(STATES[ending.kind], ending.summary, outcome=ending.kind.value)
        self._log.info("run_finished", outcome=ending.kind.value, steps=totals.steps, calls=totals.model_calls)
        return outcome

    async def _keep(self, ending: Ending) -> ArtifactRef | None:
        """The result as a document that other agents can be given."""
        if ending.kind is not OutcomeKind.FINISHED:
            return None
        request = self._request
        content = canonical(ending.result).encode()
        digest = await self._deps.store.put_artifact(content, "application/json")
        name = f"{request.seat or request.work}:{request.task}"
        return ArtifactRef(name=name, digest=digest, media_type="application/json", size=len(content))

    async def _record(self, body: RunStarted | RunFinished, lease: Lease) -> None:
        entry = NewEntry(
            project=self._request.project,
            key=f"{self._thread}/run/{lease.epoch}/{body.kind}",
            kind=body.kind,
            body=body.model_dump(mode="json"),
        )
        await self._deps.store.record([entry])
