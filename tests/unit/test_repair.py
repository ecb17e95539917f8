"""The repair ladder."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workflows.repair import Ladder, Level


def test_each_rung_is_taken_once_and_a_person_ever_after() -> None:
    ladder = Ladder(models=2)
    levels = [ladder.climb().level for _ in range(6)]
    assert levels == [Level.FEEDBACK, Level.NEXT_MODEL, Level.CLEAN_START, Level.PERSON, Level.PERSON, Level.PERSON]
    assert ladder.climbed == 6


def test_with_one_model_there_is_no_second_one() -> None:
    ladder = Ladder(models=1)
    assert [ladder.climb().level for _ in range(3)] == [Level.FEEDBACK, Level.CLEAN_START, Level.PERSON]


def test_the_next_model_is_kept_until_a_clean_start_begins_with_the_first_again() -> None:
    ladder = Ladder(models=3)
    ladder.climb()
    assert ladder.climb().chain_offset == 1
    rung = ladder.climb()
    assert (rung.chain_offset, rung.agent_shift, rung.restart) == (0, 1, True)
    assert ladder.agent_shift == 1


def test_who_gives_up_is_not_asked_the_same_again() -> None:
    assert Ladder(models=2).climb(gave_up=True).level is Level.NEXT_MODEL
    assert Ladder(models=1).climb(gave_up=True).level is Level.CLEAN_START


@given(st.integers(1, 5), st.lists(st.booleans(), min_size=1, max_size=8))
def test_the_ladder_only_goes_up_and_never_past_the_chain(models: int, failures: list[bool]) -> None:
    ladder = Ladder(models)
    rungs = [ladder.climb(gave_up=gave_up) for gave_up in failures]
    levels = [rung.level for rung in rungs]
    assert levels == sorted(levels)
    assert all(rung.chain_offset < models for rung in rungs)
    assert sum(rung.restart for rung in rungs) <= 1
    assert all(rung.reason for rung in rungs)
