"""Which graph does which work."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agents.assignments import Work
from agents.graphs.build import Graph
from agents.graphs.judge import judge
from agents.graphs.mediator import mediator
from agents.graphs.planner import planner
from agents.graphs.supervisor import supervisor
from agents.graphs.worker import worker

GraphFactory = Callable[[], Graph]

GRAPHS: Mapping[Work, GraphFactory] = {
    Work.REQUIREMENTS: planner,
    Work.SURVEY: worker,
    Work.PLAN: planner,
    Work.CHANGE: worker,
    Work.ANALYSIS: worker,
    Work.QA: worker,
    Work.JUDGE: judge,
    Work.MEDIATION: mediator,
    Work.BID: mediator,
    Work.ANSWER: worker,
    Work.SUPERVISE: supervisor,
}


def graph_for(work: Work, extensions: Mapping[str, GraphFactory]) -> Graph:
    """The graph of a kind of work; an extension of that name replaces the built-in one."""
    return extensions.get(work, GRAPHS[work])()
