"""What an agent may do: one decision before every tool call, default deny, each with a reason fit for the record.

The tables are all there is to know: a role's tier ceiling, its tools, the programs that may be started. Nothing is changed
here; the file system is only asked where symbolic links lead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.errors import PathEscapeError
from agents.paths import resolve_inside
from agents.scope import refusal_to_write
from agents.tools.base import Tool
from ledger.vocabulary import Json, Record, Role, Tier

TIER_CEILING: dict[Role, Tier] = {
    Role.PRODUCT_OWNER: Tier.RUN,
    Role.ARCHITECT: Tier.RUN,
    Role.PROJECT_MANAGER: Tier.RUN,
    Role.ANALYST: Tier.RUN,
    Role.QA: Tier.RUN,
    Role.JUDGE: Tier.RUN,
    Role.ENGINEER: Tier.WRITE,
    Role.DEVOPS: Tier.WRITE,
}

_ENDS = frozenset({"finish", "escalate"})
_READS = frozenset({"list_files", "read_file", "search"}) | _ENDS
TEAM_TOOLS = frozenset({"read_board", "post_board", "vote", "remember"})
"""What agents share. Judges have none of it: a verdict owes nothing to what the team thinks."""
_TALKS = frozenset({"ask"}) | TEAM_TOOLS
_EVERYTHING = _READS | _TALKS | {
    "write_file", "replace", "apply_patch", "run_program", "lint", "fix_lint", "run_gate", "rank_suspects", "try_patch",
    "refuse", "hand_off",
}  # fmt: skip

TOOLSETS: dict[Role, frozenset[str]] = {
    Role.PRODUCT_OWNER: _READS | _TALKS | {"refuse"},
    Role.ARCHITECT: _READS | _TALKS | {"lint"},
    Role.PROJECT_MANAGER: _READS | _TALKS,
    Role.ANALYST: _READS | _TALKS | {"lint", "run_gate"},
    Role.QA: _READS | _TALKS | {"lint", "run_gate", "run_program"},
    Role.JUDGE: _READS,
    Role.ENGINEER: _EVERYTHING,
    Role.DEVOPS: _EVERYTHING,
}
"""Built-in tools by role. A tool that stands nowhere here and is granted by no extension is unknown."""

BUILT_IN: frozenset[str] = frozenset().union(*TOOLSETS.values())

DEFAULT_PROGRAMS: frozenset[str] = frozenset({"python", "python3", "pytest", "ruff", "mypy", "pyright", "coverage"})
"""Base names that `run_program` may start."""

MAX_TEXT = 400_000
"""Characters of one string argument."""
MAX_PATH = 1_000
MAX_TOTAL = 2_000_000
"""Characters of all string arguments of one call."""
_SHOWN = 160


class Decision(Record):
    """Whether a tool call may go on. `rule` is a stable word for machines, `reason` a sentence for the record."""

    allowed: bool
    rule: str
    reason: str


@dataclass(frozen=True)
class Policy:
    """The rules of one worker: the built-in tables, what extensions were granted, and the allowed programs."""

    grants: Mapping[str, frozenset[Role]] = field(default_factory=dict[str, frozenset[Role]])
    programs: frozenset[str] = DEFAULT_PROGRAMS

    @classmethod
    def with_extensions(cls, tools: Iterable[Tool], programs: frozenset[str] = DEFAULT_PROGRAMS) -> Policy:
        """A policy that also knows tools of extensions, each for the roles that it names and no others."""
        return cls({tool.name: tool.roles for tool in tools if tool.name not in BUILT_IN}, programs)

    def allows(self, role: Role, tool: Tool) -> bool:
        """Whether the role has this tool at all, whatever its arguments."""
        return self._refuse_tool(role, tool) is None

    def decide(
        self,
        *,
        role: Role,
        tool: Tool | str,
        arguments: Mapping[str, Json],
        scope: tuple[str, ...],
        root: Path | None,
        above_tier: bool = False,
    ) -> Decision:
        """Judge one tool call before it starts.

        Args:
            role: Who calls.
            tool: The tool, or the name that a model made up where there is none of that name.
            arguments: As the model gave them, not yet validated.
            scope: Globs of the paths that the task may change.
            root: The worktree; None where the agent has none, and then every path is refused.
            above_tier: Whether a person has lifted the role's limits for this call; everything else holds.
        """
        if isinstance(tool, str):
            return _deny("unknown-tool", f"there is no tool {_short(tool)}")
        refused = (
            (None if above_tier else self._refuse_tool(role, tool))
            or _refuse_size(arguments)
            or _refuse_paths(tool, arguments, scope, root)
            or self._refuse_program(tool, arguments)
        )
        return refused or Decision(
            allowed=True, rule="allowed", reason=f"{role} may use {tool.name} (tier {tool.tier.name})"
        )

    def _refuse_tool(self, role: Role, tool: Tool) -> Decision | None:
        granted = self.grants.get(tool.name)
        if tool.name not in BUILT_IN and granted is None:
            return _deny("unknown-tool", f"there is no tool {_short(tool.name)}")
        allowed = tool.name in TOOLSETS.get(role, ()) if tool.name in BUILT_IN else role in (granted or ())
        if not allowed:
            return _deny("not-in-toolset", f"{tool.name} is not among the tools of {role}")
        ceiling = TIER_CEILING.get(role, Tier.OBSERVE)
        if tool.tier > ceiling:
            return _deny("tier", f"{tool.name} needs tier {tool.tier.name}, {role} ends at {ceiling.name}")
        return None

    def _refuse_program(self, tool: Tool, arguments: Mapping[str, Json]) -> Decision | None:
        if tool.name != "run_program":
            return None
        argv = arguments.get("argv")
        if not isinstance(argv, list) or not argv or not all(isinstance(part, str) for part in argv):
            return _deny("malformed", "argv must be a list of strings that begins with a program")
        if argv[0] not in self.programs:
            allowed = ", ".join(sorted(self.programs))
            return _deny("program", f"program {_short(argv[0])} is not allowed; allowed are {allowed}")
        return None


def exceeds_tier(role: Role, tool: Tool) -> bool:
    """Whether a tool needs more than the role's tier ceiling, whatever else keeps it from the role."""
    return tool.tier > TIER_CEILING.get(role, Tier.OBSERVE)


