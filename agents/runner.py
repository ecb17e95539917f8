"""One agent run from request to outcome: lease, journal, worktree, graph, result."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any, cast

import structlog
from langchain_core.runnables import RunnableConfig
from structlog.contextvars import bound_contextvars

from agents.announcing import Announcer, Beat
from agents.blackboard import Blackboard
from agents.confirming import kept_whole
from agents.context import PROMPT_VERSION, WITHOUT_BOARD, opening
from agents.errors import AgentError, ConfirmationNeededError, HaltedError, OverBudgetError, RunStoppedError
from agents.feed import Feed
from agents.graphs.registry import GraphFactory, graph_for
from agents.inbox import Inbox
from agents.layout import Layout
from agents.leases import TTL, HeldLease, Stop
from agents.mailbox import Mailbox
from agents.model_choice import Choices
from agents.models import Models, hearing
from agents.opening import ASSIGNMENT, Opening, load_baseline, read_opening
from agents.policy import TEAM_TOOLS, Policy
from agents.receipts import Pen
from agents.runs import AgentOutcome, AgentRun
from agents.sandbox import Sandbox
from agents.state import Ending, RunContext, RunState, begin
from agents.steps import Steps
from agents.target import Baseline
from agents.team import card
from agents.tools.base import Tool
from agents.tools.registry import tools_for
from agents.wiring import Reading, Wiring
from agents.workplace import Workplace, environment_of, tool_context
from ledger.chain import canonical
from ledger.clock import Clock, utc_now
from ledger.errors import LeaseHeldError, LedgerError
from ledger.events import RunFinished, RunStarted
from ledger.items import ItemStatus, Mark, Start, Started
from ledger.journal import GroupCommit
from ledger.rows import Budget, Lease, NewEntry, ThreadInfo
from ledger.store import Store
from ledger.teamwork import Card
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
    request: AgentRun,
    deps: AgentDeps,
    *,
    stopping: Stop,
    beat: Beat,
    holder: str,
    spent: Callable[[Sequence[Budget]], None] | None = None,
) -> AgentOutcome:
    """Run one agent to its next outcome, served from the thread's journal as far as that goes.

    Args:
        request: What is asked.
        deps: The worker's own.
        stopping: Once set, no new step starts and the outcome is `paused`.
        beat: Told the ordinal and name of each step that is done for real.
        holder: Who takes the lease; the same holder takes over from itself at once.
        spent: Told the budgets of the run's scope and its ancestors as they stand at the end.

    Raises:
        LeaseHeldError: Another holder works on the thread.
        LostLeaseError: Another holder has taken it over; nothing more was written.
        DivergenceError: The journal does not fit the code.
        ModelError: No model could be asked; another attempt goes on from there.
    """
    with bound_contextvars(project=request.project, task=request.task, agent=request.agent):
        await deps.gateway.ready()  # before anything is held
        outcome, budgets = await _Run(request, deps, stopping, beat, holder).outcome()
    if spent is not None:
        spent(budgets)
    return outcome


class _Run:
    def __init__(self, request: AgentRun, deps: AgentDeps, stopping: Stop, beat: Beat, holder: str) -> None:
        self._request = request
        self._deps = deps
        self._thread = thread_id(request.project, request.sprint, request.task, request.lineage)
        self._announcer = Announcer(deps.feed, request, beat)
        self._held = HeldLease(deps.store, self._info(), holder, stopping, take=self._take)
        self._holder = holder
        self._begun: Started | None = None
        self._log = log.bind(thread=self._thread)
        self._questions: set[str] = set()

    def _info(self) -> ThreadInfo:
        request = self._request
        return ThreadInfo(
            thread=self._thread, project=request.project, sprint=request.sprint, task=request.task,
            role=request.role.value, agent=request.agent, budget_scope=request.budget_scope,
            prompt_version=PROMPT_VERSION,
        )  # fmt: skip

    async def _take(self) -> Lease:
        """Take the thread, and read what the run needs to begin, in one statement."""
        result = await self._deps.journal.submit(Start(info=self._info(), holder=self._holder, ttl=TTL))
        if result.status is ItemStatus.HELD:
            raise LeaseHeldError(self._thread, str(result.detail), result.seconds_left or 0.0)
        if result.started is None:
            raise LedgerError(f"thread {self._thread} cannot be taken: {result.detail}")
        self._begun = result.started
        return result.started.lease

    async def outcome(self) -> tuple[AgentOutcome, Sequence[Budget]]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._held)
            scratch = stack.enter_context(self._deps.layout.later(self._request.project, "run"))
            place = Workplace(self._request, self._deps.layout, scratch)
            steps = self._steps(place)
            self._started(steps)
            try:
                with hearing(self._announcer.hears):
                    ending = await self._work(steps, place, scratch)
                return await self._finished(ending, steps, place)
            except (HaltedError, RunStoppedError) as error:
                ending = Ending(kind=OutcomeKind.PAUSED, summary=str(error))
            except OverBudgetError as error:
                ending = Ending(kind=OutcomeKind.OVER_BUDGET, summary=str(error), exceeded=error.exceeded)
            except ConfirmationNeededError as error:
                call = await kept_whole(error.call, self._deps.store)
                ending = Ending(kind=OutcomeKind.NEEDS_HUMAN, summary=str(error), call=call)
            except (Exception, asyncio.CancelledError) as error:
                await self._give_up(steps, error)
                raise
            return await self._finished(ending, steps, place, after_refusal=True)

    async def _give_up(self, steps: Steps, error: BaseException) -> None:
        """What was done before the error stays done."""
        if isinstance(error, Exception):
            self._announcer.state(AgentState.ERROR, f"{type(error).__name__}: {error}")
        try:
            await steps.flush()
        except (AgentError, LedgerError) as refusal:
            self._log.warning("steps_not_written", error=str(refusal)[:200])

    def _steps(self, place: Workplace) -> Steps:
        assert self._begun is not None  # taken with the lease
        return Steps(
            self._begun.steps,
            Wiring(
                pen=Pen(self._info(), self._held.lease, self._deps.worker),
                submit=self._deps.journal.submit_all,
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
        return await self._walk(begin(opening(told.assignment, told.prompt, told.guidance), request.chain), context)

    async def _walk(self, state: RunState, context: RunContext) -> Ending:
        """Run the graph. Nothing but the ending is asked of it: each state in between would be put together for nobody."""
        request = self._request
        config: RunnableConfig = {"recursion_limit": NODES_PER_TURN * (request.max_steps + 2)}
        graph = graph_for(request.work, self._deps.graphs)
        told = graph.astream(state, config, context=context, stream_mode="values", output_keys="ending")
        *_, ending = [cast("Ending", ending) async for ending in told]  # typed for states as a whole
        return ending

    async def _opening(self, steps: Steps, place: Workplace, baseline: Baseline | None) -> Opening:
        """Ordinal 0. A served one also says where the worktree began, before anything is done for real."""
        known = steps.known(0)
        if known is not None and known.result is not None:
            place.start = Opening.model_validate(known.result).commit

        async def read() -> Reading:
            start = await place.choose_start()
            assert self._begun is not None  # taken with the lease
            return await read_opening(self._request, self._deps.store, self._begun, baseline, start)

        told = Opening.model_validate(await steps.input(0, ASSIGNMENT, read))
        place.start = told.commit
        if known is None:
            if place.exists:
                await steps.flush()  # a worktree is opened where the record says that the run began
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

    def _card(self, state: AgentState) -> Card:
        request = self._request
        return card(request.agent, request.role, request.seat, skills=request.skills, state=state, task=request.task)

    def _started(self, steps: Steps) -> None:
        epoch, served = self._held.lease.epoch, steps.totals.steps
        body = RunStarted(
            thread=self._thread, role=self._request.role.value, agent=self._request.agent, epoch=epoch, served=served
        )
        shown = self._card(AgentState.IDLE)
        self._announcer.show(shown)
        steps.mark(self._mark(body, shown))
        self._log.info("run_started", epoch=epoch, served=served)

    async def _finished(
        self, ending: Ending, steps: Steps, place: Workplace, *, after_refusal: bool = False
    ) -> tuple[AgentOutcome, Sequence[Budget]]:
        totals, document = steps.totals, self._document(ending)
        outcome = AgentOutcome(
            kind=ending.kind, thread=self._thread, summary=ending.summary, result=ending.result,
            artifact=self._reference(document) if document else None, question=ending.question, question_id=ending.question_id,
            to_role=ending.to_role, questions=tuple(sorted(self._questions)),
            to_agent=ending.to_agent, commit=totals.commit or place.start, steps=totals.steps,
            model_calls=totals.model_calls, cost_usd=totals.cost_usd, tokens=totals.tokens, exceeded=ending.exceeded,
            call=ending.call,
        )  # fmt: skip
        body = RunFinished(
            thread=self._thread, outcome=outcome.kind.value, summary=outcome.summary, steps=outcome.steps,
            model_calls=outcome.model_calls, cost_usd=outcome.cost_usd, commit=outcome.commit,
        )  # fmt: skip
        shown = self._card(STATES[ending.kind])
        mark = self._mark(body, shown).model_copy(update={"artifact": document, "releases": self._holder})
        result = await steps.finish(mark, after_refusal=after_refusal)
        self._held.given_back()
        self._announcer.show(shown)
        self._announcer.kept(outcome.artifact)
        self._announcer.state(STATES[ending.kind], ending.summary, outcome=ending.kind.value)
        self._log.info("run_finished", outcome=ending.kind.value, steps=totals.steps, calls=totals.model_calls)
        return outcome, result.budgets

    def _document(self, ending: Ending) -> str | None:
        """The result as a document that other agents can be given."""
        return canonical(ending.result) if ending.kind is OutcomeKind.FINISHED else None

    def _reference(self, document: str) -> ArtifactRef:
        request, content = self._request, document.encode()
        name = f"{request.seat or request.work}:{request.task}"
        digest = hashlib.sha256(content).hexdigest()
        return ArtifactRef(name=name, digest=digest, media_type="application/json", size=len(content))

    def _mark(self, body: RunStarted | RunFinished, shown: Card) -> Mark:
        epoch, project = self._held.lease.epoch, self._request.project
        key = f"{self._thread}/run/{epoch}/{body.kind}"
        entry = NewEntry(project=project, key=key, kind=body.kind, body=body.model_dump(mode="json"))
        return Mark(thread=self._thread, epoch=epoch, project=project, entries=(entry,), card=shown)
