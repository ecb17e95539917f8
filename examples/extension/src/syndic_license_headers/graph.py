"""The graph of surveys: the built-in worker's nodes, but no handing over: a survey is answered by who was asked."""

from __future__ import annotations

from functools import cache

from agents.graphs.build import Graph, build


@cache
def careful_survey() -> Graph:
    """Compiled on first use."""
    return build("careful-survey", hands_off=False, refuses=True)
