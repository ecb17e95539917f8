"""Every built-in tool by name, and which of them a role gets for its work."""

from __future__ import annotations

from collections.abc import Iterable

from agents.assignments import Work
from agents.policy import Policy, exceeds_tier
from agents.tools import board, endings, files, gates, lint, patches, programs, search, suspects
from agents.tools.base import Tool
from ledger.vocabulary import Role, Tier

_MODULES = (files, search, programs, lint, gates, suspects, patches, board, endings)


def all_tools(work: Work = Work.CHANGE) -> dict[str, Tool]:
    """Built-in tools by name. `finish` is the one of `work`, since its arguments are the work's result."""
    tools = [tool for module in _MODULES for tool in module.TOOLS]
    return {tool.name: tool for tool in (*tools, endings.finish_tool(work))}


def tools_for(role: Role, work: Work, extensions: Iterable[Tool] = (), *, above_tier: bool = False) -> tuple[Tool, ...]:
    """The tools that a model is offered, in a fixed order.

    Only a change may change files: for any other work the tools that write are left out, whatever the role.

    Args:
        role: Who works.
        work: What at.
        extensions: Tools of extensions, offered to the roles they name.
        above_tier: Whether those beyond the role's tier are offered too, because a person is asked about each call.
    """
    extra = tuple(extensions)
    policy = Policy.with_extensions(extra)
    offered = (tool for tool in (*all_tools(work).values(), *extra) if policy.allows(role, tool))
    usual = tuple(tool for tool in offered if work is Work.CHANGE or tool.tier < Tier.WRITE)
    more = (tool for tool in extra if above_tier and role in tool.roles and exceeds_tier(role, tool))
    return (*usual, *more)
