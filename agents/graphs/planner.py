"""The planner: requirements and plans. It may refuse the goal, and hands nothing over."""

from __future__ import annotations

from functools import cache

from agents.graphs.build import Graph, build


@cache
def planner() -> Graph:
    """Compiled on first use, once a process."""
    return build("planner", hands_off=False, refuses=True)
