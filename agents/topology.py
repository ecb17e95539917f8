"""How a team is put together, as data: who gives out tasks and how, who may speak to whom, who judges.

Workflows choose agents by `award`, the bus asks `address_fault`. Neither knows any topology by name. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum

from agents.assignments import Bid
from agents.consensus import weight_of
from ledger.teamwork import AgentFacts
from ledger.vocabulary import Record, Role, Seat

COUNCIL = (Seat.CONSTITUTIONAL, Seat.TECHNICAL, Seat.QUALITY, Seat.INTEGRATION)


class TopologyName(StrEnum):
    SUPERVISOR = "supervisor"
    """The project manager gives tasks out in the order of the plan; everyone may speak to everyone."""
    HIERARCHICAL = "hierarchical"
    """Leads give tasks to whoever of their team fits best; one speaks to one's team and lead, leads among themselves."""
    PEER = "peer"
    """Nobody gives tasks out: whoever has the least to do takes the next one. They meet on the board."""
    MARKET = "market"
    """Agents bid with an estimate and how sure they are; those who bid against each other do not confer."""


class Award(StrEnum):
    """How a task finds its agent."""

    PLACE = "place"
    BEST = "best"
    FREEST = "freest"
    BID = "bid"


class Need(StrEnum):
    """What has to be known before a task is awarded."""

    FACTS = "facts"
    """Load and results of the candidates."""
    BIDS = "bids"


class Topology(Record):
    """One way to work together."""

    name: TopologyName
    assigns: Mapping[Role, Role] = {}
    """Role of the task -> role that gives it out; a role that is missing takes its tasks itself."""
    award: Award
    needs: tuple[Need, ...] = ()
    circles: tuple[frozenset[Role], ...]
    """Two roles may address each other when a circle holds both."""
    same_role: bool = True
    """Whether agents of one role may address each other."""
    pool: int = 12
    """Candidates for one task at most."""
    council: tuple[Seat, ...] = COUNCIL
    """Who judges a change."""


class Candidate(Record):
    """Somebody who could take a task."""

    agent: str
    capabilities: tuple[str, ...] = ()
    facts: AgentFacts | None = None
    load: int = 0
    """Runs at work, and tasks given out that have not begun."""
    bid: Bid | None = None


class Awarded(Record):
    agent: str
    reason: str


_TEAM = frozenset(set(Role) - {Role.JUDGE})
_HUBS = frozenset({Role.PROJECT_MANAGER, Role.PRODUCT_OWNER, Role.ARCHITECT})
_LEADS = {
    Role.ENGINEER: Role.ARCHITECT,
    Role.DEVOPS: Role.ARCHITECT,
    Role.QA: Role.PROJECT_MANAGER,
    Role.ANALYST: Role.PRODUCT_OWNER,
    Role.ARCHITECT: Role.PROJECT_MANAGER,
}

TOPOLOGIES: Mapping[TopologyName, Topology] = {
    topology.name: topology
    for topology in (
        Topology(
            name=TopologyName.SUPERVISOR,
            assigns=dict.fromkeys(_TEAM, Role.PROJECT_MANAGER),
            award=Award.PLACE,
            circles=(_TEAM,),
        ),
        Topology(
            name=TopologyName.HIERARCHICAL,
            assigns=_LEADS,
            award=Award.BEST,
            needs=(Need.FACTS,),
            circles=(_HUBS, *(frozenset({lead, *(role for role in _LEADS if _LEADS[role] is lead)}) for lead in sorted(_HUBS))),
            pool=6,
        ),
        Topology(
            name=TopologyName.PEER, award=Award.FREEST, needs=(Need.FACTS,), circles=(_TEAM,), pool=6
        ),
        Topology(
            name=TopologyName.MARKET,
            assigns=dict.fromkeys(_TEAM, Role.PROJECT_MANAGER),
            award=Award.BID,
            needs=(Need.FACTS, Need.BIDS),
            circles=tuple(_HUBS | {role} for role in sorted(_TEAM - _HUBS)),
            same_role=False,
            pool=3,
        ),
    )
}  # fmt: skip


def award(topology: Topology, wanted: Sequence[str], candidates: Sequence[Candidate], place: int) -> Awarded:
    """Who gets a task.

    Args:
        topology: How it is awarded.
        wanted: Capabilities that would help.
        candidates: In the order of their names; not empty.
        place: Of the task in the plan.

    Raises:
        ValueError: There is nobody to choose from.
    """
    if not candidates:
        raise ValueError("there is no candidate")
    return _AWARDS[topology.award](wanted, candidates, place)


