"""Where a run works: its worktree, the target's environment and gates, and a scratch folder."""

from __future__ import annotations

from pathlib import Path

from agents.assignments import Work
from agents.environments import build_environment
from agents.git import GitStore
from agents.layout import Layout
from agents.policy import TIER_CEILING
from agents.runs import AgentRun
from agents.sandbox import Sandbox
from agents.target import Baseline, Environment, EnvironmentKind
from agents.team import agent_name
from agents.tools.base import ToolContext
from agents.worktree import Worktree
from ledger.vocabulary import Tier

NO_ENVIRONMENT = Environment(kind=EnvironmentKind.NONE, digest="")


def run_branch(request: AgentRun) -> str:
    """The private branch of a run that only reads, so that parallel readers never share a folder."""
    return f"run/{request.project}.s{request.sprint}.{request.task}.{request.lineage}"


class Workplace:
    """One run's worktree. Writers work on the task's branch, all others on a private branch at the same commit."""

    def __init__(self, request: AgentRun, layout: Layout, scratch: Path) -> None:
        self._request = request
        self._git = GitStore(layout.repository(request.project))
        self._writes = request.work is Work.CHANGE and TIER_CEILING[request.role] >= Tier.WRITE
        self.exists = request.branch is not None or request.base_commit is not None
        branch = request.branch if self._writes and request.branch else run_branch(request)
        folder = layout.tree(request.project, branch) if self.exists else scratch / "none"
        self.worktree: Worktree = self._git.worktree(branch, folder)
        self.start: str | None = None
        """The commit the run began at, once its first step is known."""
        self._is_open = False

    async def choose_start(self) -> str | None:
        """The commit a new run begins at: the branch's head, else the base commit."""
        request = self._request
        head = await self._git.head(request.branch) if request.branch else None
        if head is None and request.base_commit is not None:
            head = await self._git.resolve(request.base_commit)
        return head

    async def bring_to(self, commit: str | None) -> None:
        """Make the worktree hold a commit (None: where the run began) and nothing else."""
        wanted = commit or self.start
        if wanted is None or not self.exists:
            return
        await self._git.create_branch(self.worktree.branch, wanted)
        await self.worktree.open(wanted)
        self._is_open = True

    async def open(self) -> None:
        """Open the worktree where nothing has opened it yet."""
        if not self._is_open:
            await self.bring_to(None)

    async def clean(self) -> None:
        """Throw away what is not committed."""
        await self.worktree.reset(await self.worktree.head())

    async def commit(self, name: str, ordinal: int, sub: int, thread: str) -> str | None:
        """Commit what a tool changed, with the step it belongs to."""
        request = self._request
        return await self.worktree.commit(
            f"{request.task}: {name}",
            author=agent_name(request.agent),
            trailers={"Syndic-Agent": request.agent, "Syndic-Step": f"{thread}/{ordinal}/{sub}"},
        )


async def environment_of(baseline: Baseline | None, project: str, layout: Layout, sandbox: Sandbox) -> Environment:
    """The target's environment, built again where this machine does not have it."""
    if baseline is None:
        return NO_ENVIRONMENT
    environment = baseline.environment
    if environment.path is None or Path(environment.path).is_dir():
        return environment
    with layout.scratch(project, "environment") as scratch:
        tree = scratch / "tree"
        await GitStore(layout.repository(project)).export(baseline.commit, tree)
        return await build_environment(tree, setup=environment.setup, cache=layout.environments(), sandbox=sandbox)


def tool_context(
    request: AgentRun,
    place: Workplace,
    sandbox: Sandbox,
    environment: Environment,
    baseline: Baseline | None,
    programs: frozenset[str],
    scratch: Path,
) -> ToolContext:
    """All that the run's tools may touch."""
    return ToolContext(
        worktree=place.worktree,
        sandbox=sandbox,
        environment=environment,
        gates=tuple(result.gate for result in baseline.gates) if baseline else (),
        scope=request.scope,
        programs=programs,
        scratch=scratch,
    )
