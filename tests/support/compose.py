"""A compose file as compose itself reads it: variables filled in, anchors resolved; what we use of its syntax."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<rest>[^}]*))?\})")


@dataclass(frozen=True)
class Use:
    """One `${NAME...}` in the file. `default` is None where a missing value is an error."""

    name: str
    default: str | None


def uses(text: str) -> list[Use]:
    """Every variable that the text wants, comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found = [match for match in _VARIABLE.finditer(lines) if match["name"]]
    return [Use(match["name"], None if match["how"] == ":?" else match["rest"] or "") for match in found]


def fill(value: Any, variables: Mapping[str, str]) -> Any:
    """Put the variables in, everywhere below `value`. Raises KeyError for one that is required and empty."""
    if isinstance(value, dict):
        return {name: fill(part, variables) for name, part in value.items()}
    if isinstance(value, list):
        return [fill(part, variables) for part in value]
    return _VARIABLE.sub(lambda match: _filled(match, variables), value) if isinstance(value, str) else value


def _filled(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match["name"] is None:
        return "$"
    found = variables.get(match["name"], "")
    if not found and match["how"] == ":?":
        raise KeyError(f"{match['name']} {match['rest']}")
    return found or (match["rest"] if match["how"] == ":-" else "")


def services(path: Path) -> dict[str, dict[str, Any]]:
    """The services with their variables still to be filled in."""
    return yaml.safe_load(path.read_text())["services"]


def read_env(path: Path) -> dict[str, str]:
    """The assignments of an `.env` file."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