def best_agent(wanted: Sequence[str], candidates: Sequence[Candidate], place: int = 0) -> Awarded:
    """By capabilities, then load, then results; among equals by place, so that neighbours get different agents."""
    order = _rotated(candidates, place)
    chosen = min(order, key=lambda one: (-_matches(wanted, one), one.load, -weight_of(one.facts)))
    return Awarded(agent=chosen.agent, reason=f"{_matches(wanted, chosen)} of {len(wanted)} skills, {_state(chosen)}")


def _by_place(wanted: Sequence[str], candidates: Sequence[Candidate], place: int) -> Awarded:
    return Awarded(agent=candidates[place % len(candidates)].agent, reason="next in the plan")


def _freest(wanted: Sequence[str], candidates: Sequence[Candidate], place: int) -> Awarded:
    order = _rotated(candidates, place)
    chosen = min(order, key=lambda one: (one.load, -_matches(wanted, one), -weight_of(one.facts)))
    return Awarded(agent=chosen.agent, reason=f"had the least to do: {_state(chosen)}")


def _by_bid(wanted: Sequence[str], candidates: Sequence[Candidate], place: int) -> Awarded:
    """The least expected effort: the estimate, divided by how likely it is to do, by the bidder and by its results."""
    bidders = [one for one in _rotated(candidates, place) if one.bid is not None and one.bid.confidence > 0]
    if not bidders:
        return best_agent(wanted, candidates, place)
    chosen = min(bidders, key=lambda one: (_effort(one), one.load))
    assert chosen.bid is not None
    sure = round(chosen.bid.confidence * 100)
    return Awarded(agent=chosen.agent, reason=f"bid {chosen.bid.estimate_steps} turns, {sure} % sure, {_state(chosen)}")


_AWARDS: Mapping[Award, Callable[[Sequence[str], Sequence[Candidate], int], Awarded]] = {
    Award.PLACE: _by_place,
    Award.BEST: best_agent,
    Award.FREEST: _freest,
    Award.BID: _by_bid,
}


def _effort(candidate: Candidate) -> int:
    bid = candidate.bid
    assert bid is not None
    # Whole numbers: the same on every machine that replays the choice.
    return bid.estimate_steps * 10_000_000 // max(round(bid.confidence * 100) * weight_of(candidate.facts), 1)


def _matches(wanted: Sequence[str], candidate: Candidate) -> int:
    has = {capability.lower() for capability in candidate.capabilities}
    return sum(word.lower() in has for word in wanted)


def _state(candidate: Candidate) -> str:
    facts = candidate.facts or AgentFacts(agent=candidate.agent)
    return f"{candidate.load} at work, {facts.succeeded} done well, {facts.failed} badly"


def _rotated(candidates: Sequence[Candidate], place: int) -> list[Candidate]:
    start = place % len(candidates)
    return [*candidates[start:], *candidates[:start]]


def address_fault(topology: Topology, source: str, target: str) -> str | None:
    """Why one agent may not address another; None where it may.

    >>> market = TOPOLOGIES[TopologyName.MARKET]
    >>> address_fault(market, "p.engineer.ada", "p.architect.ada")
    >>> address_fault(market, "p.engineer.ada", "p.engineer.grace")
    'in the topology market agents of the role engineer do not address each other'
    >>> address_fault(market, "p.engineer.ada", "q.architect.ada")
    'q.architect.ada is of another project'
    """
    own, other = _parts(source), _parts(target)
    if own is None or other is None:
        return f"{source if own is None else target} is no agent of a team"
    if own[0] != other[0]:
        return f"{target} is of another project"
    if source == target:
        return "an agent does not address itself"
    if own[1] is other[1] and not topology.same_role:
        return f"in the topology {topology.name} agents of the role {own[1]} do not address each other"
    if not any({own[1], other[1]} <= circle for circle in topology.circles):
        return f"in the topology {topology.name} {own[1]} does not address {other[1]}"
    return None


def colleagues_of(topology: Topology, agent: str, everyone: Iterable[str]) -> tuple[str, ...]:
    """Those of `everyone` whom an agent may address, in their order."""
    return tuple(other for other in everyone if address_fault(topology, agent, other) is None)


def _parts(agent: str) -> tuple[str, Role] | None:
    """Project and role of an id `<project>.<role>.<name>`; judges speak with nobody, so they are no agents of a team."""
    parts = agent.split(".")
    if len(parts) != 3 or parts[1] not in _TEAM:
        return None
    return parts[0], Role(parts[1])