def _refuse_size(arguments: Mapping[str, Json]) -> Decision | None:
    sizes = [len(text) for text in _texts(dict(arguments))]
    if sizes and max(sizes) > MAX_TEXT:
        return _deny("too-long", f"an argument has {max(sizes)} characters, the limit is {MAX_TEXT}")
    if sum(sizes) > MAX_TOTAL:
        return _deny("too-long", f"the arguments have {sum(sizes)} characters, the limit is {MAX_TOTAL}")
    return None


def _refuse_paths(
    tool: Tool, arguments: Mapping[str, Json], scope: tuple[str, ...], root: Path | None
) -> Decision | None:
    scoped = tool.writes if tool.scoped is None else tool.scoped
    for name in tool.paths:
        for path in _values(dict(arguments), name.split(".")):
            if refused := _refuse_path(path, scope if scoped else None, root, writing=tool.writes):
                return refused
    return None


def _refuse_path(path: Json, scope: tuple[str, ...] | None, root: Path | None, *, writing: bool) -> Decision | None:
    if not isinstance(path, str):
        return _deny("malformed", f"a path must be a string, not {type(path).__name__}")
    if len(path) > MAX_PATH:
        return _deny("too-long", f"a path has {len(path)} characters, the limit is {MAX_PATH}")
    if root is None:
        return _deny("no-worktree", f"there is no worktree in which {_short(path)} could lie")
    try:
        resolved = resolve_inside(root, path, writing=writing)
    except PathEscapeError as error:
        return _deny("path", f"path {_short(path)} is refused: {error.reason}")
    if scope is None:
        return None
    # A link inside the worktree may have a name in scope and a target out of it: both must be open.
    for candidate in (path, str(resolved.relative_to(root.resolve()))):
        if reason := refusal_to_write(scope, candidate):
            return _deny("scope", reason)
    return None


def _values(value: Json, steps: list[str]) -> Iterator[Any]:
    """Every value that a path expression such as `edits[].path` finds; what is absent is left to validation."""
    if not steps:
        yield from value if isinstance(value, list | tuple) else (value,)
        return
    name, nested = steps[0].removesuffix("[]"), steps[0].endswith("[]")
    if not isinstance(value, Mapping) or value.get(name) is None:
        return
    found = value[name]
    for item in found if nested and isinstance(found, list | tuple) else (found,):
        yield from _values(item, steps[1:])


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _deny(rule: str, reason: str) -> Decision:
    return Decision(allowed=False, rule=rule, reason=reason)
