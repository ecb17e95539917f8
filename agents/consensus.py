"""When a team agrees: rules over votes, and whether a mediator is wanted. Pure, in whole numbers, the same in any order.

A vote weighs 100 unless its agent's results say otherwise; confidence is in percent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from pydantic import Field

from ledger.teamwork import AgentFacts, Question
from ledger.vocabulary import Brief, Record

NEUTRAL = 100
"""Weight of a vote of an agent without results, in percent."""


class RuleKind(StrEnum):
    MAJORITY = "majority"
    """More than half of the votes."""
    QUORUM = "quorum"
    """As many votes for one option as the quorum, and more than for any other."""
    WEIGHTED = "weighted"
    """More than half of the votes, each weighed by its agent's results."""


class ConsensusRule(Brief):
    """How a question is decided; written by people."""

    kind: RuleKind = RuleKind.MAJORITY
    quorum: int = Field(default=2, ge=1)
    """Votes that must be in before anything is decided; for `quorum`: votes for one option."""
    least_confidence: int = Field(default=50, ge=0, le=100)
    """Percent that the winners must be sure of it on average."""


class Ballot(Record):
    """One vote as the rule sees it."""

    choice: str
    confidence: int = Field(default=100, ge=0, le=100)
    weight: int = Field(default=NEUTRAL, ge=0)


class State(StrEnum):
    OPEN = "open"
    """Votes are missing."""
    DECIDED = "decided"
    TIED = "tied"
    """The votes are in and no option wins."""
    UNSURE = "unsure"
    """An option wins, by votes that are not sure of it."""


class Outcome(Record):
    """What the votes amount to. `choice` is the option in front, where one is."""

    state: State
    choice: str | None = None
    counts: dict[str, int] = {}
    """Weight by option."""
    confidence: int = 0
    """Of those who voted for `choice`, on average by weight."""

    @property
    def wants_mediator(self) -> bool:
        """Whether more votes of the same kind would not help: somebody has to look at the reasons."""
        return self.state in (State.TIED, State.UNSURE)


def decide(rule: ConsensusRule, options: Sequence[str], ballots: Iterable[Ballot]) -> Outcome:
    """What votes amount to under a rule. Votes for what is no option are left out."""
    valid = [ballot for ballot in ballots if ballot.choice in options]
    weighed = [(ballot, ballot.weight if rule.kind is RuleKind.WEIGHTED else NEUTRAL) for ballot in valid]
    counts = {option: sum(weight for ballot, weight in weighed if ballot.choice == option) for option in options}
    votes = {option: sum(ballot.choice == option for ballot in valid) for option in options}
    ahead = _ahead(counts)
    if ahead is None or not _wins(rule, ahead, counts):
        return Outcome(state=State.TIED if _are_in(rule, votes) else State.OPEN, choice=ahead, counts=counts)
    if not _are_in(rule, votes):
        return Outcome(state=State.OPEN, choice=ahead, counts=counts)
    confidence = (
        sum(ballot.confidence * weight for ballot, weight in weighed if ballot.choice == ahead) // counts[ahead]
    )
    state = State.DECIDED if confidence >= rule.least_confidence else State.UNSURE
    return Outcome(state=state, choice=ahead, counts=counts, confidence=confidence)


def _ahead(counts: Mapping[str, int]) -> str | None:
    """The option with the most, where no other has as much."""
    most = max(counts.values(), default=0)
    leaders = [option for option, count in counts.items() if count == most and most > 0]
    return leaders[0] if len(leaders) == 1 else None


def _wins(rule: ConsensusRule, ahead: str, counts: Mapping[str, int]) -> bool:
    if rule.kind is RuleKind.QUORUM:
        return counts[ahead] >= rule.quorum * NEUTRAL
    return 2 * counts[ahead] > sum(counts.values())


def _are_in(rule: ConsensusRule, votes: Mapping[str, int]) -> bool:
    """Whether enough voted. Under `quorum`, a tie at the quorum is the one way in which enough decide nothing."""
    number = max(votes.values(), default=0) if rule.kind is RuleKind.QUORUM else sum(votes.values())
    return number >= rule.quorum


def weight_of(facts: AgentFacts | None) -> int:
    """What an agent's vote weighs by its results: 100 without any, towards 200 with successes, towards 0 with failures.

    Laplace's rule of succession, doubled: nobody is silenced by one failure, nobody rules by one success.
    """
    if facts is None:
        return NEUTRAL
    return 2 * NEUTRAL * (facts.succeeded + 1) // (facts.succeeded + facts.failed + 2)


def weigh(rule: ConsensusRule, question: Question, facts: Iterable[AgentFacts] = ()) -> Outcome:
    """The outcome of a question of the board by the votes on it."""
    known = {fact.agent: fact for fact in facts}
    ballots = [
        Ballot(choice=vote.choice, confidence=vote.confidence, weight=weight_of(known.get(vote.agent)))
        for vote in question.votes
    ]
    return decide(rule, question.entry.options, ballots)
