"""The worker: changes or examines the repository; may hand over, refuse, or ask a person."""

from __future__ import annotations

from functools import cache

from agents.graphs.build import Graph, build


@cache
def worker() -> Graph:
    """Compiled on first use, once a process."""
    return build("worker", hands_off=True, refuses=True)
