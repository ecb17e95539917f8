"""Who takes a task: candidates, what has to be known of them, and the award that the project's topology names."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

from pydantic import ValidationError

from activities.team_contracts import SurveyTeam, TeamActivities, TeamFacts
from agents.assignments import Bid, PlannedTask, Work
from agents.roles import AGENT_TYPES
from agents.runs import AgentRun
from agents.topology import TOPOLOGIES, Awarded, Candidate, Need, Topology, award
from ledger.events import TaskAwarded
from ledger.teamwork import AgentFacts
from ledger.vocabulary import OutcomeKind
from workflows import options, team
from workflows.crew import Crew
from workflows.lifecycle import Lifecycle
from workflows.specs import SprintSpec, TaskSpec
from workflows.stopping import together
from workflows.worklist import Worklist

BID_STEPS = 8
"""Turns that a bid may take: it looks, it does not work."""


class Assigning:
    """Gives out the tasks of one sprint."""

    def __init__(self, life: Lifecycle, crew: Crew, spec: SprintSpec, worklist: Worklist) -> None:
        self._life = life
        self._crew = crew
        self._spec = spec
        self._topology = TOPOLOGIES[spec.team.topology]
        self._given: Counter[str] = Counter()
        self._one = asyncio.Lock()
        self._list = worklist

    async def assign(self, spec: TaskSpec) -> TaskSpec:
        """The task with its agent. One task at a time, so that each choice knows of the one before."""
        async with self._one:
            if (named := self._list.named.get(spec.task.id)) is not None:
                return self._give(spec, named)
            place = spec.place or 0
            candidates = self._candidates(spec.task)
            for need in self._topology.needs:
                candidates = await _NEEDS[need](self, spec, candidates)
            chosen = award(self._topology, wanted(spec.task), candidates, place)
            self._note(spec, chosen, candidates)
            return self._give(spec, chosen.agent)

    def _give(self, spec: TaskSpec, agent: str) -> TaskSpec:
        self._given[agent] += 1
        self._list.agents[spec.task.id] = agent
        return spec.model_copy(update={"agent": agent})

    def done(self, task: str) -> None:
        """The task has ended; its agent is free for others."""
        if (agent := self._list.agents.get(task)) is not None:
            self._given[agent] -= 1

    def _candidates(self, task: PlannedTask) -> list[Candidate]:
        """Agents of the role whose folder the task touches, everyone where nobody's does."""
        plan, kind = self._spec.team, AGENT_TYPES[task.role]
        names = tuple(dict.fromkeys((*plan.names_of(task.role), *team.BEGINNERS)))[: self._topology.pool]
        ids = [team.named(self._life.project, task.role, name) for name in names]
        fit = [agent for agent in ids if plan.narrowed(agent, task.scope) is not None] or ids
        return [Candidate(agent=agent, capabilities=(*kind.capabilities, *plan.skills(agent))) for agent in fit]

    async def facts(self, spec: TaskSpec, candidates: list[Candidate]) -> list[Candidate]:
        """With load and results."""
        request = SurveyTeam(project=spec.project)
        told: TeamFacts = await self._life.call(
            TeamActivities.survey_team, request, options.RECORD, f"who could take {spec.task.id}"
        )
        known = {facts.agent: facts for facts in told.agents}
        return [
            one.model_copy(update={"facts": known.get(one.agent), "load": self._load(one, known.get(one.agent))})
            for one in candidates
        ]

    def _load(self, one: Candidate, facts: AgentFacts | None) -> int:
        at_work = facts.load if facts is not None else 0
        # What this sprint has given out may have begun already: the larger number is the truth.
        return max(at_work, self._given[one.agent])

    async def bids(self, spec: TaskSpec, candidates: list[Candidate]) -> list[Candidate]:
        """With bids; whoever gives no valid one does not bid."""
        bids = await together(*(self._bid(spec, one) for one in candidates))
        return [one.model_copy(update={"bid": bid}) for one, bid in zip(candidates, bids, strict=True)]

    async def _bid(self, spec: TaskSpec, one: Candidate) -> Bid | None:
        outcome = await self._crew.engage(self._bid_run(spec, one), f"bid of {one.agent} for {spec.task.id}")
        if outcome.kind is not OutcomeKind.FINISHED:
            return None
        try:
            return Bid.model_validate(outcome.result)
        except ValidationError:
            return None

    def _bid_run(self, spec: TaskSpec, one: Candidate) -> AgentRun:
        task = spec.task
        return AgentRun(
            project=spec.project,
            sprint=spec.sprint,
            task=task.id,
            lineage=f"bid-{one.agent.rsplit('.', 1)[-1]}",
            role=task.role,
            agent=one.agent,
            work=Work.BID,
            goal=spec.goal,
            title=task.title,
            instructions=task.instructions,
            scope=task.scope,
            acceptance=task.acceptance,
            params={**task.params, "task": task.model_dump(mode="json")},
            chain=team.chain_of(spec.models, task.role),
            base_commit=spec.base_commit,
            baseline=spec.baseline,
            max_steps=min(BID_STEPS, spec.max_steps),
            budget_scope=self._life.subject,
        )

    def _note(self, spec: TaskSpec, chosen: Awarded, candidates: list[Candidate]) -> None:
        if not self._topology.needs:
            return  # nothing was weighed, and the start of the task names its agent
        event = TaskAwarded(
            sprint=spec.sprint,
            task=spec.task.id,
            agent=chosen.agent,
            topology=self._topology.name.value,
            by=giver(self._topology, spec),
            reason=chosen.reason,
            bids={
                one.agent: f"{one.bid.estimate_steps} turns, {round(one.bid.confidence * 100)} %"
                for one in candidates
                if one.bid is not None
            },
        )
        self._life.note(event, f"{spec.task.id} goes to {chosen.agent}: {chosen.reason}")


_NEEDS = {Need.FACTS: Assigning.facts, Need.BIDS: Assigning.bids}


def giver(topology: Topology, spec: TaskSpec) -> str:
    """Who gives the task out: a role, or the one who takes it."""
    lead = topology.assigns.get(spec.task.role)
    return lead.value if lead is not None else spec.task.role.value


def wanted(task: PlannedTask) -> tuple[str, ...]:
    """Capabilities that a task asks for: its intent and the skills that the plan names."""
    params: dict[str, Any] = task.params
    skills: Any = params.get("skills")
    named = [str(skill) for skill in cast("list[Any]", skills)] if isinstance(skills, list | tuple) else []
    intent = params.get("intent")
    return tuple(dict.fromkeys(([intent] if isinstance(intent, str) else []) + named))
