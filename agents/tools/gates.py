"""Running one of the repository's gates by name."""

from __future__ import annotations

from pydantic import Field

from agents.gates import run_gate as run_gate_in
from agents.tools.answers import Arguments, answer, failure, guarded
from agents.tools.base import Tool, ToolContext, ToolResult
from ledger.vocabulary import Tier


class RunGate(Arguments):
    gate: str = Field(max_length=200, description="Name of the gate, as the assignment lists it")


@guarded
async def run_gate(context: ToolContext, arguments: RunGate) -> ToolResult:
    """Run a gate on the worktree as it is."""
    spec = next((gate for gate in context.gates if gate.name == arguments.gate), None)
    if spec is None:
        names = ", ".join(gate.name for gate in context.gates) or "none"
        return failure(f"there is no gate {arguments.gate!r}", f"gates of this repository: {names}")
    result = await run_gate_in(
        spec,
        tree=context.worktree.path,
        environment=context.environment,
        sandbox=context.sandbox,
        scratch=context.scratch,
    )
    content = {
        "gate": spec.name,
        "passed": result.passed,
        "exit_code": result.exit_code,
        "failures": list(result.failures),
        "counts": result.counts,
        "tail": result.tail,
    }
    return answer(content, "failures", "tail", data={"passed": result.passed})


TOOLS = (Tool("run_gate", "Run one of the repository's gates, such as its tests.", RunGate, Tier.RUN, run_gate),)
