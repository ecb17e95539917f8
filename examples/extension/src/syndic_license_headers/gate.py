"""The gate `license-headers`: a repository that has a LICENSE wants the header in every Python file."""

from __future__ import annotations

from pathlib import Path

from agents.target import Environment, GateKind, GateSpec
from syndic_license_headers.tool import MARK

_PROGRAM = f"""
import pathlib, sys
bad = [str(p) for p in sorted(pathlib.Path().rglob("*.py")) if {MARK!r} not in "\\n".join(p.read_text().splitlines()[:5])]
print("\\n".join(bad))
sys.exit(bool(bad))
"""


def find_gates(tree: Path, environment: Environment) -> tuple[GateSpec, ...]:
    """The gate, or none for a repository without LICENSE or Python. It runs in the sandbox, in the target's environment."""
    if environment.path is None or not (tree / "LICENSE").is_file():
        return ()
    argv = ("python", "-c", _PROGRAM)
    return (GateSpec(name="license-headers", kind=GateKind.COMMAND, argv=argv, timeout_s=60),)
