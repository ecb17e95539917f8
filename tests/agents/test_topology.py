from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.assignments import Bid
from agents.topology import (
    TOPOLOGIES,
    Award,
    Candidate,
    Need,
    Topology,
    TopologyName,
    address_fault,
    award,
    best_agent,
    colleagues_of,
)
from ledger.teamwork import AgentFacts
from ledger.vocabulary import Role

names = st.sampled_from(["ada", "grace", "barbara", "edsger", "donald"])
bids = st.none() | st.builds(Bid, estimate_steps=st.integers(1, 50), confidence=st.floats(0, 1))


@st.composite
def teams(draw: st.DrawFn) -> list[Candidate]:
    found = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    return [
        candidate(
            name,
            skills=tuple(draw(st.sets(st.sampled_from(["repair", "typing", "docs"])))),
            load=draw(st.integers(0, 3)),
            done=draw(st.integers(0, 5)),
            lost=draw(st.integers(0, 5)),
            bid=draw(bids),
        )
        for name in found
    ]


def candidate(
    name: str, skills: tuple[str, ...] = (), load: int = 0, done: int = 0, lost: int = 0, bid: Bid | None = None
) -> Candidate:
    agent = f"p.engineer.{name}"
    facts = AgentFacts(agent=agent, load=load, succeeded=done, failed=lost)
    return Candidate(agent=agent, capabilities=skills, facts=facts, load=load, bid=bid)


def offer(steps: int, confidence: float) -> Bid:
    return Bid(estimate_steps=steps, confidence=confidence)


@given(team=teams(), place=st.integers(0, 20), topology=st.sampled_from(list(TOPOLOGIES.values())))
def test_a_task_always_goes_to_one_of_the_candidates_and_the_same_one_again(
    team: list[Candidate], place: int, topology: Topology
) -> None:
    chosen = award(topology, ["repair"], team, place)
    assert chosen.agent in {one.agent for one in team}
    assert chosen == award(topology, ["repair"], team, place)


@given(team=teams(), seed=st.integers(0, 99))
def test_the_best_agent_has_the_most_skills_then_the_least_load_in_any_order(team: list[Candidate], seed: int) -> None:
    mixed = random.Random(seed).sample(team, len(team))
    chosen = next(one for one in team if one.agent == best_agent(["repair", "docs"], mixed).agent)

    def rank(one: Candidate) -> tuple[int, int]:
        return -len({"repair", "docs"} & set(one.capabilities)), one.load

    assert rank(chosen) == min(map(rank, team))


@given(team=teams(), place=st.integers(0, 9))
def test_who_bids_without_hope_wins_only_where_nobody_has_any(team: list[Candidate], place: int) -> None:
    chosen = award(TOPOLOGIES[TopologyName.MARKET], [], team, place).agent
    hopeful = {one.agent for one in team if one.bid is not None and one.bid.confidence > 0}
    assert not hopeful or chosen in hopeful


@pytest.mark.parametrize(
    ("kind", "team", "winner"),
    [
        (Award.PLACE, [candidate("ada"), candidate("bob")], "bob"),
        (Award.BEST, [candidate("ada", load=1), candidate("bob", ("typing",), load=2)], "bob"),
        (Award.BEST, [candidate("ada", lost=2), candidate("bob")], "bob"),
        (Award.BEST, [candidate("ada"), candidate("bob", load=1)], "ada"),
        (Award.FREEST, [candidate("ada"), candidate("bob", ("typing",), load=1)], "ada"),
        (Award.BID, [candidate("ada", bid=offer(10, 0.9)), candidate("bob", bid=offer(8, 0.5))], "ada"),
        (Award.BID, [candidate("ada", bid=offer(9, 0.9), lost=3), candidate("bob", bid=offer(9, 0.7))], "bob"),
        (Award.BID, [candidate("ada", bid=offer(1, 0)), candidate("bob", bid=offer(40, 0.2))], "bob"),
        (Award.BID, [candidate("ada"), candidate("bob", ("typing",))], "bob"),
    ],
)
def test_awards_by_example(kind: Award, team: list[Candidate], winner: str) -> None:
    topology = next(one for one in TOPOLOGIES.values() if one.award is kind)
    assert award(topology, ["typing"], team, 1).agent == f"p.engineer.{winner}"


def test_nobody_can_be_chosen_from_nobody() -> None:
    with pytest.raises(ValueError, match="no candidate"):
        award(TOPOLOGIES[TopologyName.PEER], [], [], 0)


def test_every_topology_is_described_and_only_the_market_costs_runs() -> None:
    assert set(TOPOLOGIES) == set(TopologyName)
    assert [name for name, one in TOPOLOGIES.items() if Need.BIDS in one.needs] == [TopologyName.MARKET]
    assert TOPOLOGIES[TopologyName.SUPERVISOR].needs == ()


@pytest.mark.parametrize(
    ("name", "source", "target", "may"),
    [
        ("supervisor", "p.engineer.ada", "p.engineer.bob", True),
        ("supervisor", "p.engineer.ada", "p.architect.bob", True),
        ("hierarchical", "p.engineer.ada", "p.architect.bob", True),
        ("hierarchical", "p.engineer.ada", "p.devops.bob", True),
        ("hierarchical", "p.engineer.ada", "p.product_owner.bob", False),
        ("hierarchical", "p.architect.ada", "p.product_owner.bob", True),
        ("hierarchical", "p.analyst.ada", "p.engineer.bob", False),
        ("peer", "p.qa.ada", "p.analyst.bob", True),
        ("market", "p.engineer.ada", "p.engineer.bob", False),
        ("market", "p.engineer.ada", "p.qa.bob", False),
        ("market", "p.qa.ada", "p.project_manager.bob", True),
    ],
)
def test_who_may_address_whom(name: str, source: str, target: str, may: bool) -> None:
    topology = TOPOLOGIES[TopologyName(name)]
    assert (address_fault(topology, source, target) is None) is may
    assert (address_fault(topology, target, source) is None) is may
    assert colleagues_of(topology, source, [source, target]) == ((target,) if may else ())


@given(source=st.text(), target=st.text(), topology=st.sampled_from(list(TOPOLOGIES.values())))
def test_nobody_addresses_who_is_no_agent(source: str, target: str, topology: Topology) -> None:
    assert address_fault(topology, source, "p.engineer.ada") is not None
    assert address_fault(topology, "p.engineer.ada", target) is not None


@pytest.mark.parametrize("name", TopologyName)
@pytest.mark.parametrize("other", ["q.architect.ada", "p.judge.technical", "p.engineer.ada", "syndic", "*"])
def test_other_projects_judges_and_oneself_are_out_of_reach(name: TopologyName, other: str) -> None:
    assert address_fault(TOPOLOGIES[name], "p.engineer.ada", other) is not None


def test_every_role_of_a_team_is_heard_by_somebody() -> None:
    for topology in TOPOLOGIES.values():
        for role in set(Role) - {Role.JUDGE}:
            others = (f"p.{other}.bob" for other in Role)
            assert colleagues_of(topology, f"p.{role}.ada", others), (topology.name, role)
