"""Merges a commit into a branch of the store: prepared on the ledger, gated on the merged tree, then moved by compare-and-set.

Where a person is asked, the two halves are two calls: the commit that the first one made is the one that the second brings in.
"""

from __future__ import annotations

from activities.contracts import Integrate, Integration, Prepared
from activities.entries import entry
from activities.gating import Gatekeeper
from agents.assignments import Feedback
from agents.errors import BranchMovedError
from agents.git import GitStore
from agents.runner import AgentDeps
from ledger.events import MergeMade, MergePrepared, MergeRefused
from ledger.vocabulary import ArtifactRef

TRAILER = "Syndic-Ledger"


class Merger:
    """One merge request."""

    def __init__(self, deps: AgentDeps, request: Integrate) -> None:
        self._deps = deps
        self._request = request
        self._git = GitStore(deps.layout.repository(request.project))

    async def merge(self) -> Integration:
        """Merge, or say why not. A repeated call finds what the first one did."""
        request = self._request
        done = await self._git.merge_commit_of(request.source, request.target)
        if done is not None:
            return await self._made(done, await self._git.trailer(done, TRAILER))
        if request.prepared is not None:
            return await self._advance(request.prepared)
        parent = await self._git.resolve(request.target)
        if await self._git.is_ancestor(request.source, parent):
            return Integration(merged=True, commit=parent)
        trailer = await self._prepare(parent)
        merged = await self._git.merge(
            request.source, request.target, message=request.title, trailers={TRAILER: trailer}
        )
        if merged.commit is None:
            return await self._refused(_conflict(merged.conflicts), parent, conflict=True)
        measured = await Gatekeeper(self._deps, request.project).measure(
            merged.commit, request.base_commit, request.baseline
        )
        if not measured.passed:
            return await self._refused(measured.feedback, parent, conflict=False)
        if request.prepare:
            return await self._offered(merged.commit, parent)
        await self._git.advance(request.target, merged.commit, parent)
        return await self._made(merged.commit, trailer)

    async def _offered(self, commit: str, parent: str) -> Integration:
        """The merge as people are shown it. A branch of its own keeps its commit however long they take."""
        await self._git.create_branch(f"prepared/{commit}", commit)
        changes = await self._git.changes(parent, commit)
        diff = (await self._git.diff(parent, commit)).encode()
        digest = await self._deps.store.put_artifact(diff, "text/x-diff")
        prepared = Prepared(
            commit=commit,
            tree=await self._git.resolve(f"{commit}^{{tree}}"),
            parent=parent,
            diff=ArtifactRef(name="diff", digest=digest, media_type="text/x-diff", size=len(diff)),
            paths=changes.paths,
            insertions=changes.insertions,
            deletions=changes.deletions,
        )
        return Integration(merged=False, prepared=prepared)

    async def _advance(self, commit: str) -> Integration:
        """Move the branch to what was prepared, from where it stood then and from nowhere else."""
        try:
            await self._git.advance(self._request.target, commit, await self._git.resolve(f"{commit}^1"))
        except BranchMovedError:
            return Integration(merged=False, moved=True)
        return await self._made(commit, await self._git.trailer(commit, TRAILER))

    async def _prepare(self, parent: str) -> str:
        """Write the intention; its place on the chain is what the commit's trailer names."""
        request = self._request
        body = MergePrepared(
            sprint=request.sprint, task=request.task, source=request.source, target=request.target, parent=parent
        )
        entries = await self._deps.store.record([entry(request.project, f"{request.key}/prepared/{parent}", body)])
        return f"{request.project}@{entries[0].seq}:{entries[0].hash}"

    async def _made(self, commit: str, trailer: str | None) -> Integration:
        request = self._request
        body = MergeMade(
            sprint=request.sprint,
            task=request.task,
            source=request.source,
            target=request.target,
            commit=commit,
            trailer=trailer or "",
        )
        await self._deps.store.record([entry(request.project, f"{request.key}/made/{commit}", body)])
        return Integration(merged=True, commit=commit, ledger=trailer)

    async def _refused(self, feedback: tuple[Feedback, ...], parent: str, *, conflict: bool) -> Integration:
        request = self._request
        body = MergeRefused(
            sprint=request.sprint,
            task=request.task,
            source=request.source,
            target=request.target,
            conflict=conflict,
            reasons=tuple(item.text[:500] for item in feedback),
        )
        key = f"{request.key}/refused/{request.source}"
        # What is prepared may be prepared again on another commit, and be refused again for another reason.
        key = f"{key}/{parent}" if request.prepare else key
        await self._deps.store.record([entry(request.project, key, body)])
        return Integration(merged=False, conflict=conflict, feedback=feedback)


def _conflict(paths: tuple[str, ...]) -> tuple[Feedback, ...]:
    text = f"the branch that takes this change has moved on and conflicts in: {', '.join(paths)}"
    return (Feedback(source="merge", text=text[:4_000], data={"paths": list(paths[:50])}),)
