"""Every command of ours and every `temporal` command in README and docs exists, with each option that is shown."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from agents.profiles import read_profile
from agents.rehearsal.script import Rehearsal
from workers.briefs import parse_spec
from workers.cli import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEMPORAL = Path(sys.executable).with_name("temporal")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> Iterator[str]:
    for name, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if name == language:
            yield text


def shown(program: str) -> list[Any]:
    """Command lines of a program, named by their page."""
    return [
        pytest.param(line.split("  #")[0], id=f"{page.name}: {line}"[:90])
        for page in PAGES
        for text in blocks(page, "sh")
        for line in text.replace("\\\n", " ").splitlines()
        if line.startswith(f"{program} ")
    ]


@pytest.mark.parametrize("line", shown("syndic"))
def test_syndic_commands_parse(line: str) -> None:
    _, *words = shlex.split(line)
    group = typer.main.get_command(cli)
    context = group.make_context("syndic", words)
    while isinstance(group, typer.core.TyperGroup):
        name, group, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        context = group.make_context(name, rest, parent=context)


@functools.cache
def help_of(*words: str) -> str:
    """The help of a `temporal` command; it fails where there is no such command."""
    answer = subprocess.run([TEMPORAL, *words, "--help"], capture_output=True, text=True, timeout=60, check=True)
    return answer.stdout


@pytest.mark.parametrize("line", shown("temporal"))
def test_temporal_commands_and_their_options_exist(line: str) -> None:
    words = [word for word in shlex.split(line)[1:] if word not in ("--profile", "syndic")]
    first = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    usage = help_of(*words[:first])
    assert f"temporal {' '.join(words[:first])} [flags]" in usage
    for word in words[first:]:
        if word.startswith("--"):
            assert re.search(rf"(?<![\w-]){word}(?![\w-])", usage) or word == "--type", f"{word} in {line}"


@pytest.mark.parametrize("text", [text for page in PAGES for text in blocks(page, "yaml")])
def test_briefs_and_scripts_on_the_pages_are_accepted(text: str) -> None:
    content = yaml.safe_load(text)
    if "rules" in content:
        assert Rehearsal.model_validate(content).rules
    elif "role" in content:
        assert read_profile("parser-keeper", text.encode()).names
    else:
        parse_spec(content)


def test_the_readme_names_no_page_that_is_missing() -> None:
    pages = re.findall(r"\]\(([\w/.-]+\.md)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert pages
    assert [page for page in pages if not (ROOT / page).is_file()] == []


def test_every_key_of_a_brief_is_explained() -> None:
    from workflows.specs import ProjectSpec

    text = (ROOT / "docs" / "briefs.md").read_text(encoding="utf-8")
    assert [key for key in ProjectSpec.model_fields if key != "carried" and f"| `{key}` |" not in text] == []


def test_every_make_target_that_is_shown_exists() -> None:
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shown_targets = {
        name for page in PAGES for name in re.findall(r"(?:^ *|`)make ([a-z]+)", page.read_text(), re.MULTILINE)
    }
    assert shown_targets
    assert shown_targets <= known


def test_the_example_of_a_team_is_a_brief() -> None:
    brief = yaml.safe_load((ROOT / "examples" / "team" / "brief.yaml").read_text(encoding="utf-8"))
    assert parse_spec(brief).profiles[0] == "parser-keeper"
