"""Repositories behind a URL: http, https, ssh and git; no helper, no prompt, no stored credentials of the person."""

from __future__ import annotations

import re
from pathlib import Path

from agents.errors import GitError, RepositoryError
from agents.git_command import git
from agents.git_source import REMOTE_PROTOCOLS

_FETCHED = "refs/syndic/fetched"


async def fetch_remote(store: Path, url: str, ref: str | None) -> tuple[str, str]:
    """Bring a ref (None: HEAD) into the store; its commit, and the branch's name or again the commit.

    Raises:
        RepositoryError: It cannot be reached, is empty, or has no such ref.
    """
    head = re.search(r"^ref: refs/heads/(\S+)\tHEAD$", listed := await list_remote(store, url, "HEAD"), re.MULTILINE)
    if not ref and not listed:
        raise RepositoryError(f"{url} has no commit yet; push one first")
    options = ("--quiet", "--no-tags", "--no-write-fetch-head")
    await _remote(store, "fetch", *options, "--", url, f"+{ref or 'HEAD'}:{_FETCHED}")
    commit = (await git(store, "rev-parse", "--verify", "--quiet", f"{_FETCHED}^{{commit}}")).text
    if ref is None:
        return commit, head[1] if head else commit
    return commit, ref if await list_remote(store, url, f"refs/heads/{ref}") else commit


async def push_remote(store: Path, url: str, branch: str) -> None:
    """Push a branch under its own name; never with force."""
    await _remote(store, "push", "--quiet", "--no-verify", "--", url, f"refs/heads/{branch}:refs/heads/{branch}")


async def list_remote(store: Path, url: str, pattern: str) -> str:
    """What `git ls-remote` says about refs; empty where there is none."""
    return await _remote(store, "ls-remote", "--symref", "--", url, pattern)


async def _remote(store: Path, *arguments: str) -> str:
    try:
        return (await git(store, *arguments, env={"GIT_ALLOW_PROTOCOL": REMOTE_PROTOCOLS})).text
    except GitError as error:
        message = (
            f"the remote repository cannot be used: {error}; check the address and your access, or name a local clone"
        )
        raise RepositoryError(message) from error
