"""What a tool is: a name, a pydantic model of its arguments, the tier it needs, and one coroutine.

A tool never decides whether it may run (that is `agents.policy`) and never writes to the record (that is `agents.steps`):
it gets a context, does its work in the worktree or the sandbox, and returns what the model will read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from agents.target import Environment, GateSpec
from ledger.vocabulary import Json, Record, Role, Tier

if TYPE_CHECKING:
    from agents.blackboard import Blackboard
    from agents.git import Worktree
    from agents.sandbox import Sandbox


class ToolResult(Record):
    """What a tool call gave. `content` is what the model reads: a JSON object as text, at most 40,000 characters."""

    ok: bool
    content: str
    ends: bool = False
    """The run is over: `finish`, `escalate`, `hand_off`, `refuse`."""
    data: dict[str, Json] = {}
    """For the record and the graph, not for the model."""


@dataclass(frozen=True)
class ToolContext:
    """All a tool may touch. Paths that tools take are relative to `worktree.path` and resolved by `resolve_inside`."""

    worktree: Worktree
    sandbox: Sandbox
    environment: Environment
    gates: tuple[GateSpec, ...]
    scope: tuple[str, ...] = ("**",)
    programs: frozenset[str] = frozenset()
    """Base names that `run_program` may start."""
    scratch: Path = field(default_factory=Path)
    """A folder outside the worktree for copies, emptied when the run ends."""
    board: Blackboard | None = None
    """What the run shares with its team."""
    place: str = ""
    """The step that is made, as `<thread>/<ordinal>/<sub>`: what a tool writes elsewhere is written once for it."""


@dataclass(frozen=True)
class Tool:
    """One thing an agent can do.

    `writes` tools run one by one and commit the worktree; others may run side by side. `paths` names the argument fields
    that hold paths, so that policy can check them before the tool starts: `path`, a list `paths`, or nested ones as in
    `candidates[].edits[].path`.
    """

    name: str
    description: str
    arguments: type[BaseModel]
    tier: Tier
    run: Callable[[ToolContext, Any], Awaitable[ToolResult]]
    writes: bool = False
    paths: tuple[str, ...] = ()
    scoped: bool | None = None
    """Whether policy holds `paths` against the scope; None means: as `writes` says."""
    alone: bool = False
    """Whether calls of one message are made one by one and in order although no file is changed."""
    roles: frozenset[Role] = frozenset()
    """For tools of extensions: the roles that may use it. Built-in tools are granted by `agents.policy` alone."""

    def schema(self) -> dict[str, Json]:
        """The tool as the OpenAI chat format's `tools` entry."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": self.arguments.model_json_schema(),
            },
        }
