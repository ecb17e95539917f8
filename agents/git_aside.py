"""Putting branches aside: what nobody goes on with leaves the branches of the store and can still be read."""

from __future__ import annotations

from agents.errors import GitError
from agents.git import GitStore
from agents.git_command import git

KEPT = "refs/syndic/given-up"
"""Where the last commits of branches lie that were removed."""


async def put_aside(store: GitStore, branch: str, base: str) -> str | None:
    """Remove a branch; its commit stays under `refs/syndic/given-up/<branch>`.

    Returns:
        The commit; None where the branch holds nothing of its own. A second call answers as the first one did.
    """
    kept = f"{KEPT}/{branch}"
    head = await store.head(branch)
    if head is None:
        return await _kept(store, kept)
    of_its_own = not await store.is_ancestor(head, base)
    if of_its_own:
        await git(store.path, "update-ref", kept, head)
    await git(store.path, "update-ref", "-d", f"refs/heads/{branch}", head)
    return head if of_its_own else None


async def branches_below(store: GitStore, prefix: str) -> list[str]:
    """Branches whose names begin with a prefix."""
    answer = await git(store.path, "for-each-ref", "--format=%(refname:strip=2)", f"refs/heads/{prefix}*")
    return answer.text.split()


async def _kept(store: GitStore, reference: str) -> str | None:
    try:
        return await store.resolve(reference)
    except GitError:
        return None
