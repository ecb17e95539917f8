"""Who waits for whom: open questions as edges between agents, and the circles in them. Pure.

An agent does one thing at a time: one that waits for a colleague answers nobody until it has its answer. A circle of waits
therefore never ends by itself.
"""

from __future__ import annotations

from agents.situations import OpenQuestion


class WaitGraph:
    """Open questions, each an edge from its asker to the agent that is asked."""

    def __init__(self) -> None:
        self._open: dict[str, OpenQuestion] = {}

    def add(self, question: OpenQuestion) -> None:
        """The asker waits from now on. The same id again is the same question."""
        self._open[question.id] = question

    def remove(self, question: str) -> None:
        """It is settled; an id that is not open changes nothing."""
        self._open.pop(question, None)

    def __contains__(self, question: str) -> bool:
        return question in self._open

    @property
    def open(self) -> tuple[OpenQuestion, ...]:
        """In the order in which they were asked."""
        return tuple(self._open.values())

    def others(self, questions: tuple[OpenQuestion, ...]) -> tuple[OpenQuestion, ...]:
        ids = {question.id for question in questions}
        return tuple(question for question in self.open if question.id not in ids)

    def circle(self, question: str) -> tuple[OpenQuestion, ...]:
        """The shortest circle that this question closes, beginning with it; empty where it closes none.

        Each question of a circle is put to the asker of the next one, the last to the asker of the first.
        """
        first = self._open.get(question)
        if first is None:
            return ()
        reached: set[str] = set()
        paths: list[tuple[OpenQuestion, ...]] = [(first,)]
        while paths:
            longer: list[tuple[OpenQuestion, ...]] = []
            for path in paths:
                waits_for = path[-1].to
                if waits_for == first.asker:
                    return path
                if waits_for not in reached:
                    reached.add(waits_for)
                    longer += [(*path, edge) for edge in self.open if edge.asker == waits_for]
            paths = longer
        return ()
