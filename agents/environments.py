"""The target's own environment: built once per digest of its project files, apart from Syndic's.

The package itself is installed, so that its metadata is there, but never editable: an editable install would make the
tests of every worktree import one and the same checkout. `source_roots` of the worktree go first on `PYTHONPATH`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from agents.detection import DEV_NAMES, TEST_NAMES, Needs, project_digest, read_needs, static_roots
from agents.errors import PathEscapeError, SetupFailedError
from agents.gate_detection import detect_gates
from agents.paths import resolve_inside
from agents.sandbox import Completed, Limits, Sandbox
from agents.target import Environment, EnvironmentKind
from agents.worktree import remove_tree
from ledger.vocabulary import Record

__all__ = ["build_environment", "detect_gates", "environment_variables", "find_uv"]

SETUP_TIMEOUT_S = 900.0
_VERSION = "1"
"""Part of every digest; raised when environments of older builds must not be used any more."""
_TOOLS = ("pytest", "coverage")
"""What gates and the ranking of suspects need in every environment."""
_OVERLAY = Path(__file__).with_name("target_overlay.py")
_LOCK_WAIT_S = 0.1


class _Overlay(Record):
    roots: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    generated: int = 0


async def build_environment(
    tree: Path, *, setup: tuple[str, ...] | None = None, cache: Path, sandbox: Sandbox, uv: str | None = None,
    timeout_s: float = SETUP_TIMEOUT_S,
) -> Environment:  # fmt: skip
    """Build the environment of a tree, or take the one that was built from the same project files.

    Args:
        tree: The exported base commit; it is only read.
        setup: The brief's own commands, each a shell line; None means to detect what is needed.
        cache: Folder of all environments, shared by workers of this machine.
        sandbox: Everything runs in it; only here with network.
        uv: Path of uv; None looks for it, and pip is used where there is none.
        timeout_s: For each command.

    Raises:
        SetupFailedError: A command failed; holds its last lines and the remedy.
        SandboxMissingError: Programs cannot be confined.
    """
    needs = read_needs(tree)
    kind = EnvironmentKind.CUSTOM if setup is not None else needs.kind
    parts = (_VERSION, sys.version, kind, *(setup or ()))
    digest = project_digest(tree, *parts)
    if kind is EnvironmentKind.NONE:
        return Environment(kind=kind, digest=digest)
    home = cache.absolute() / digest
    home.mkdir(parents=True, exist_ok=True)
    async with _locked(home.with_suffix(".lock")):
        if ready := _ready(home):
            return ready
        builder = _Builder(home, tree.absolute(), needs, sandbox, uv or find_uv(), timeout_s)
        environment = await builder.build(kind, digest, setup)
        draft = home / "environment.json.new"
        draft.write_text(environment.model_dump_json())
        draft.replace(home / "environment.json")
        return environment


def environment_variables(environment: Environment, tree: Path) -> dict[str, str]:
    """What programs of the target find besides the sandbox's own variables: their environment, the worktree's modules."""
    variables: dict[str, str] = {}
    if environment.path:
        variables["VIRTUAL_ENV"] = environment.path
        variables["PATH"] = f"{environment.path}/bin:/usr/local/bin:/usr/bin:/bin"
    if environment.source_roots:
        variables["PYTHONPATH"] = os.pathsep.join(str((tree / root).absolute()) for root in environment.source_roots)
    return variables


def find_uv() -> str | None:
    """uv next to our own interpreter, on the PATH, or in the bootstrap folder beside our environment."""
    near = (Path(sys.executable).parent / "uv", Path(sys.prefix).parent / ".bootstrap" / "bin" / "uv")
    found = next((str(path) for path in near if os.access(path, os.X_OK)), None)
    return found or shutil.which("uv")


def _ready(home: Path) -> Environment | None:
    try:
        environment = Environment.model_validate_json((home / "environment.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return environment if environment.path and (Path(environment.path) / "bin" / "python").exists() else None


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """One builder at a time, also among processes; the lock ends with its holder."""
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOCK_WAIT_S)
        yield


@dataclass(frozen=True)
class _Builder:
    home: Path
    tree: Path
    needs: Needs
    sandbox: Sandbox
    uv: str | None
    timeout_s: float

    @property
    def venv(self) -> Path:
        return self.home / "venv"

    @property
    def source(self) -> Path:
        """A copy of the tree for build backends, which write into what they build."""
        return self.home / "work" / "source"

    async def build(self, kind: EnvironmentKind, digest: str, setup: tuple[str, ...] | None) -> Environment:
        work = self.home / "work"
        for leftover in (self.venv, work):
            await asyncio.to_thread(remove_tree, leftover)
        self.venv.mkdir()
        work.mkdir()
        try:
            await asyncio.to_thread(shutil.copytree, self.tree, self.source, symlinks=True)
            await self._create(seed=setup is not None)
            warnings = await (self._custom(setup) if setup is not None else self._install())
            overlay = await self._overlay()
            roots = tuple(dict.fromkeys((*filter(self._is_inside, overlay.roots), *static_roots(self.tree))))
            return Environment(
                kind=kind, path=str(self.venv), digest=digest, source_roots=roots, setup=setup, warnings=warnings
            )
        finally:
            await asyncio.to_thread(remove_tree, work)

    async def _create(self, *, seed: bool) -> None:
        python = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")
        if self.uv:
            command = [self.uv, "venv", "--quiet", "--no-project", "--no-config", "--clear", "--python", python]
            await self._must([*command, *(["--seed"] if seed else []), str(self.venv)])
        else:
            await self._must([python, "-m", "venv", "--clear", str(self.venv)])

    async def _custom(self, setup: Sequence[str]) -> tuple[str, ...]:
        for line in setup:
            await self._must(["/bin/sh", "-c", line], shown=line)
        if self.needs.kind is not EnvironmentKind.NONE:
            await self._pip("install", *_TOOLS)
        return ()

    async def _install(self) -> tuple[str, ...]:
        """Package and test requirements; where only the guessed requirements fail, the package alone and a warning."""
        warnings: tuple[str, ...] = ()
        base = [part for file in self.needs.files for part in ("-r", file)]
        tests = [word for need in self.needs.requirements for word in _words(need)]
        try:
            await self._pip("install", *self._target(self.needs.extras), *base, *tests, *_TOOLS)
        except SetupFailedError as error:
            if not tests and not self.needs.extras:
                raise
            await self._pip("install", *self._target(()), *base, *_TOOLS)
            warnings = (f"the test requirements could not be installed: {error.tail[-300:].strip()}",)
        if self.needs.package and not self.needs.extras:
            await self._late_extras()
        return warnings

    async def _late_extras(self) -> None:
        """Extras that only the built package knows (setup.py)."""
        known = (await self._overlay()).extras
        chosen = [e for e in known if e in TEST_NAMES] or [e for e in known if e in DEV_NAMES]
        if chosen and all(re.fullmatch(r"[\w.-]+", extra) for extra in chosen):
            await self._pip("install", *self._target(tuple(chosen)))

    def _target(self, extras: tuple[str, ...]) -> list[str]:
        if not self.needs.package:
            return []
        return [f".[{','.join(extras)}]" if extras else "."]

    async def _pip(self, *arguments: str) -> None:
        constraints = self.home / "work" / "constraints.txt"
        constraints.write_text("".join(f"{line}\n" for line in self.needs.constraints))
        limited = [*arguments, *(["-c", str(constraints)] if self.needs.constraints else [])]
        if self.uv:
            await self._must([self.uv, "pip", *limited, "--quiet", "--python", str(self.venv / "bin" / "python")])
        else:
            await self._must([str(self.venv / "bin" / "python"), "-m", "pip", *limited, "--quiet", "--no-cache-dir"])

    async def _overlay(self) -> _Overlay:
        argv = [str(self.venv / "bin" / "python"), "-I", "-c", _OVERLAY.read_text(), str(self.source), str(self.tree)]
        done = await self._run(argv, network=False)
        try:
            return _Overlay.model_validate_json(done.stdout)
        except ValidationError as error:
            raise SetupFailedError("looking at the installed package", done.exit_code, done.stderr) from error

    async def _must(self, argv: list[str], shown: str | None = None) -> None:
        done = await self._run(argv, network=True)
        if done.exit_code != 0:
            command = (shown or shlex.join(argv)).replace(str(self.home), "ENVIRONMENT").replace(self.uv or "uv", "uv")
            stopped = f"\n[stopped: too much {done.exceeded}]" if done.exceeded else ""
            raise SetupFailedError(command, done.exit_code, done.stdout + done.stderr + stopped)

    async def _run(self, argv: list[str], *, network: bool) -> Completed:
        work = self.home / "work"
        return await self.sandbox.run(
            argv, cwd=self.source, writable=[self.venv, work],
            readable=[self.tree, *([Path(self.uv)] if self.uv else [])], env=self._variables(), network=network,
            limits=Limits(timeout_s=self.timeout_s, file_mb=8192),
        )  # fmt: skip

    def _variables(self) -> dict[str, str]:
        tools = f":{Path(self.uv).parent}" if self.uv else ""
        variables = {
            "VIRTUAL_ENV": str(self.venv),
            "PATH": f"{self.venv}/bin:/usr/local/bin:/usr/bin:/bin{tools}",
            "TMPDIR": str(self.home / "work"),
            "UV_CACHE_DIR": str(self.home / "work" / "cache"),
            "UV_LINK_MODE": "copy",
            "UV_COMPILE_BYTECODE": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            "PIP_NO_INPUT": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        } | _uv_indexes()
        return variables | (_scm_variables(self.tree, self.needs.name) if self.needs.scm_version else {})

    def _is_inside(self, root: str) -> bool:
        try:
            return resolve_inside(self.tree, root).is_dir()
        except PathEscapeError:
            return False


def _words(requirement: str) -> list[str]:
    """`-r file` is two arguments, everything else one; nothing else that looks like an option is let through."""
    if requirement.startswith("-r "):
        return ["-r", requirement[3:]]
    return [] if requirement.startswith("-") else [requirement]


def _uv_indexes() -> dict[str, str]:
    """pip's registry settings under uv's names, where uv has none of its own."""
    names = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_FIND_LINKS": "UV_FIND_LINKS"}
    return {uv: os.environ[pip] for pip, uv in names.items() if os.environ.get(pip) and uv not in os.environ}


def _scm_variables(tree: Path, name: str | None) -> dict[str, str]:
    """A version for build backends that ask git for one."""
    package_information = tree / "PKG-INFO"
    text = package_information.read_text(errors="replace") if package_information.is_file() else ""
    found = re.search(r"^Version: (\S+)$", text, re.MULTILINE)
    version = found[1] if found else "0.0.0"
    own = f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{re.sub(r'[-_.]+', '_', name).upper()}" if name else ""
    bypass = (
        "PBR_VERSION",
        "PDM_BUILD_SCM_VERSION",
        "UV_DYNAMIC_VERSIONING_BYPASS",
        "POETRY_DYNAMIC_VERSIONING_BYPASS",
    )
    return dict.fromkeys((own or "SETUPTOOLS_SCM_PRETEND_VERSION", *bypass), version)
