"""Running a program of the allowed list: no shell, in the sandbox, in a copy of the worktree."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from pydantic import Field

from agents.environments import environment_variables
from agents.sandbox import Limits
from agents.target import Environment
from agents.tools.answers import Arguments, answer, cut, failure, guarded
from agents.tools.base import Tool, ToolContext, ToolResult
from agents.tools.copies import copied_tree
from ledger.vocabulary import Tier

MAX_TIMEOUT_S = 600
_SHOWN = 18_000
"""Characters of each stream that the model is given: its end."""
_NOT_FOUND = 127


class RunProgram(Arguments):
    argv: list[str] = Field(
        min_length=1, max_length=200, description="Program by base name, such as `pytest`, and its arguments; no shell"
    )
    timeout_s: int = Field(60, ge=1, le=MAX_TIMEOUT_S, description="Seconds after which it is stopped")


def program_of(environment: Environment, name: str) -> str:
    """What to start for a program's base name: the target environment's own one where it has it.

    Syndic's own folders are not searched, except for ruff, which is one file and needs nothing of ours.
    """
    if environment.path:
        own = Path(environment.path) / "bin" / ("python" if name == "python3" else name)
        if own.exists():
            return str(own)
    if name == "ruff" and (found := shutil.which("ruff", path=str(Path(sys.executable).parent))):
        return found
    return name


def folders_of(environment: Environment) -> list[Path]:
    """What must be visible for the target environment's programs to run."""
    return [Path(environment.path)] if environment.path else []


@guarded
async def run_program(context: ToolContext, arguments: RunProgram) -> ToolResult:
    """Run a program; what it changes is thrown away."""
    name, *rest = arguments.argv
    if name not in context.programs:
        return failure(f"program {name[:100]!r} is not allowed", f"allowed are {', '.join(sorted(context.programs))}")
    async with copied_tree(context) as copy:
        done = await context.sandbox.run(
            [program_of(context.environment, name), *rest],
            cwd=copy.path,
            writable=[copy.path],
            readable=folders_of(context.environment),
            env=environment_variables(context.environment, copy.path),
            limits=Limits(timeout_s=arguments.timeout_s),
        )
    if done.exit_code == _NOT_FOUND and not done.stdout:
        return failure(f"{name} could not be started: {cut(done.stderr, 500)}", "the target may not have it installed")
    return answer(
        {
            "exit_code": done.exit_code,
            "stdout": cut(done.stdout, _SHOWN),
            "stderr": cut(done.stderr, _SHOWN),
            "timed_out": done.timed_out,
            "exceeded": done.exceeded,
            "truncated": done.truncated or max(len(done.stdout), len(done.stderr)) > _SHOWN,
        },
        "stderr",
        "stdout",
    )


TOOLS = (
    Tool(
        "run_program",
        "Run a program (no shell, no network) in a copy of the worktree. What it changes is thrown away.",
        RunProgram,
        Tier.RUN,
        run_program,
    ),
)
