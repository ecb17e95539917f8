"""Git, gates and programs of the target: the activities of the queue `syndic-tools`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from temporalio import activity

from activities.closing import close
from activities.contracts import (
    CloseProject,
    Deliver,
    Delivered,
    GateReport,
    Integrate,
    Integration,
    OpenProject,
    OpenWorkspace,
    PrepareTarget,
    ProjectClosed,
    ProjectOpened,
    RunGates,
    TargetReport,
    Workspace,
    WorkspaceActivities,
)
from activities.entries import entry
from activities.failures import translated
from activities.gating import Gatekeeper, Measured, can_judge, cautions, scope_feedback
from activities.heartbeat import beating
from activities.merging import Merger
from agents.errors import ProjectUsedError, RepositoryError
from agents.git import Changes, GitStore
from agents.runner import AgentDeps
from agents.runs import TimeLimits
from ledger import events
from ledger.errors import KeyConflictError
from ledger.rows import NewEntry
from ledger.vocabulary import ArtifactRef, project_branch, project_scope

LAST_ENTRIES = 100
"""A project's closing stands at the end of its chain; only late answers of providers come after it."""

DIFF_BYTES = 200_000
"""A longer diff is cut, with a marker, before judges and people see it."""


class Workspaces(WorkspaceActivities):
    """Thin: each method calls the noun that does the work."""

    def __init__(
        self, deps: AgentDeps, models: Mapping[str, tuple[str, ...]] | None = None, limits: TimeLimits | None = None
    ) -> None:
        self._deps = deps
        self._models = dict(models or {})
        self._limits = limits or TimeLimits()

    def _git(self, project: str) -> GitStore:
        return GitStore(self._deps.layout.repository(project))

    @activity.defn(name="open_project")
    async def open_project(self, request: OpenProject) -> ProjectOpened:
        """Fetch the repository into the project's store; a second run keeps the first one's commit."""
        async with beating():
            with translated():
                await self._refuse_used(request.project)
                git = self._git(request.project)
                await git.create()
                if await git.head(project_branch(request.project)) is None:
                    await git.check_deliverable(request.repository, project_branch(request.project))
                fetched = await git.fetch(request.repository, request.base)
                body = events.ProjectOpened(
                    goal=request.goal,
                    repository=request.repository,
                    commit=fetched.commit,
                    base=fetched.base,
                    spec_digest=request.spec_digest,
                    workflow_id=request.workflow_id,
                    mode=request.mode,
                    autonomy=request.autonomy,
                    budget_usd=request.budget_usd,
                    budget_tokens=request.budget_tokens,
                )
                try:
                    written = await self._deps.store.record([entry(request.project, "project_opened", body)])
                except KeyConflictError as error:
                    raise ProjectUsedError(request.project, "was begun with another brief or commit") from error
                opened = events.ProjectOpened.model_validate(written[0].body)
                if await git.head(project_branch(request.project)) is None:
                    await git.create_branch(project_branch(request.project), opened.commit)
                await self._deps.store.open_budget(
                    project_scope(request.project), request.budget_usd, request.budget_tokens
                )
        return ProjectOpened(
            commit=opened.commit, base=opened.base, warnings=fetched.warnings, models=self._models, limits=self._limits
        )

    async def _refuse_used(self, project: str) -> None:
        """What was closed is not opened again: its runs would be served from the journal, its merges stand already."""
        head = await self._deps.store.head(project)
        last = await self._deps.store.entries(project, after=max(0, head.seq - LAST_ENTRIES))
        if any(item.kind == "project_closed" for item in last):
            raise ProjectUsedError(project, "belongs to a project that has ended")

    @activity.defn(name="prepare_target")
    async def prepare_target(self, request: PrepareTarget) -> TargetReport:
        """Build the environment and run the gates before any change."""
        async with beating():
            with translated():
                keeper = Gatekeeper(self._deps, request.project)
                baseline = await keeper.baseline(request.commit, request.setup, request.gates)
                reference = await self._keep("baseline", baseline.model_dump_json(), "application/json")
                body = events.TargetPrepared(
                    commit=request.commit,
                    environment=baseline.environment.kind,
                    sandbox=self._deps.sandbox.name,
                    gates={result.gate.name: result.passed for result in baseline.gates},
                    baseline=reference.digest,
                )
                await self._deps.store.record([entry(request.project, f"target/{request.commit}", body)])
        return TargetReport(
            baseline=reference,
            environment=baseline.environment.kind,
            gates=tuple(result.state() for result in baseline.gates if can_judge(result)),
            sandbox=self._deps.sandbox.name,
            warnings=cautions(baseline),
        )

    @activity.defn(name="open_workspace")
    async def open_workspace(self, request: OpenWorkspace) -> Workspace:
        with translated():
            git = self._git(request.project)
            base = await git.resolve(request.base)
            head = await git.head(request.branch)
            if head is None or request.restart:
                head = await git.create_branch(request.branch, base, reset=request.restart)
        return Workspace(branch=request.branch, commit=head, base_commit=base)

    @activity.defn(name="run_gates")
    async def run_gates(self, request: RunGates) -> GateReport:
        """Hold a commit against the baseline and keep diff and results for judges and people."""
        async with beating():
            with translated():
                git = self._git(request.project)
                changes = await git.changes(request.base_commit, request.commit)
                measured = await Gatekeeper(self._deps, request.project).measure(
                    request.commit, request.base_commit, request.baseline
                )
                outside = scope_feedback(changes.paths, request.scope)
                measured = Measured(measured.results, outside + measured.feedback)
                diff = await git.diff(request.base_commit, request.commit, max_bytes=DIFF_BYTES)
                documents = (
                    await self._keep("diff", diff, "text/x-diff"),
                    await self._keep("gates", _gates_json(measured), "application/json"),
                )
                await self._deps.store.record([_gates_entry(request, measured)])
        return _gate_report(measured, changes, documents)

    @activity.defn(name="integrate")
    async def integrate(self, request: Integrate) -> Integration:
        async with beating():
            with translated():
                return await Merger(self._deps, request).merge()

    @activity.defn(name="deliver")
    async def deliver(self, request: Deliver) -> Delivered:
        """Bring the branch into the person's repository; their checkout is not touched."""
        async with beating():
            with translated():
                git = self._git(request.project)
                commit = await git.resolve(request.branch)
                try:
                    await git.push(request.repository, request.branch)
                except RepositoryError as error:
                    raise RepositoryError(f"{error}. {_by_hand(git.path, request.branch)}") from error
                body = events.BranchDelivered(
                    branch=request.branch, commit=commit, repository=request.repository, pushed=True
                )
                await self._deps.store.record([entry(request.project, f"delivered/{request.branch}/{commit}", body)])
        return Delivered(branch=request.branch, commit=commit, pushed=True)

    @activity.defn(name="close_project")
    async def close_project(self, request: CloseProject) -> ProjectClosed:
        async with beating():
            with translated():
                return await close(self._deps, request)

    async def _keep(self, name: str, text: str, media_type: str) -> ArtifactRef:
        content = text.encode()
        digest = await self._deps.store.put_artifact(content, media_type)
        return ArtifactRef(name=name, digest=digest, media_type=media_type, size=len(content))


def _by_hand(store: Path, branch: str) -> str:
    return f"Nothing is lost; bring it in from your repository with: git fetch {store} {branch}:{branch}"


def _gates_json(measured: Measured) -> str:
    return json.dumps([result.model_dump(mode="json") for result in measured.results])


def _gates_entry(request: RunGates, measured: Measured) -> NewEntry:
    body = events.GatesReported(
        sprint=request.sprint,
        task=request.task,
        attempt=request.attempt,
        commit=request.commit,
        passed=measured.passed,
        gates={result.gate.name: result.passed for result in measured.results},
        regressions=tuple(item.text[:300] for item in measured.feedback),
    )
    key = f"gates/s{request.sprint}/{request.task}/{request.attempt}/{request.commit}"
    return entry(request.project, key, body)


def _gate_report(measured: Measured, changes: Changes, documents: tuple[ArtifactRef, ...]) -> GateReport:
    return GateReport(
        passed=measured.passed,
        feedback=measured.feedback,
        gates=tuple(result.state() for result in measured.results),
        changed_paths=changes.paths,
        insertions=changes.insertions,
        deletions=changes.deletions,
        documents=documents,
    )
