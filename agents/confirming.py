"""Tool calls that wait for a person: what is above the agent's tier where somebody is asked about it, and what a brief lists.

A run ends with the call that it may not make on its own. It goes on, served from the journal, once its request brings a
person's word, which holds for this very call (place in the thread and digest) and no other.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from agents.assignments import Work
from agents.errors import ConfirmationNeededError
from agents.policy import Decision, exceeds_tier
from agents.runs import AgentRun, PendingCall
from agents.state import RunContext
from agents.tools.base import Tool
from ledger.chain import canonical, digest
from ledger.store import Store
from ledger.vocabulary import ArtifactRef, Json

INLINE_BYTES = 20_000
"""Arguments of a call as JSON; longer ones lie in a document."""

NEVER = frozenset({Work.JUDGE, Work.MEDIATION, Work.BID, Work.SUPERVISE})
"""Work that is worth something only when nobody else had a part in it: no person lends it their hands."""


def confirmed(
    run: RunContext, place: tuple[int, int], tool: Tool | str, arguments: Mapping[str, Json], decision: Decision
) -> Decision:
    """Policy's decision where no person is asked, else the person's.

    Args:
        place: ordinal and sub-ordinal of the step.
        decision: what policy says of the call.

    Raises:
        ConfirmationNeededError: nobody has decided about this call yet.
    """
    if isinstance(tool, str) or not _valid(tool, arguments):
        return decision
    why = _why(run.request, tool, decision)
    if why is None:
        return decision
    if not decision.allowed and not (decision := _but_for_its_tier(run, tool, arguments)).allowed:
        return decision  # a person lifts the tier alone: paths, scope and programs hold for every call
    call = PendingCall(
        place=f"{run.thread}/{place[0]}/{place[1]}",
        tool=tool.name,
        tier=tool.tier.name,
        arguments=dict(arguments),
        digest=digest({"tool": tool.name, "arguments": dict(arguments)}),
        why=why,
    )
    for ruling in run.request.rulings:
        if (ruling.place, ruling.digest) == (call.place, call.digest):
            rule = "approved" if ruling.allowed else "rejected"
            return Decision(allowed=ruling.allowed, rule=rule, reason=ruling.reason)
    raise ConfirmationNeededError(call)


async def kept_whole(call: PendingCall, store: Store) -> PendingCall:
    """The call with its arguments in a document where they are too long to travel through histories."""
    content = canonical(call.arguments).encode()
    if len(content) <= INLINE_BYTES:
        return call
    name = await store.put_artifact(content, "application/json")
    reference = ArtifactRef(name="arguments", digest=name, media_type="application/json", size=len(content))
    return call.model_copy(update={"arguments": None, "document": reference})


def _why(request: AgentRun, tool: Tool, decision: Decision) -> str | None:
    if decision.allowed:
        return f"a person is asked before each {tool.name}" if tool.name in request.confirm else None
    if request.asks_above_tier and request.work not in NEVER and exceeds_tier(request.role, tool):
        return decision.reason
    return None


def _but_for_its_tier(run: RunContext, tool: Tool, arguments: Mapping[str, Json]) -> Decision:
    return run.policy.decide(
        role=run.request.role,
        tool=tool,
        arguments=arguments,
        scope=run.assignment.scope,
        root=run.tool_context.worktree.path if run.has_worktree else None,
        above_tier=True,
    )


def _valid(tool: Tool, arguments: Mapping[str, Json]) -> bool:
    """Whether it is a call at all; nobody is asked about one that could not be made."""
    try:
        tool.arguments.model_validate(arguments)
    except ValidationError:
        return False
    return True
