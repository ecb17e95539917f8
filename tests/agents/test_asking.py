"""Asking colleagues as the runs see it: the question, the rest, the answer in the inbox; and how long a run may take."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from agents.assignments import Work
from agents.runs import TimeLimits
from agents.situations import OpenQuestion, Situation, Trouble
from agents.tools.answers import Arguments
from agents.tools.base import Tool, ToolContext, ToolResult
from ledger.messages import NewMessage
from ledger.vocabulary import OutcomeKind, Role, Tier
from tests.agents.scripted import Says, by_turn
from tests.agents.test_runner import (  # noqa: F401 - fixtures
    BRANCH,
    DONE,
    Bench,
    bench,
    server,
    source,
    tool_messages,
)

ADA, TONY = "p.engineer.ada", "p.architect.tony"
TEAM = (TONY, "p.engineer.grace")


def ask(to: str = "architect", **more: Any) -> Says:
    return Says("I ask", (("ask", {"to": to, "question": "tabs or spaces?", **more}),))


def answering(id: str, agent: str = TONY) -> dict[str, Any]:
    """The request of the run that answers."""
    params = {"question": id, "asker": ADA, "role": "engineer", "task": "t"}
    return {
        "lineage": "engineer-1.q2", "role": Role.ARCHITECT, "agent": agent, "work": Work.ANSWER, "params": params,
        "instructions": "tabs or spaces?", "branch": None,
    }  # fmt: skip


REPLY = Says("here", (("finish", {"answer": "spaces", "confidence": 0.9}),))


async def test_an_asker_rests_and_goes_on_with_the_answer_where_it_was(bench: Bench) -> None:  # noqa: F811
    bench.server.script = by_turn(ask(), DONE)
    asked = await bench.run(colleagues=TEAM)
    assert (asked.kind, asked.to_agent, asked.question) == (OutcomeKind.NEEDS_TEAMMATE, TONY, "tabs or spaces?")
    assert (await bench.run(colleagues=TEAM), bench.server.calls) == (asked, 1)
    (query,) = [message for message in await bench.store.inbox("p", TONY) if message.type == "QUERY"]
    assert (query.source, query.correlation) == (ADA, asked.question_id)

    bench.server.script = by_turn(REPLY)
    answered = await bench.run(**answering(str(asked.question_id)))
    assert answered.kind is OutcomeKind.FINISHED
    assert [message.type for message in await bench.store.inbox("p", TONY)] == []
    (response,) = await bench.store.inbox("p", ADA)
    assert (response.type, response.source, response.correlation) == ("RESPONSE", TONY, asked.question_id)

    bench.server.script = by_turn(ask(), DONE)
    finished = await bench.run(colleagues=TEAM)
    assert (finished.kind, bench.server.calls) == (OutcomeKind.FINISHED, 3)
    told = bench.server.requests[-1]["messages"][-1]["content"]
    assert "agent:p.architect.tony" in told
    assert "spaces" in told
    assert await bench.store.inbox("p", ADA) == []
    assert (await bench.run(colleagues=TEAM), bench.server.calls) == (finished, 3)


async def test_the_colleagues_own_words_count_more_than_what_came_in_their_place(bench: Bench) -> None:  # noqa: F811
    bench.server.script = by_turn(ask(), DONE)
    asked = await bench.run(colleagues=TEAM)
    for source_, text in (("syndic", "nobody knows"), (TONY, "spaces")):
        message = NewMessage(
            id=f"m-{source_}", project="p", source=source_, target=ADA, type="RESPONSE", payload={"answer": text},
            correlation=asked.question_id,
        )  # fmt: skip
        await bench.store.post([message])
    assert (await bench.run(colleagues=TEAM)).kind is OutcomeKind.FINISHED
    assert "spaces" in bench.server.requests[-1]["messages"][-1]["content"]
    assert await bench.store.inbox("p", ADA) == []


async def test_a_question_to_nobody_of_the_team_is_an_error_that_names_the_team(bench: Bench) -> None:  # noqa: F811
    bench.server.script = by_turn(ask("p.engineer.hedy"), ask("ada"), DONE)
    assert (await bench.run(colleagues=(*TEAM, ADA))).kind is OutcomeKind.FINISHED
    for answer in tool_messages(bench.server):
        assert "you can ask: p.architect.tony, p.engineer.grace" in answer["error"]


async def test_who_has_no_colleagues_is_not_offered_the_tool_and_asks_what_it_asked_before(
    bench: Bench,  # noqa: F811
) -> None:
    bench.server.script = by_turn(DONE)
    await bench.run()
    sent = bench.server.requests[0]
    assert "ask" not in {tool["function"]["name"] for tool in sent["tools"]}
    assert "colleagues" not in sent["messages"][1]["content"]


async def test_a_question_to_an_agent_at_work_does_not_disturb_it(bench: Bench) -> None:  # noqa: F811
    bench.server.script = by_turn(ask("grace"))
    await bench.run(colleagues=TEAM)
    bench.server.script = by_turn(DONE)
    await bench.run(lineage="engineer-2", agent="p.engineer.grace")
    assert "tabs or spaces" not in json.dumps(bench.server.requests[-1]["messages"])
    assert [message.type for message in await bench.store.inbox("p", "p.engineer.grace")] == ["QUERY"]


async def test_thinking_for_too_long_ends_the_run_on_the_record(bench: Bench) -> None:  # noqa: F811
    bench.server.script = by_turn(Says("late", hold=(hold := threading.Event())))
    try:
        outcome = await bench.run(limits=TimeLimits(thinking_s=1))
    finally:
        hold.set()
    assert outcome.kind is OutcomeKind.FAILED
    assert "no answer within 1 s" in outcome.summary
    (late,) = [entry.body for entry in await bench.store.entries("p") if entry.kind == "state_timed_out"]
    assert (late["state"], late["limit_s"], late["agent"]) == ("thinking", 1, ADA)


async def test_a_tool_that_takes_too_long_is_stopped_and_the_model_is_told(bench: Bench) -> None:  # noqa: F811
    stopped = asyncio.Event()

    class Nothing(Arguments):
        pass

    async def sleep(context: ToolContext, arguments: Nothing) -> ToolResult:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    from dataclasses import replace

    slow = Tool("slow", "never ends", Nothing, Tier.READ, sleep, roles=frozenset({Role.ENGINEER}))
    bench.deps = replace(bench.deps, tools=(slow,))
    bench.server.script = by_turn(Says("go", (("slow", {}),)), DONE)
    outcome = await bench.run(limits=TimeLimits(executing_s=1))
    assert (outcome.kind, stopped.is_set()) == (OutcomeKind.FINISHED, True)
    assert "stopped after 1 s" in tool_messages(bench.server)[0]["error"]
    assert "state_timed_out" in await bench.kinds()


def situation(trouble: Trouble) -> Situation:
    questions = tuple(
        OpenQuestion(id=f"q{number}", asker=asker, to=to, text="?", task=asker[-1])
        for number, (asker, to) in enumerate([(ADA, TONY), (TONY, ADA)])
    )
    handover = trouble is Trouble.HANDOVER
    return Situation(
        trouble=trouble, questions=() if handover else questions, task="t", giver=ADA, reason="packaging",
        candidates=(Role.ENGINEER, Role.DEVOPS),
    )  # fmt: skip


def managing(trouble: Trouble) -> dict[str, Any]:
    params = {"situation": situation(trouble).model_dump(mode="json")}
    agent = "p.project_manager.ada"
    return {"role": Role.PROJECT_MANAGER, "agent": agent, "work": Work.SUPERVISE, "params": params, "branch": None}


@pytest.mark.parametrize(
    ("trouble", "duty", "useless", "useful"),
    [
        (
            Trouble.CYCLE, "None of them goes on",
            {"summary": "wait", "rulings": []}, {"summary": "go", "rulings": [{"question": "q1", "answer": "tabs"}]},
        ),
        (
            Trouble.TIMEOUT, "has not answered in time",
            {"summary": "go", "rulings": [{"question": "q9", "answer": "tabs"}]},
            {"summary": "go", "rulings": [{"question": "q0", "answer": "tabs"}]},
        ),
        (
            Trouble.HANDOVER, "gives task t away",
            {"summary": "qa", "handovers": [{"task": "t", "role": "qa"}]},
            {"summary": "devops", "handovers": [{"task": "t", "role": "devops"}]},
        ),
    ],
)  # fmt: skip
async def test_a_project_manager_is_told_its_duty_and_must_change_the_situation(
    bench: Bench,  # noqa: F811
    trouble: Trouble,
    duty: str,
    useless: dict[str, Any],
    useful: dict[str, Any],
) -> None:
    bench.server.script = by_turn(Says("", (("finish", useless),)), Says("", (("finish", useful),)))
    outcome = await bench.run(**managing(trouble))
    assert outcome.kind is OutcomeKind.FINISHED
    assert outcome.result["summary"] == useful["summary"]
    assert any(duty in str(message["content"]) for message in bench.server.requests[0]["messages"][2:])


async def test_a_project_manager_that_cannot_decide_asks_a_person_and_goes_on_with_the_answer(
    bench: Bench,  # noqa: F811
) -> None:
    decided = {"summary": "tabs", "rulings": [{"question": "q0", "answer": "tabs"}]}
    bench.server.script = by_turn(Says("", (("escalate", {"question": "tabs?"}),)), Says("", (("finish", decided),)))
    asked = await bench.run(**managing(Trouble.CYCLE))
    assert (asked.kind, asked.question) == (OutcomeKind.NEEDS_HUMAN, "tabs?")
    told = await bench.run(**managing(Trouble.CYCLE), answer="yes", answer_to=asked.question_id)
    assert told.kind is OutcomeKind.FINISHED


async def test_an_answer_that_another_run_waits_for_is_left_to_it(bench: Bench) -> None:  # noqa: F811
    bench.server.script = by_turn(ask())
    asked = await bench.run(colleagues=TEAM)
    message = NewMessage(
        id="m", project="p", source=TONY, target=ADA, type="RESPONSE", payload={"answer": "spaces"},
        correlation=asked.question_id,
    )  # fmt: skip
    await bench.store.post([message])
    bench.server.script = by_turn(DONE)
    await bench.run(lineage="engineer-2", task="other")
    assert [waiting.id for waiting in await bench.store.inbox("p", ADA)] == ["m"]


async def test_a_question_that_was_settled_without_the_colleague_is_not_left_in_its_inbox(
    bench: Bench,  # noqa: F811
) -> None:
    bench.server.script = by_turn(ask(), DONE)
    asked = await bench.run(colleagues=TEAM)
    message = NewMessage(
        id="m", project="p", source="syndic", target=ADA, type="RESPONSE", payload={"answer": "decide"},
        correlation=asked.question_id,
    )  # fmt: skip
    await bench.store.post([message])
    assert (await bench.run(colleagues=TEAM)).kind is OutcomeKind.FINISHED
    assert await bench.store.inbox("p", TONY) == []
