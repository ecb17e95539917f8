"""A question in its several shapes: what the asker's run said, the run that answers it, what people see of it."""

from __future__ import annotations

from temporalio import workflow

from agents.assignments import Work
from agents.runs import AgentOutcome, AgentRun
from agents.situations import OpenQuestion
from ledger.vocabulary import ArtifactRef, Json, Role
from workflows import messages
from workflows.team_signals import Question
from workflows.views import WaitView
from workflows.working import Engages


def question_of(run: AgentRun, outcome: AgentOutcome) -> Question:
    """What a run that `needs_teammate` asks."""
    names: list[str] = outcome.result.get("documents") or []
    shown = tuple(document for document in run.documents if document.name in names)
    return Question(
        id=outcome.question_id or "",
        to=outcome.to_agent or "",
        text=outcome.question or outcome.summary,
        run=run.model_copy(update={"documents": shown or _background(run.documents), "feedback": ()}),
    )


def _background(documents: tuple[ArtifactRef, ...]) -> tuple[ArtifactRef, ...]:
    """What every colleague may know, where the asker names nothing."""
    return tuple(document for document in documents if document.name in ("requirements", "survey", "plan"))


def answering_run(question: Question, crew: Engages) -> AgentRun:
    """The run of the colleague: its own thread, budget and models, on what the asker sees."""
    asker = question.run
    role = Role(question.to.split(".")[-2])
    lineage = f"{asker.lineage}.q{question.id.rpartition('/')[2]}"
    about: dict[str, Json] = {
        "question": question.id,
        "asker": asker.agent,
        "role": asker.role.value,
        "task": asker.task,
    }
    return asker.model_copy(
        update={
            "lineage": lineage,
            "role": role,
            "agent": question.to,
            "seat": None,
            "work": Work.ANSWER,
            "title": f"A question of {asker.agent}",
            "instructions": question.text,
            "acceptance": (),
            "params": about,
            "chain": crew.chain_of(role),
            "chain_offset": 0,
            "attempt": 1,
            "budget_scope": f"{asker.budget_scope}/{lineage}",
            "answer": None,
            "answer_to": None,
        }
    )


def open_question(question: Question) -> OpenQuestion:
    """As the wait-for graph and the project manager know it."""
    run = question.run
    return OpenQuestion(id=question.id, asker=run.agent, to=question.to, text=question.text, task=run.task)


def wait_view(question: Question) -> WaitView:
    """As people see it, from now on."""
    run = question.run
    return WaitView(asker=run.agent, to=question.to, text=question.text, since=workflow.now(), task=run.task)


def told(run: AgentRun, text: str) -> dict[str, Json]:
    """An event of the live feed."""
    where: dict[str, Json] = {"sprint": run.sprint, "task": run.task, "agent": run.agent, "role": run.role.value}
    return {"type": "message", **where, "text": messages.bounded(text)}
