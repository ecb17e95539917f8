"""The mediator and the bidder: they look, and end with one answer; they hand nothing over."""

from __future__ import annotations

from functools import cache

from agents.graphs.build import Graph, build


@cache
def mediator() -> Graph:
    """Compiled on first use, once a process."""
    return build("mediator", hands_off=False, refuses=False)
