"""Which paths a task may change: scope globs in gitignore syntax, and the files that need to be named outright.

Tests are the oracle and gate configuration is the yardstick, so a change may touch neither by accident: a glob opens such a
file only when it matches because of what makes the file special. `tests/**` names `tests/test_a.py`; `**`, `src/**` and
`**/*.py` do not, although they match it. Pure: only names are looked at, never the file system.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from pathspec import GitIgnoreSpec

_TEST_FOLDERS = frozenset({"test", "tests", "testing"})
_TEST_NAME = re.compile(r"(?:test_.*|.*_tests?|tests?)\.pyi?$")
_GATE_FOLDERS = frozenset({".github", ".circleci", ".gitlab"})
_GATE_NAMES = frozenset(
    {
        "pyproject.toml", "setup.cfg", "tox.ini", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "noxfile.py",
        "makefile",
        "ruff.toml", ".ruff.toml", ".flake8", ".pylintrc", "mypy.ini", ".mypy.ini", "pyrightconfig.json", ".coveragerc",
        ".pre-commit-config.yaml", ".gitlab-ci.yml", ".travis.yml", "conftest.py", "sitecustomize.py", "usercustomize.py",
    }
)  # fmt: skip
_NEUTRAL = "syndic-neutral"


def in_scope(scope: Sequence[str], path: str) -> bool:
    """Whether the globs cover the path, later ones and negations (`!glob`) deciding as in a `.gitignore`."""
    return _matches(tuple(scope), _plain(path))


def is_test_file(path: str) -> bool:
    """Whether the path belongs to the tests: a folder `tests`, a `test_*.py`, `*_test.py` or `conftest.py`."""
    return any(_is_test_part(part, last) for part, last in _parts(path))


def is_gate_configuration(path: str) -> bool:
    """Whether the file decides what a gate checks: tool configuration, test configuration, continuous integration."""
    return any(_is_gate_part(part, last) for part, last in _parts(path))


def refusal_to_write(scope: Sequence[str], path: str) -> str | None:
    """Why a path inside the worktree may not be changed under this scope, or None where it may.

    Args:
        scope: Globs in gitignore syntax.
        path: Relative to the worktree.
    """
    shown = ", ".join(scope)[:200]
    if not in_scope(scope, path):
        return f"{path!r} is outside the task's scope ({shown})"
    if not (is_test_file(path) or is_gate_configuration(path)) or _names(scope, path):
        return None
    what = "a test file" if is_test_file(path) else "gate configuration"
    return f"{path!r} is {what} and no glob of the scope ({shown}) names it outright"


def _names(scope: Sequence[str], path: str) -> bool:
    """Whether some glob matches the path but not its twin, in which everything special has an ordinary name."""
    twin = "/".join(_neutral(part, last) for part, last in _parts(path))
    return any(
        _matches((glob,), _plain(path)) and not _matches((glob,), twin) for glob in scope if not glob.startswith("!")
    )


def _neutral(part: str, last: bool) -> str:
    special = _is_test_part(part, last) or _is_gate_part(part, last)
    return _NEUTRAL + (PurePosixPath(part).suffix if last else "") if special else part


def _is_test_part(part: str, last: bool) -> bool:
    name = part.casefold()
    return bool(_TEST_NAME.match(name)) or name == "conftest.py" if last else name in _TEST_FOLDERS


def _is_gate_part(part: str, last: bool) -> bool:
    name = part.casefold()
    return name in _GATE_NAMES or name.endswith(".pth") if last else name in _GATE_FOLDERS


def _parts(path: str) -> tuple[tuple[str, bool], ...]:
    parts = PurePosixPath(path).parts
    return tuple((part, index == len(parts) - 1) for index, part in enumerate(parts))


def _plain(path: str) -> str:
    return str(PurePosixPath(path))


@lru_cache(maxsize=512)
def _compiled(globs: tuple[str, ...]) -> GitIgnoreSpec | None:
    try:
        return GitIgnoreSpec.from_lines(globs)
    except ValueError:
        return None  # a glob nobody can read opens nothing


def _matches(globs: tuple[str, ...], path: str) -> bool:
    spec = _compiled(globs)
    return spec is not None and spec.match_file(path)
