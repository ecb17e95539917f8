from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agents.profiles import MAX_PROFILE_BYTES, Profile, ProfileError, TeamPlan, check_team, read_profile
from ledger.vocabulary import Role

EXAMPLES = Path(__file__).parents[2] / "examples" / "team" / ".syndic" / "profiles"


def profile(**more: Any) -> Profile:
    return Profile.model_validate({"name": "careful", "role": "engineer", "high": "Mind the users.", **more})


@pytest.mark.parametrize(
    "wrong",
    [
        {"nmae": "x"},
        {"role": "wizard"},
        {"role": "judge"},
        {"high": ""},
        {"folder": "src"},
        {"names": ["ada"], "folder": "../up"},
        {"names": ["ada"], "folder": "/etc"},
        {"names": ["ada"], "folder": "a/.git/b"},
        {"names": ["ada"], "folder": "src/*"},
        {"names": ["Ada Lovelace"]},
        {"skills": [""]},
        {"high": "x" * 4_001},
    ],
)
def test_a_profile_that_would_be_misread_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        profile(**wrong)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"role: [", "not valid YAML"),
        (b"\xff\xfe", "not valid YAML"),
        (b"- engineer", "must hold a mapping"),
        (b"role: engineer\nhihg: x", "hihg: Extra inputs are not permitted"),
        (b"name: other\nrole: engineer\nhigh: x", "the file's name says 'careful'"),
        (b"#" * (MAX_PROFILE_BYTES + 1), "the limit is"),
    ],
)
def test_a_broken_file_is_named_with_its_fault(content: bytes, message: str) -> None:
    with pytest.raises(ProfileError, match=r"^\.syndic/profiles/careful\.yaml: ") as error:
        read_profile("careful", content)
    assert message in str(error.value)


def test_the_example_is_valid() -> None:
    found = [read_profile(path.stem, path.read_bytes()) for path in sorted(EXAMPLES.glob("*.yaml"))]
    assert [one.name for one in found] == ["parser-keeper", "reviewers-friend"]


def test_an_agent_is_told_what_concerns_it_and_nothing_else() -> None:
    plan = TeamPlan(
        prompts={"default": "We use UTC.", "qa": "Look at the docs."},
        profiles=(
            profile(names=["ada"], low="Small steps.", skills=["typing"], folder="src/parser"),
            profile(name="rest", high="Be kind."),
        ),
    )
    told = plan.guidance("p.engineer.ada", Role.ENGINEER)
    for words in ("We use UTC.", "Mind the users.", "Small steps.", "typing", "src/parser"):
        assert words in told
    assert "Look at the docs." not in told
    assert plan.guidance("p.engineer.grace", Role.ENGINEER) == "We use UTC.\n\nBe kind."
    assert plan.guidance("p.qa.ada", Role.QA) == "We use UTC.\n\nLook at the docs."
    assert TeamPlan().guidance("p.qa.ada", Role.QA) == ""
    assert (plan.skills("p.engineer.ada"), plan.skills("p.qa.ada")) == (("typing",), ())


@pytest.mark.parametrize(
    ("scope", "narrowed"),
    [
        (("**",), ("src/parser/**",)),
        (("src/**", "docs/**"), ("src/parser/**",)),
        (("src/parser/a.py", "docs/**"), ("src/parser/a.py",)),
        (("src/parser/**",), ("src/parser/**",)),
        (("src/parsers/**",), None),
        (("docs/**",), None),
    ],
)
def test_a_folder_narrows_a_scope_and_never_widens_it(scope: tuple[str, ...], narrowed: tuple[str, ...] | None) -> None:
    plan = TeamPlan(profiles=(profile(names=["ada"], folder="src/parser"),))
    assert plan.narrowed("p.engineer.ada", scope) == narrowed
    assert plan.narrowed("p.engineer.grace", scope) == scope


def test_a_team_that_contradicts_itself_is_named() -> None:
    assert check_team({"default": "x", "qa": "y"}, ["careful", profile(name="other")]) == []
    assert "no role" in check_team({"quality": "x"}, [])[0]
    assert "given twice" in check_team({}, ["careful", profile()])[0]
    assert "both claim everyone else" in check_team({}, [profile(), profile(name="other")])[0]
    assert "both claim ada" in check_team({}, [profile(names=["ada"]), profile(name="other", names=["bob", "ada"])])[0]
