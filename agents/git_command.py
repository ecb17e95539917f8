"""How git is started: with nothing a repository, a home folder or a machine could slip into it.

Every command names its git folder; hooks, fsmonitor, pagers and the `ext` transport are off; system, global and user
configuration are not read. Only the store's own configuration, which is ours, is left.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.disk import has_room, says_full
from agents.errors import DiskFullError, GitError, RepositoryError
from agents.processes import CHUNK, Pipe, Program, start

_OFF = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.autocrlf=false",
    "core.quotePath=false",
    "core.protectNTFS=true",
    "core.protectHFS=true",
    "core.splitIndex=false",
    "core.untrackedCache=false",
    "core.sshCommand=ssh -oBatchMode=yes",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "credential.helper=",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
)
_OPTIONS = tuple(part for setting in _OFF for part in ("-c", setting))
_PASSED = ("PATH", "SSH_AUTH_SOCK", "GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_STDERR = 4_000


@dataclass(frozen=True)
class Output:
    """What a git command gave; `truncated` says that `stdout` was cut at the asked limit."""

    code: int
    stdout: bytes
    stderr: str
    truncated: bool = False

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace").strip()


def git_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a git command; no transport is allowed unless `extra` says so."""
    kept = {name: os.environ[name] for name in _PASSED if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.lower() in _PROXIES}
    fixed = {
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ALLOW_PROTOCOL": "none",
    }
    return kept | fixed | dict(extra or {})


async def git(
    git_dir: Path,
    *arguments: str,
    work_tree: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    accept: Sequence[int] = (0,),
    limit: int | None = None,
) -> Output:
    """Run one git command on `git_dir`.

    Args:
        git_dir: The store, or the git folder of a person's repository for plain reads.
        arguments: Subcommand and its arguments.
        work_tree: Folder of checked-out files, also the working directory.
        env: Additions to the environment.
        stdin: What it reads.
        accept: Exit codes that are no error.
        limit: Bytes of standard output to read at most; the command is then ended.

    Raises:
        GitError: Another exit code; the message holds the end of standard error.
        RepositoryError: There is no git on this machine.
    """
    where = ("--git-dir", str(git_dir), *(("--work-tree", str(work_tree)) if work_tree else ()))
    try:
        process = start(
            "git", *_OPTIONS, *where, *arguments,
            cwd=work_tree or git_dir, env=git_environment(env),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    except FileNotFoundError as error:
        if not (work_tree or git_dir).is_dir():
            raise GitError(f"the folder {work_tree or git_dir} is gone") from error
        raise RepositoryError(
            "git is not installed; install version 2.38 or newer with your package manager"
        ) from error
    try:
        output = await _collect(process, stdin, limit)
    finally:
        await process.end()
    if output.code not in accept and not output.truncated:
        if says_full(output.stderr) or not has_room(work_tree or git_dir):  # git does not always say why it failed
            raise DiskFullError(f"git {arguments[0]} in {work_tree or git_dir}")
        raise GitError(
            f"git {arguments[0]} ended with exit code {output.code}: {output.stderr.strip() or 'no message'}"
        )
    return output


async def _collect(process: Program, stdin: bytes, limit: int | None) -> Output:
    assert process.stdout is not None
    assert process.stderr is not None
    feeding = asyncio.create_task(process.feed(stdin))
    complaining = asyncio.create_task(process.stderr.read())
    try:
        stdout, truncated = await _read(process.stdout, limit)
        if truncated and process.returncode is None:
            process.kill()
        stderr = (await complaining).decode("utf-8", "replace")
        await feeding
        return Output(await process.wait(), stdout, stderr[-_STDERR:], truncated)
    finally:
        feeding.cancel()
        complaining.cancel()


async def _read(pipe: Pipe, limit: int | None) -> tuple[bytes, bool]:
    if limit is None:
        return await pipe.read(), False
    data = bytearray()
    while len(data) <= limit and (chunk := await pipe.read(CHUNK)):
        data += chunk
    return bytes(data[:limit]), len(data) > limit
