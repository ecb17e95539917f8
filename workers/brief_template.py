"""The commented brief that `syndic init` writes."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

from agents.gate_detection import detect_gates
from agents.git_source import find_commit, locate
from agents.target import Environment, EnvironmentKind

TEMPLATE = """\
# A brief for Syndic. Start it with: syndic run {name} --watch
# Every key but goal and repository may be left out; a key that does not exist is an error.

# What you want, in your own words.
goal: Make the tests pass and clean up the lint findings; write an analysis first

# A git repository: an absolute path on the workers' machine, or a URL that git can fetch without asking.
# Your checkout is never touched: work goes on in a copy, results arrive as the branch syndic/<project>.
repository: {repository}

# Where to start from; without it the commit that is checked out.
# base: {base}

# auto merges what passes onto the project's branch; strict asks before each task and each merge; dry_run merges nothing
# and reports the diffs.
mode: auto

# milestone asks you about the plan and after each sprint; autonomous asks only about money and when it is stuck,
# supervised at every checkpoint.
autonomy: milestone

# The most that models may cost, in US dollars. The built-in rule-based maintainer costs nothing.
budget_usd: "5"
# budget_tokens: 2000000

# Models in LiteLLM's names, by role or as a default, first choice first; needs the provider's key in the environment
# of the workers. Without it the rule-based maintainer works, offline.
# models:
#   default: [anthropic/claude-sonnet-4-5, openai/gpt-5-mini]
#   engineer: [anthropic/claude-opus-4-5]

# How tasks find their agents: supervisor (the plan's order), hierarchical (who fits best), peer (who has the least to do),
# or market (the best bid). Words for roles, and kinds of agents: here, or files in the repository's .syndic/profiles.
# topology: supervisor
# prompts:
#   default: Times are in UTC everywhere.
# profiles:
#   - name: careful
#     role: engineer
#     low: Begin with a test. Keep a change below two hundred lines.
# consensus: {{kind: majority, quorum: 2, least_confidence: 50}}

# How to build the repository's own environment; detected from its files when absent.
# setup:
#   - uv sync --locked

# What must not get worse; detected when absent. kind: tests, lint, format, types or command.
{gates}
# Commands with a say before and after a plan is confirmed; their last argument is the plan, a JSON file.
# hooks:
#   before_plan:
#     - {{name: policy, run: python tools/check_plan.py}}

# Paths that may be changed, as in .gitignore.
# scope: ["src/**", "tests/**"]

# Agents at work at the same time, and rounds of planning at most.
max_parallel: 3
max_sprints: 3

# A plan of your own instead of the architect's.
# tasks:
#   - id: report
#     kind: analysis
#     instructions: Describe the modules and their weak points
#   - id: repair
#     instructions: Make the failing tests pass
#     depends_on: [report]
#     scope: ["src/**"]
"""

_NO_GATES = """\
# gates:
#   - {name: tests, run: python -m pytest -q, kind: tests}
#   - {name: lint, run: ruff check ., kind: lint}
"""


async def brief_for(repository: Path, name: str = "syndic.yaml") -> str:
    """A brief for a repository, with the branch and the gates that were found there.

    Raises:
        RepositoryError: It is no git repository, or has no commit.
    """
    source = await asyncio.to_thread(locate, str(repository))
    _, base = await find_commit(source, None)
    gates = await asyncio.to_thread(_gates, repository)
    return TEMPLATE.format(name=name, repository=repository, base=base, gates=gates)


def _gates(repository: Path) -> str:
    """What would be detected, as a comment: left alone, it is detected again when the project starts."""
    # Only the path matters: gates that need a tool are looked for in the environment, which is built later.
    unbuilt = Environment(kind=EnvironmentKind.PLAIN, path=str(repository), digest="")
    found = detect_gates(repository, unbuilt)
    lines = [f"#   - {{name: {gate.name}, run: {shlex.join(gate.argv)}, kind: {gate.kind}}}\n" for gate in found]
    return f"# Found here:\n# gates:\n{''.join(lines)}" if lines else f"# None was found here.\n{_NO_GATES}"
