"""The wait-for graph: every circle is found when it closes, and nothing else is taken for one."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from hypothesis import given
from hypothesis import strategies as st

from agents.situations import OpenQuestion
from workflows.waits import WaitGraph


def asked(asker: str, to: str, id: str = "") -> OpenQuestion:
    return OpenQuestion(id=id or f"{asker}>{to}", asker=asker, to=to, text="?")


def graph(*edges: tuple[str, str]) -> WaitGraph:
    waits = WaitGraph()
    for edge in edges:
        waits.add(asked(*edge))
    return waits


def test_two_who_wait_for_each_other_are_a_circle_that_begins_with_the_last_question() -> None:
    waits = graph(("ada", "grace"))
    assert waits.circle("ada>grace") == ()
    waits.add(asked("grace", "ada"))
    assert [question.id for question in waits.circle("grace>ada")] == ["grace>ada", "ada>grace"]


def test_a_circle_through_a_third_is_found_and_who_only_waits_for_it_is_not_part_of_it() -> None:
    waits = graph(("ada", "grace"), ("alan", "ada"), ("grace", "tony"), ("tony", "ada"))
    assert [question.asker for question in waits.circle("tony>ada")] == ["tony", "ada", "grace"]
    assert waits.circle("alan>ada") == ()


def test_an_answer_opens_the_circle() -> None:
    waits = graph(("ada", "grace"), ("grace", "ada"))
    waits.remove("ada>grace")
    assert waits.circle("grace>ada") == ()
    assert [question.id for question in waits.open] == ["grace>ada"]


def test_many_may_wait_for_one() -> None:
    waits = graph(("ada", "tony"), ("grace", "tony"), ("alan", "tony"))
    assert [waits.circle(question.id) for question in waits.open] == [(), (), ()]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=14, unique=True))
def test_a_circle_is_found_exactly_where_the_waits_have_no_order(edges: list[tuple[str, str]]) -> None:
    edges = [(asker, to) for asker, to in edges if asker != to]
    waits = graph(*edges)
    circles = [circle for question in waits.open if (circle := waits.circle(question.id))]
    try:
        TopologicalSorter({name: {to for asker, to in edges if asker == name} for name in "abcdef"}).prepare()
        ordered = True
    except CycleError:
        ordered = False
    assert ordered == (not circles)
    for circle in circles:
        assert all(one.to == following.asker for one, following in zip(circle, (*circle[1:], circle[0]), strict=True))
