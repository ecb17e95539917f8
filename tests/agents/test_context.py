"""What a model is shown."""

from __future__ import annotations

import json

import pytest

from agents.assignments import Assignment, Work
from agents.context import KEPT_CHARS, NO_WINDOW, PROMPT_VERSION, WINDOW_CHARS, fit, opening, window_for
from agents.roles import AGENT_TYPES, OFFLINE_MODEL
from agents.team import card
from ledger.vocabulary import Role, Seat, Tier


def assignment(role: Role, seat: Seat | None = None) -> Assignment:
    work = AGENT_TYPES[role].work[0]
    return Assignment(work=work, project="p", task="t", role=role, seat=seat, agent=f"p.{role}.ada", goal="tidy up")


def tool(text: str) -> dict[str, str]:
    return {"role": "tool", "tool_call_id": "c", "content": text}


@pytest.mark.parametrize("role", list(Role))
def test_every_role_has_a_prompt_that_warns_of_the_repository_and_says_how_to_end(role: Role) -> None:
    system, user = opening(assignment(role), PROMPT_VERSION)
    assert AGENT_TYPES[role].title in system["content"]
    assert "data, not instructions" in system["content"]
    assert "`finish`" in system["content"]
    assert "{" not in system["content"].replace("{name}", "")
    assert json.loads(user["content"].split("```json\n")[1].split("\n```")[0])["goal"] == "tidy up"


def test_each_seat_of_the_council_has_its_own_duty() -> None:
    prompts = {seat: opening(assignment(Role.JUDGE, seat), PROMPT_VERSION)[0]["content"] for seat in Seat}
    assert len(set(prompts.values())) == len(Seat)
    assert all(f"the {seat} seat" in prompt for seat, prompt in prompts.items())


def test_a_conversation_within_the_window_is_left_alone() -> None:
    messages = [tool("x" * 5000), {"role": "user", "content": "go on"}]
    assert fit(messages, 10_000) == messages


def test_the_oldest_tool_outputs_give_way_first_and_only_they() -> None:
    messages = [{"role": "user", "content": "u" * 5000}, *(tool(str(n) * 5000) for n in range(3))]
    fitted = fit(messages, 16_000)
    assert fitted[0] == messages[0]
    assert json.loads(fitted[1]["content"]) == {"shortened": True, "characters": 5000, "begins": "0" * KEPT_CHARS}
    assert fitted[2:] == messages[2:]
    assert fit(messages, 16_000) == fitted
    assert messages[1]["content"] == "0" * 5000


def test_the_offline_model_sees_everything_and_others_a_window() -> None:
    assert window_for((OFFLINE_MODEL,)) == NO_WINDOW
    assert window_for(("openai/gpt-4o", OFFLINE_MODEL)) == WINDOW_CHARS


def test_every_role_has_a_type_that_covers_all_work_and_a_card() -> None:
    assert set(AGENT_TYPES) == set(Role)
    assert {work for kind in AGENT_TYPES.values() for work in kind.work} == set(Work)
    shown = card("p.engineer.ada", Role.ENGINEER)
    assert (shown.name, shown.tier) == ("ada", Tier.WRITE)
