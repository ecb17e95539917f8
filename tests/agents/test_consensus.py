from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.consensus import Ballot, ConsensusRule, RuleKind, State, decide, weight_of
from ledger.teamwork import AgentFacts

OPTIONS: tuple[str, ...] = ("left", "right", "wait")

rules = st.builds(
    ConsensusRule, kind=st.sampled_from(RuleKind), quorum=st.integers(1, 6), least_confidence=st.integers(0, 100)
)
ballots = st.lists(
    st.builds(
        Ballot,
        choice=st.sampled_from((*OPTIONS, "something else")),
        confidence=st.integers(0, 100),
        weight=st.integers(0, 199),
    ),
    max_size=9,
)


def votes(*choices: str, confidence: int = 90, weight: int = 100) -> list[Ballot]:
    return [Ballot(choice=choice, confidence=confidence, weight=weight) for choice in choices]


@given(rule=rules, cast=ballots, seed=st.integers(0, 99))
def test_the_order_of_votes_never_matters(rule: ConsensusRule, cast: list[Ballot], seed: int) -> None:
    mixed = random.Random(seed).sample(cast, len(cast))
    assert decide(rule, OPTIONS, mixed) == decide(rule, OPTIONS, cast)


@given(rule=rules, cast=ballots)
def test_what_is_decided_has_the_most_votes_the_quorum_and_the_confidence(
    rule: ConsensusRule, cast: list[Ballot]
) -> None:
    outcome = decide(rule, OPTIONS, cast)
    assert outcome.wants_mediator == (outcome.state in (State.TIED, State.UNSURE))
    if outcome.state in (State.DECIDED, State.UNSURE):
        assert outcome.choice in OPTIONS
        assert all(
            outcome.counts[outcome.choice] > outcome.counts[other] for other in OPTIONS if other != outcome.choice
        )
        assert sum(ballot.choice in OPTIONS for ballot in cast) >= rule.quorum
        assert (outcome.confidence >= rule.least_confidence) == (outcome.state is State.DECIDED)
        if rule.kind is not RuleKind.QUORUM:
            assert 2 * outcome.counts[outcome.choice] > sum(outcome.counts.values())


@given(rule=rules, cast=ballots)
def test_another_sure_vote_for_what_is_decided_changes_nothing(rule: ConsensusRule, cast: list[Ballot]) -> None:
    before = decide(rule, OPTIONS, cast)
    if before.state is State.DECIDED and before.choice is not None:
        after = decide(rule, OPTIONS, [*cast, *votes(before.choice, confidence=100)])
        assert (after.state, after.choice) == (State.DECIDED, before.choice)


@given(rule=rules, cast=ballots, names=st.permutations(OPTIONS))
def test_no_option_is_preferred_by_its_name(rule: ConsensusRule, cast: list[Ballot], names: list[str]) -> None:
    renamed = dict(zip(OPTIONS, names, strict=True))
    others = [ballot.model_copy(update={"choice": renamed.get(ballot.choice, ballot.choice)}) for ballot in cast]
    one, two = decide(rule, OPTIONS, cast), decide(rule, OPTIONS, others)
    assert one.state == two.state
    assert two.choice == (renamed[one.choice] if one.choice else None)


@given(cast=ballots)
def test_votes_of_one_weight_are_a_majority_weighted_or_not(cast: list[Ballot]) -> None:
    level = [ballot.model_copy(update={"weight": 100}) for ballot in cast]
    plain, weighted = (
        decide(ConsensusRule(kind=kind), OPTIONS, level) for kind in (RuleKind.MAJORITY, RuleKind.WEIGHTED)
    )
    assert plain == weighted


@pytest.mark.parametrize(
    ("kind", "cast", "state", "choice"),
    [
        (RuleKind.MAJORITY, votes("left"), State.OPEN, "left"),
        (RuleKind.MAJORITY, votes("left", "left", "right"), State.DECIDED, "left"),
        (RuleKind.MAJORITY, votes("left", "right"), State.TIED, None),
        (RuleKind.MAJORITY, votes("left", "left", "right", "wait"), State.TIED, "left"),
        (RuleKind.MAJORITY, votes("left", "left", confidence=20), State.UNSURE, "left"),
        (RuleKind.QUORUM, votes("left", "left", "right", "wait"), State.DECIDED, "left"),
        (RuleKind.QUORUM, votes("left", "right", "wait"), State.OPEN, None),
        (RuleKind.QUORUM, votes("left", "left", "right", "right"), State.TIED, None),
        (RuleKind.WEIGHTED, [*votes("left", "right", weight=60), *votes("wait", weight=150)], State.DECIDED, "wait"),
        (RuleKind.MAJORITY, [], State.OPEN, None),
    ],
)
def test_rules_by_example(kind: RuleKind, cast: list[Ballot], state: State, choice: str | None) -> None:
    outcome = decide(ConsensusRule(kind=kind), OPTIONS, cast)
    assert (outcome.state, outcome.choice) == (state, choice)


@given(good=st.integers(0, 50), bad=st.integers(0, 50))
def test_results_move_a_votes_weight_but_never_silence_or_crown_it(good: int, bad: int) -> None:
    facts = AgentFacts(agent="a", succeeded=good, failed=bad)
    better = facts.model_copy(update={"succeeded": good + 1})
    assert 0 < weight_of(facts) < 200
    assert weight_of(better) >= weight_of(facts)
    assert weight_of(None) == weight_of(AgentFacts(agent="a")) == 100
