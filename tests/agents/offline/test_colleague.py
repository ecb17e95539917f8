"""The maintainer as a colleague and as a project manager: the same situation, the same decision."""

from __future__ import annotations

import json
from typing import Any

from agents.assignments import Assignment, Document, Reply, Supervision, Work
from agents.context import PROMPT_VERSION, opening
from agents.graphs.checks import supervision_faults
from agents.offline.maintainer import respond
from agents.situations import OpenQuestion, Situation, Trouble
from ledger.vocabulary import Role

FINISH = [{"function": {"name": "finish"}}]


def finished(assignment: Assignment, tools: list[dict[str, Any]]) -> dict[str, Any]:
    (call,) = respond(opening(assignment, PROMPT_VERSION), tools).tool_calls
    assert call["name"] == "finish"
    return json.loads(call["arguments"])


def answering(question: str, *documents: Document) -> Assignment:
    return Assignment(
        work=Work.ANSWER, project="p", task="t", role=Role.ARCHITECT, agent="p.architect.ada", goal="g",
        instructions=question, documents=documents, params={"question": "q", "asker": "p.engineer.ada"},
    )  # fmt: skip


def managing(situation: Situation) -> Supervision:
    assignment = Assignment(
        work=Work.SUPERVISE, project="p", task="team", role=Role.PROJECT_MANAGER, agent="p.project_manager.ada",
        goal="g", params={"situation": situation.model_dump(mode="json")},
    )  # fmt: skip
    first, second = (Supervision.model_validate(finished(assignment, FINISH)) for _ in range(2))
    assert first == second
    assert supervision_faults(first, situation) == []
    return first


def test_an_answer_quotes_what_the_documents_say_and_names_them() -> None:
    plan = Document(name="plan", text="the parser reads tokens\nsomething else")
    reply = Reply.model_validate(finished(answering("Who owns the parser?", plan), FINISH))
    assert "plan: the parser reads tokens" in reply.answer
    assert "something else" not in reply.answer
    assert [evidence.source for evidence in reply.evidence] == ["plan"]


def test_who_finds_nothing_says_so_and_is_not_sure() -> None:
    reply = Reply.model_validate(finished(answering("Who owns the parser?"), FINISH))
    assert "nothing about this" in reply.answer
    assert reply.confidence < 0.2


def test_a_circle_is_opened_at_the_question_that_asks_least() -> None:
    questions = (
        OpenQuestion(id="long", asker="a", to="b", text="Which of the two functions is meant?"),
        OpenQuestion(id="short", asker="b", to="a", text="Tabs?"),
    )
    decided = managing(Situation(trouble=Trouble.CYCLE, questions=questions))
    assert [ruling.question for ruling in decided.rulings] == ["short"]


def test_a_task_that_is_given_away_goes_to_the_first_role_that_can_do_it() -> None:
    decided = managing(
        Situation(trouble=Trouble.HANDOVER, task="t", giver="a", candidates=(Role.DEVOPS, Role.ENGINEER))
    )
    assert [(handover.task, handover.role) for handover in decided.handovers] == [("t", Role.DEVOPS)]
