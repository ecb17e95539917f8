from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger.vocabulary import Json, Mode
from workers.briefs import (
    BriefError,
    derive_project_id,
    is_brief,
    parse_minutes,
    parse_spec,
    read_brief,
)
from workflows.specs import ProjectSpec


def brief(**more: Json) -> dict[str, Json]:
    return {"goal": "mend it", "repository": "/srv/shop", **more}


def task(name: str, *needs: str, **more: Json) -> dict[str, Json]:
    return {"id": name, "instructions": "do it", "depends_on": list(needs), **more}


def complaint(content: dict[str, Json]) -> str:
    with pytest.raises(BriefError) as caught:
        parse_spec(content)
    return str(caught.value)


def test_a_plain_brief_becomes_a_specification() -> None:
    assert parse_spec(brief(mode="dry_run")).mode is Mode.DRY_RUN


def test_an_unknown_key_names_the_nearest_known_one() -> None:
    assert complaint(brief(budgte_usd="3")) == "budgte_usd: there is no such key; did you mean 'budget_usd'?"


def test_an_unknown_key_with_no_near_one_lists_the_known_ones() -> None:
    text = complaint(brief(zzz=1))
    assert text.startswith("zzz: there is no such key; known keys: goal, repository")
    assert "carried" not in text


def test_an_unknown_key_in_a_task_is_found_by_the_tasks_id() -> None:
    text = complaint(brief(tasks=[task("first"), {"id": "second", "instructions": "x", "depends_no": []}]))
    assert text == "tasks.second.depends_no: there is no such key; did you mean 'depends_on'?"


def test_an_unknown_key_in_a_gate_is_compared_with_the_keys_of_gates() -> None:
    text = complaint(brief(gates=[{"name": "unit", "run": "pytest", "timeout": 3}]))
    assert text == "gates.unit.timeout: there is no such key; did you mean 'timeout_s'?"


def test_every_mistake_is_named_at_once() -> None:
    assert len(complaint({"gaol": "x", "mode": "yolo"}).splitlines()) == 4


def test_a_cycle_is_named() -> None:
    text = complaint(brief(tasks=[task("a", "b"), task("b", "c"), task("c", "a")]))
    assert text.endswith("is a cycle; remove one depends_on")
    assert {"a", "b", "c"} <= set(text.replace("tasks:", "").split())


def test_a_dependency_that_does_not_exist_is_named_with_the_nearest_task() -> None:
    text = complaint(brief(tasks=[task("report"), task("fix", "reprot")]))
    assert text == "tasks.fix.depends_on: there is no task 'reprot'; did you mean 'report'?"


def test_two_tasks_with_one_id_are_refused() -> None:
    assert "'a' is used more than once" in complaint(brief(tasks=[task("a"), task("a")]))


def test_a_malformed_id_says_what_is_allowed() -> None:
    assert complaint(brief(project_id="My Shop")) == "project_id: write 1 to 48 of a-z, 0-9 and inner hyphens"


def test_what_only_continued_projects_carry_cannot_be_set_by_hand() -> None:
    carried = {"commit": "c", "base": "b", "target": {}, "plan": {}, "sprint": 1, "autonomy": "milestone"}
    carried["baseline"] = {"name": "baseline", "digest": "0"}
    assert "carried" in complaint(brief(carried=carried))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "not valid JSON"),
        ("a.yaml", "goal: [", "not valid YAML"),
        ("a.yaml", "- one", "must hold a mapping"),
        ("a.yaml", "", "must hold a mapping"),
    ],
)
def test_a_file_that_is_no_brief_is_named_with_its_fault(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BriefError, match=said) as caught:
        read_brief(tmp_path / name)
    assert name in str(caught.value)


def test_a_missing_brief_points_to_init(tmp_path: Path) -> None:
    with pytest.raises(BriefError, match="syndic init"):
        read_brief(tmp_path / "none.yaml")


def test_json_and_yaml_give_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(brief(max_parallel=2)))
    (tmp_path / "a.yaml").write_text("goal: mend it\nrepository: /srv/shop\nmax_parallel: 2\n")
    assert read_brief(tmp_path / "a.json") == read_brief(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "file"), [("fix it.yaml now", False), ("brief.yaml", True), ("a.json", True), ("mend", False)]
)
def test_a_goal_is_told_from_a_file(text: str, file: bool) -> None:
    assert is_brief(text) is file


@pytest.mark.parametrize(
    "repository", ["/srv/My Shop", "https://example.org/team/My_Shop.git", "/", "/srv/" + "x" * 90, "/srv/ÄÖ"]
)
def test_a_derived_id_is_always_valid_and_never_the_same_twice(repository: str) -> None:
    ids = {derive_project_id(repository) for _ in range(3)}
    assert len(ids) > 1
    for name in ids:
        ProjectSpec(goal="mend it", repository=repository, project_id=name)


@pytest.mark.parametrize(("text", "minutes"), [("90", 90), ("45m", 45), ("2h", 120), ("1d", 1440)])
def test_durations(text: str, minutes: int) -> None:
    assert parse_minutes(text) == minutes


@pytest.mark.parametrize("text", ["0", "soon", "-3", "2 weeks", ""])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(BriefError, match="is no duration"):
        parse_minutes(text)


def test_a_model_for_a_role_that_does_not_exist_is_refused() -> None:
    assert "'enginer' is no role" in complaint(brief(models={"enginer": ["openai/gpt-5-mini"]}))


def test_a_gate_that_no_shell_could_split_is_refused() -> None:
    assert "No closing quotation" in complaint(brief(gates=[{"name": "unit", "run": "pytest 'x"}]))


@pytest.mark.parametrize(
    ("team", "said"),
    [
        (
            {"profiles": [{"name": "careful", "role": "engineer", "hihg": "x"}]},
            "profiles.careful.hihg: there is no such key; did you mean 'high'?",
        ),
        ({"profiles": ["Not A Name"]}, "profiles.0: write 1 to 48 of a-z, 0-9 and inner hyphens"),
        (
            {"profiles": [{"name": "a", "role": "engineer", "names": ["ada"], "folder": "../x"}]},
            "profiles.a.folder: write a folder inside the repository, relative to its root, such as src/parser",
        ),
        ({"consensus": {"quorm": 2}}, "consensus.quorm: there is no such key; did you mean 'quorum'?"),
        ({"topology": "star"}, "topology: input should be 'supervisor', 'hierarchical', 'peer' or 'market'"),
    ],
)
def test_each_mistake_of_a_team_is_one_line(team: dict[str, Json], said: str) -> None:
    assert complaint(brief(**team)) == said
