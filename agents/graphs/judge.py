"""The judge: a verdict from evidence. It neither refuses nor hands over."""

from __future__ import annotations

from functools import cache

from agents.graphs.build import Graph, build


@cache
def judge() -> Graph:
    """Compiled on first use, once a process."""
    return build("judge", hands_off=False, refuses=False, consults=False)
