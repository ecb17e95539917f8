"""Words for the repository under work: its gates, its environment and how it stood before any change."""

from __future__ import annotations

from enum import StrEnum

from agents.assignments import GateState
from ledger.vocabulary import Record


class GateKind(StrEnum):
    TESTS = "tests"
    LINT = "lint"
    FORMAT = "format"
    TYPES = "types"
    COMMAND = "command"


class GateSpec(Record):
    """A check of the target. `argv` runs in the worktree, in the sandbox, in the target's environment, without a shell."""

    name: str
    kind: GateKind
    argv: tuple[str, ...]
    timeout_s: int = 300


class EnvironmentKind(StrEnum):
    UV = "uv"
    POETRY = "poetry"
    PIP = "pip"
    PLAIN = "plain"
    """Python, but nothing to install: plain pytest."""
    CUSTOM = "custom"
    """The brief's own `setup:` commands."""
    NONE = "none"
    """No Python at all."""


class Environment(Record):
    """The target's own environment, built once per lock digest, apart from Syndic's."""

    kind: EnvironmentKind
    path: str | None = None
    """Absolute path of the virtual environment, None for `NONE`."""
    digest: str
    """SHA-256 over what decides its content (lock and project files, setup commands, Python version)."""
    setup: tuple[str, ...] | None = None
    """The brief's own commands it was built with, so that another worker can build it again."""
    source_roots: tuple[str, ...] = ()
    """Folders of the worktree that must be importable (`src`, `.`), since nothing is installed editable."""
    warnings: tuple[str, ...] = ()
    """What could not be installed although the target seems to want it."""


class GateResult(Record):
    gate: GateSpec
    passed: bool
    exit_code: int | None
    """None when it timed out."""
    duration_s: float
    failures: tuple[str, ...] = ()
    counts: dict[str, int] = {}
    tail: str = ""
    """The last 4,000 characters of its output."""

    def state(self) -> GateState:
        """The part that agents are shown."""
        return GateState(
            name=self.gate.name, kind=self.gate.kind, passed=self.passed, failures=self.failures, counts=self.counts
        )


class Baseline(Record):
    """How the gates stood at the base commit, before any change."""

    commit: str
    environment: Environment
    gates: tuple[GateResult, ...]


class Regression(Record):
    """Something that is worse than at the baseline."""

    gate: str
    text: str
    failures: tuple[str, ...] = ()
