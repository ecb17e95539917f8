"""The Temporal CLI profile that leads `temporal --profile syndic ...` to the embedded server."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from workers.stack.addresses import write_private
from workers.stack.errors import StackError

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def write_profile(path: Path, name: str, address: str, namespace: str) -> None:
    """Put one profile into the file and leave everything else in it as it is, comments included.

    Raises:
        StackError: the file is no TOML, or holds the profile in a form that this cannot replace safely.
    """
    if not BARE_KEY.fullmatch(name):
        raise StackError(f"{name!r} is no name for a Temporal profile: use letters, digits, - and _")
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    table = f"[profile.{name}]\naddress = {json.dumps(address)}\nnamespace = {json.dumps(namespace)}\n"
    rest = _without(before, name).rstrip("\n")
    after = f"{rest}\n\n{table}" if rest else table
    _check(path, name, before, after)
    if after != before:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, after)


def _without(text: str, name: str) -> str:
    """The text without the tables of the profile."""
    header = re.compile(rf"""^\s*\[\s*profile\s*\.\s*(?:{name}|"{name}"|'{name}')\s*(?:\.[^\]]*)?\]""")
    kept: list[str] = []
    remarks: list[str] = []  # at the end of a table they most likely belong to the next one
    skipping = False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            skipping = header.match(line) is not None
            kept += remarks
            remarks = []
        if not skipping:
            kept.append(line)
        elif line.lstrip().startswith("#"):
            remarks.append(line)
        elif line.strip():
            remarks = []
    return "".join(kept + remarks)


def _check(path: Path, name: str, before: str, after: str) -> None:
    try:
        old, new = tomllib.loads(before), tomllib.loads(after)
    except tomllib.TOMLDecodeError as error:
        raise StackError(f"{path} was left alone: it is no valid TOML ({error}), or profile {name} is inline") from None
    if _others(old, name) != _others(new, name):
        raise StackError(f"{path} was left alone: its profile {name} cannot be replaced without touching others")


def _others(content: dict[str, Any], name: str) -> dict[str, Any]:
    profiles = {key: value for key, value in content.get("profile", {}).items() if key != name}
    return {**{key: value for key, value in content.items() if key != "profile"}, "profile": profiles}
