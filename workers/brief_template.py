"""The commented brief that `syndic init` writes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agents.git_source import find_commit, locate

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

# auto merges what passes onto the project's branch; dry_run merges nothing and reports the diffs.
mode: auto

# milestone asks you about the plan and after each sprint; autonomous asks only about money and when it is stuck.
autonomy: milestone

# The most that models may cost, in US dollars. The built-in rule-based maintainer costs nothing.
budget_usd: "5"

# Models in LiteLLM's names, by role or as a default, first choice first; needs the provider's key in the environment
# of the workers. Without it the rule-based maintainer works, offline.
# models:
#   default: [anthropic/claude-sonnet-4-5, openai/gpt-5-mini]
#   engineer: [anthropic/claude-opus-4-5]

# How to build the repository's own environment; detected from its files when absent.
# setup:
#   - uv sync --locked

# What must not get worse; detected when absent. kind: tests, lint, format, types or command.
{gates}
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
    return TEMPLATE.format(name=name, repository=repository, base=base, gates=_NO_GATES)
