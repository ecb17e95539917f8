"""Tools, gates and graphs that other distributions bring, found by entry point.

An extension is code that the operator installed, so it is trusted like Syndic itself; what it adds is not: its tools are
held against policy like any other and start with no role at all. A broken one is an error that names its distribution,
because a worker that quietly lacks a gate would merge what the gate is there to stop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import wraps
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from agents.assignments import Work
from agents.errors import AgentError
from agents.policy import BUILT_IN
from agents.target import Environment, GateSpec
from agents.tools.answers import MAX_CONTENT, failure, guarded
from agents.tools.base import Tool, ToolContext, ToolResult
from ledger.vocabulary import Tier

if TYPE_CHECKING:
    from agents.graphs.registry import GraphFactory

TOOLS, GATES, GRAPHS = "syndic.tools", "syndic.gates", "syndic.graphs"
"""Entry-point groups."""

GateFinder = Callable[[Path, Environment], tuple[GateSpec, ...]]
"""Given a tree and the target's environment, the gates that it should pass; none where the extension has no say."""

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,63}$")


class ExtensionError(AgentError):
    """An extension is broken; the message names its distribution."""

    def __init__(self, point: EntryPoint, reason: str) -> None:
        distribution = point.dist.name if point.dist else "an unknown distribution"
        super().__init__(
            f"the extension {point.name!r} ({point.group}, {point.value}) of the distribution {distribution!r} cannot be "
            f"used: {reason}. Mend it, or uninstall {distribution!r}."
        )
        self.distribution = distribution


def load_tools() -> tuple[Tool, ...]:
    """Tools of all installed extensions, by name.

    Raises:
        ExtensionError: One cannot be imported, is no `Tool`, or has the name of another tool.
    """
    return tuple(_checked_tool(point, found) for point, found in _load(TOOLS, taken=BUILT_IN))


def load_gates() -> tuple[GateFinder, ...]:
    """Gate finders of all installed extensions.

    Raises:
        ExtensionError: One cannot be imported or called; the finders themselves raise it too.
    """
    return tuple(_checked_finder(point, found) for point, found in _load(GATES))


def load_graphs() -> dict[str, GraphFactory]:
    """Graphs by the kind of work they do in place of the built-in one.

    Raises:
        ExtensionError: One cannot be imported or called, or there is no such kind of work.
    """
    graphs: dict[str, GraphFactory] = {}
    for point, found in _load(GRAPHS):
        if point.name not in list(Work):
            raise ExtensionError(point, f"its name must be a kind of work ({', '.join(Work)})")
        graphs[point.name] = _callable(point, found)
    return graphs


def _load(group: str, taken: frozenset[str] = frozenset()) -> Iterator[tuple[EntryPoint, Any]]:
    """Entry points in order of their names, imported; no name twice."""
    seen = dict.fromkeys(taken, "Syndic")
    for point in sorted(_unique(group), key=lambda point: (point.name, point.value)):
        if point.name in seen:
            raise ExtensionError(point, f"{seen[point.name]!r} already has one of that name")
        seen[point.name] = point.dist.name if point.dist else "another distribution"
        try:
            found = point.load()
        except Exception as error:  # whatever its import raises, the operator must learn whose it was
            raise ExtensionError(
                point, f"importing it failed with {type(error).__name__}: {str(error)[:500]}"
            ) from error
        yield point, found


def _unique(group: str) -> list[EntryPoint]:
    """A distribution that lies on the path twice is one distribution."""
    found = {
        (point.dist.name if point.dist else "", point.name, point.value): point for point in entry_points(group=group)
    }
    return list(found.values())


def _checked_tool(point: EntryPoint, found: Any) -> Tool:
    if not isinstance(found, Tool):
        raise ExtensionError(point, f"it is no agents.tools.base.Tool but {type(found).__name__}")
    if found.name != point.name or not _NAME.match(found.name):
        raise ExtensionError(
            point, f"tool and entry point must have the same name of a-z, 0-9 and _, not {found.name!r}"
        )
    if not issubclass(found.arguments, BaseModel):
        raise ExtensionError(point, "its arguments are no pydantic model")
    if found.writes and found.tier < Tier.WRITE:
        raise ExtensionError(point, f"it writes and therefore needs tier {Tier.WRITE.name}, not {found.tier.name}")
    return replace(found, run=guarded(_bounded(found)))


def _bounded(tool: Tool) -> Callable[[ToolContext, Any], Any]:
    @wraps(tool.run)
    async def run(context: ToolContext, arguments: Any) -> ToolResult:
        result = await tool.run(context, arguments)
        if len(result.content) > MAX_CONTENT:
            return failure(f"{tool.name} answered with {len(result.content)} characters, the limit is {MAX_CONTENT}")
        return result

    return run


def _checked_finder(point: EntryPoint, found: Any) -> GateFinder:
    find = _callable(point, found)

    def finder(tree: Path, environment: Environment) -> tuple[GateSpec, ...]:
        try:
            return tuple(GateSpec.model_validate(spec) for spec in find(tree, environment))
        except Exception as error:  # as above: a gate that is quietly missing would let through what it should stop
            raise ExtensionError(point, f"it failed with {type(error).__name__}: {str(error)[:500]}") from error

    return finder


def _callable(point: EntryPoint, found: Any) -> Callable[..., Any]:
    if not callable(found):
        raise ExtensionError(point, f"it cannot be called; it is {type(found).__name__}")
    return found
