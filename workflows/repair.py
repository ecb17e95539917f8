"""The repair ladder: what to try after a failure. Pure.

L1 the same agent with the failure as feedback, L2 the next model of the chain, L3 another agent from a clean start, L4 a
person. Each of L1 to L3 is taken once; L4 every time after that.
"""

from __future__ import annotations

from enum import IntEnum

from ledger.vocabulary import Record


class Level(IntEnum):
    FEEDBACK = 1
    NEXT_MODEL = 2
    CLEAN_START = 3
    PERSON = 4


REASONS = {
    Level.FEEDBACK: "same agent with the failure as feedback",
    Level.NEXT_MODEL: "next model of the chain",
    Level.CLEAN_START: "another agent from a clean start",
    Level.PERSON: "a person is asked",
}


class Rung(Record):
    """What the next attempt is made with. `chain_offset` counts the models given up, `agent_shift` the agents."""

    level: Level
    chain_offset: int
    agent_shift: int

    @property
    def restart(self) -> bool:
        """Whether the attempt begins on a clean workspace, without the failed work."""
        return self.level is Level.CLEAN_START

    @property
    def reason(self) -> str:
        return REASONS[self.level]


class Ladder:
    """The state of one task's repairs.

    Args:
        models: length of the model chain; with one model L2 is left out.
    """

    def __init__(self, models: int) -> None:
        self._models = models
        self._rung: Rung | None = None
        self.climbed = 0

    @property
    def chain_offset(self) -> int:
        return self._rung.chain_offset if self._rung else 0

    @property
    def agent_shift(self) -> int:
        return self._rung.agent_shift if self._rung else 0

    def climb(self, *, gave_up: bool = False) -> Rung:
        """Choose the next rung.

        Args:
            gave_up: the agent itself says that it cannot; the same agent is then not asked again.
        """
        level = self._next(gave_up)
        self._rung = Rung(
            level=level,
            # A clean start begins with the first model again: its failure may have lain in the state it worked on.
            chain_offset={Level.NEXT_MODEL: self.chain_offset + 1, Level.CLEAN_START: 0}.get(level, self.chain_offset),
            agent_shift=self.agent_shift + (level is Level.CLEAN_START),
        )
        self.climbed += 1
        return self._rung

    def _next(self, gave_up: bool) -> Level:
        reached = self._rung.level if self._rung else 0
        level = Level(min(reached + 1, Level.PERSON))
        if level is Level.FEEDBACK and gave_up:
            level = Level.NEXT_MODEL
        if level is Level.NEXT_MODEL and self._models < 2:
            level = Level.CLEAN_START
        return level
