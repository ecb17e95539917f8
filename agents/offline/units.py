"""Parts of a repository that can be worked on side by side: folders whose scopes do not overlap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_MOST = 6
"""Parts at most; the smallest ones are put together."""


@dataclass(frozen=True)
class Unit:
    """A part of the repository: its name for people, the globs that name it, the files in question."""

    name: str
    scope: tuple[str, ...]
    files: tuple[str, ...]


def split(files: Iterable[str]) -> list[Unit]:
    """Group files by top-level package, or by sub-package where there is only one package."""
    paths = sorted(set(files))
    groups = _by_folder(paths, 1)
    if len(groups) == 1:
        groups = _by_folder(paths, 2)
    ordered = sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    units = [_unit(folder, deep, members) for (folder, deep), members in ordered]
    if len(units) <= _MOST:
        return units
    rest = units[_MOST - 1 :]
    merged = Unit(
        "rest",
        tuple(dict.fromkeys(glob for unit in rest for glob in unit.scope)),
        tuple(path for unit in rest for path in unit.files),
    )
    return [*units[: _MOST - 1], merged]


def _by_folder(paths: list[str], depth: int) -> dict[tuple[str, bool], list[str]]:
    """Files by folder of a depth; the flag says whether everything below the folder belongs to it."""
    groups: dict[tuple[str, bool], list[str]] = {}
    for path in paths:
        parts = path.split("/")[:-1]
        wanted = depth + (parts[:1] == ["src"] or parts[:1] == ["lib"])
        deep = len(parts) >= wanted
        groups.setdefault(("/".join(parts[:wanted]), deep), []).append(path)
    return groups


def _unit(folder: str, deep: bool, members: list[str]) -> Unit:
    if deep and folder:
        scope: tuple[str, ...] = (f"{folder}/**",)
    else:
        scope = (f"/{folder}/*.py" if folder else "/*.py",)
    return Unit(folder.removeprefix("src/") or "top level", scope, tuple(members))
