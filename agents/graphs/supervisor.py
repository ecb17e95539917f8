"""The project manager at work on a team: assess, then assign, monitor or coordinate, until it completes or escalates.

`assess` looks at what the workflow found (waits, a task that is given away) and leads to the duty that it calls for; the duty
tells the model what to decide. Then it works like every agent. `complete` ends with a decision that the checks
have found to change the situation, `escalate` puts the question to a person and goes on with the answer.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from agents.assignments import Feedback
from agents.context import note
from agents.graphs import closing, thinking
from agents.graphs.build import Graph
from agents.graphs.working import after_work, work
from agents.situations import OpenQuestion, Situation, Trouble
from agents.state import RunContext, RunState

DUTIES = {Trouble.CYCLE: "coordinate", Trouble.TIMEOUT: "monitor", Trouble.HANDOVER: "assign"}


@cache
def supervisor() -> Graph:
    """Compiled on first use, once a process."""
    graph = StateGraph(RunState, context_schema=RunContext)
    graph.add_node("assess", assess)
    for name, node in (("assign", assign), ("monitor", monitor), ("coordinate", coordinate)):
        graph.add_node(name, node)
        graph.add_edge(name, "work")
    graph.add_node("work", work)
    graph.add_node("nudge", thinking.nudge)
    graph.add_node("complete", closing.review)
    graph.add_node("escalate", closing.ask)
    graph.add_node("error", closing.error)
    graph.add_edge(START, "assess")
    graph.add_conditional_edges("assess", duty, {name: name for name in DUTIES.values()})
    graph.add_edge("nudge", "work")
    ends = dict.fromkeys(("handoff", "refuse", "consult"), "work")
    told = {"nudge": "nudge", "error": "error", "review": "complete", "ask": "escalate"}
    graph.add_conditional_edges("work", after_work, {**ends, **told})
    graph.add_conditional_edges(
        "complete", closing.after_review, {"work": "work", "ask": "escalate", "error": "error", "end": END}
    )
    graph.add_conditional_edges("escalate", closing.after_ask, {"work": "work", "end": END})
    graph.add_edge("error", END)
    return graph.compile(name="supervisor")


async def assess(state: RunState, runtime: Runtime[RunContext]) -> dict[str, Any]:
    """Say in words who waits for whom."""
    situation = _situation(runtime)
    lines = [_waits(question) for question in situation.questions]
    if situation.others:
        lines += ["Also open in the team:", *(_waits(question) for question in situation.others)]
    return {"messages": [_told("\n".join(lines))]} if lines else {}


async def duty(state: RunState, runtime: Runtime[RunContext]) -> str:
    return DUTIES[_situation(runtime).trouble]


async def coordinate(state: RunState, runtime: Runtime[RunContext]) -> dict[str, Any]:
    """Agents wait for each other."""
    return _instructed(
        "None of them goes on until one gets an answer. Choose the question that you can decide, or whose asker can best go "
        "on with an assumption, and finish with a ruling on it: the asker is given your words as the answer, and then "
        "the others are answered in turn. Escalate only where a person must decide."
    )


async def monitor(state: RunState, runtime: Runtime[RunContext]) -> dict[str, Any]:
    """Somebody has waited for too long."""
    return _instructed(
        "The colleague has not answered in time and is not waited for any longer. Finish with a ruling: what the asker "
        "shall go on with. Escalate only where a person must decide."
    )


async def assign(state: RunState, runtime: Runtime[RunContext]) -> dict[str, Any]:
    """A task needs another hand."""
    situation = _situation(runtime)
    return _instructed(
        f"{situation.giver} gives task {situation.task} away: {situation.reason}\nFinish with `handovers`: who takes it. "
        f"Roles that can: {', '.join(situation.candidates)}."
    )


def _situation(runtime: Runtime[RunContext]) -> Situation:
    return Situation.model_validate(runtime.context.assignment.params["situation"])


def _waits(question: OpenQuestion) -> str:
    who = f"{question.asker} (task {question.task})"
    return f"- {who} has waited {question.waited_s} s for {question.to}: {question.text} [{question.id}]"


def _instructed(text: str) -> dict[str, Any]:
    return {"messages": [_told(text)]}


def _told(text: str) -> dict[str, Any]:
    return note(Feedback(source="syndic", text=text))
