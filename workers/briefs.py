"""A person's brief, checked before anything starts: every complaint names the place and what would be right."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from agents.profiles import PROFILE_TAGS, check_team
from ledger.vocabulary import Json
from workers.errors import WorkersError
from workflows.briefs import check_models, fixed_plan, gate_specs
from workflows.entitlement import Entitlement
from workflows.specs import ProjectSpec, TaskBrief

BRIEF_SUFFIXES = (".json", ".yaml", ".yml")
_ID_LENGTH = 40


class BriefError(WorkersError):
    """The brief cannot be used as it is."""


def is_brief(text: str) -> bool:
    """Whether the argument of `run` names a file and not a goal."""
    return text.endswith(BRIEF_SUFFIXES) and " " not in text


def read_brief(path: Path) -> dict[str, Json]:
    """The mapping in a JSON or YAML file.

    Raises:
        BriefError: The file is missing, unreadable, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BriefError(f"{path} does not exist; `syndic init` writes a brief to start from") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BriefError(f"{path} cannot be read: {error}") from error
    try:
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise BriefError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from error
    except yaml.YAMLError as error:
        raise BriefError(f"{path} is not valid YAML: {error}") from error
    except (ValueError, RecursionError) as error:
        raise BriefError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise BriefError(f"{path} must hold a mapping such as `goal: ...`, found {type(content).__name__}")
    return _plain(content, path)


def _plain(content: dict[str, Json], path: Path) -> dict[str, Json]:
    """The same in JSON, which is what workflows take: YAML also knows dates, keys that are no text, and circles."""
    try:
        return json.loads(json.dumps(content, default=str))
    except (TypeError, ValueError, RecursionError) as error:
        raise BriefError(
            f"{path} holds what JSON cannot express ({error}); write plain text, numbers and lists"
        ) from error


def parse_spec(content: dict[str, Json]) -> ProjectSpec:
    """The specification in a brief.

    Raises:
        BriefError: One line for each mistake; unknown keys come with the nearest known one.
    """
    try:
        spec = ProjectSpec.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise BriefError("\n".join(_explain(problem, content) for problem in error.errors())) from None
    if spec.carried is not None:
        raise BriefError("carried: only a project that continues as new sets this; remove it")
    check_tasks(spec.tasks)
    try:
        check_models(spec.models)
        if faults := check_team(dict(spec.prompts), spec.profiles):
            raise ValueError("\n".join(faults))
        gate_specs(spec.gates)
        Entitlement(spec.approvers, spec.approvals)
        fixed_plan(spec)
    except ValueError as error:
        raise BriefError(str(error)) from None
    return spec


def check_tasks(tasks: Sequence[TaskBrief]) -> None:
    """Refuse repeated ids, unknown dependencies and cycles.

    Raises:
        BriefError: Names the tasks.
    """
    ids = [task.id for task in tasks]
    if repeated := sorted({task for task in ids if ids.count(task) > 1}):
        raise BriefError(f"tasks: the id {repeated[0]!r} is used more than once; give each task its own")
    for task in tasks:
        for needed in task.depends_on:
            if needed not in ids:
                raise BriefError(f"tasks.{task.id}.depends_on: there is no task {needed!r}{_nearest(needed, ids)}")
    try:
        TopologicalSorter({task.id: task.depends_on for task in tasks}).prepare()
    except CycleError as error:
        raise BriefError(f"tasks: {' -> '.join(reversed(error.args[1]))} is a cycle; remove one depends_on") from None


def derive_project_id(repository: str) -> str:
    """The repository's name as a slug, with a short random suffix so that a second run is another project."""
    name = Path(repository.rstrip("/").removesuffix(".git")).name.lower()
    slug = re.sub(r"[^a-z0-9]+", "-", name).strip("-")[:_ID_LENGTH].strip("-") or "project"
    return f"{slug}-{secrets.token_hex(2)}"


def parse_minutes(text: str) -> int:
    """Minutes in `90`, `45m`, `2h` or `1d`.

    Raises:
        BriefError: Something else.
    """
    match = re.fullmatch(r"(\d+)\s*([mhd]?)", text.strip())
    minutes = int(match[1]) * {"": 1, "m": 1, "h": 60, "d": 24 * 60}[match[2]] if match else 0
    if minutes < 1:
        raise BriefError(f"{text!r} is no duration; write minutes (90) or 45m, 2h, 1d")
    return minutes


def _explain(problem: Any, content: Json) -> str:
    path: tuple[str | int, ...] = tuple(part for part in problem["loc"] if part not in PROFILE_TAGS)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(ProjectSpec, path[:-1])
        return f"{_dotted(path, content)}: there is no such key{_nearest(str(path[-1]), known) or _known(known)}"
    if problem["type"] == "missing":
        return f"{_dotted(path, content)}: this key is missing"
    if problem["type"] == "string_pattern_mismatch":
        return f"{_dotted(path, content)}: write 1 to 48 of a-z, 0-9 and inner hyphens"
    text = problem["msg"].removeprefix("Value error, ")
    return f"{_dotted(path, content)}: {text[0].lower()}{text[1:]}"


def _dotted(path: Sequence[str | int], content: Json) -> str:
    """`tasks.<id>.key` reads better than `tasks.2.key`."""
    words: list[str] = []
    for part in path:
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            content = None
        name = content.get("id") or content.get("name") if isinstance(part, int) and isinstance(content, dict) else None
        words.append(str(name or part))
    return ".".join(words)


def _fields_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            inner = _model_in(model.model_fields[part].annotation)
            if inner is not None:
                model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, list, Union, UnionType, Annotated):
        return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
    return None


def _nearest(word: str, known: Sequence[str]) -> str:
    match = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""


def _known(names: Sequence[str]) -> str:
    return f"; known keys: {', '.join(name for name in names if name != 'carried')}"
