"""What goals and feedback are understood to ask for."""

from __future__ import annotations

import pytest

from agents.assignments import Feedback
from agents.offline.intents import read_goal
from agents.offline.wishes import read_wishes


@pytest.mark.parametrize(
    ("goal", "served"),
    [
        ("Make the red tests green and tidy the package", ("repair", "tidy")),
        ("Fix lint warnings", ("tidy",)),
        ("Fix the bug in the report module", ("repair",)),
        ("Repair the failing tests, clean up the code and write a report on the risks", ("repair", "analyze", "tidy")),
        (
            "Bring this neglected package back into shape: fix the red tests, report the risks",
            ("repair", "analyze", "tidy"),
        ),
        ("analyze", ("analyze",)),
        ("Review the code", ("analyze",)),
        ("make tests pass", ("repair",)),
        ("Get the suite green. Then simplify.", ("repair", "tidy")),
        ("Look after this package", ("repair", "tidy")),
        ("Remove dead code", ("tidy",)),
        ("Clean up unused imports and variables", ("tidy",)),
    ],
)
def test_a_goal_is_sorted_into_what_rules_can_serve(goal: str, served: tuple[str, ...]) -> None:
    intents = read_goal(goal)
    assert intents.served == served
    assert not intents.unserved


@pytest.mark.parametrize(
    "goal",
    [
        "Add a REST API and docs",
        "Translate the README to German",
        "Improve performance",
        "Write tests",
        "Fix type annotations",
    ],
)
def test_a_goal_that_no_rule_serves_is_not_served(goal: str) -> None:
    intents = read_goal(goal)
    assert intents.served == ()
    assert len(intents.unserved) == 1


def test_of_a_mixed_goal_the_rest_is_named() -> None:
    intents = read_goal("Fix the failing tests and add a CLI")
    assert intents.served == ("repair",)
    assert intents.unserved == ("add a cli",)


def wishes_of(text: str, source: str = "person:ann"):
    return read_wishes([Feedback(source=source, text=text)])


def test_a_person_may_narrow_the_kinds_of_work() -> None:
    assert wishes_of("only tidy please").only == {"tidy"}
    assert wishes_of("No lint, thanks").never == {"tidy"}
    assert wishes_of("without the analysis").never == {"analyze"}


def test_a_person_may_drop_tasks_paths_and_rules() -> None:
    wishes = wishes_of("Skip tidy-tally-report; don't touch src/pkg/old.py; no SIM108")
    assert "tidy-tally-report" in wishes.tasks
    assert wishes.paths == {"src/pkg/old.py"}
    assert wishes.rules == {"SIM108"}
    assert not wishes.unheard


def test_what_no_rule_understands_is_kept_in_the_persons_words() -> None:
    assert wishes_of("Please use a nicer architecture").unheard == ["Please use a nicer architecture"]


def test_what_gates_say_is_no_wish() -> None:
    assert not wishes_of("no lint", source="gate:tests").never
