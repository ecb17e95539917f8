"""Putting nodes together: every kind of agent works and is reviewed; they differ in how else a run may end."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from agents.graphs import closing, consulting, thinking
from agents.graphs.working import after_reviewed_work, reviewed_work
from agents.state import RunContext, RunState

Graph = CompiledStateGraph[Any, Any, Any, Any]


def build(name: str, *, hands_off: bool, refuses: bool, consults: bool = True) -> Graph:
    """Compile the graph of one kind of agent: it works until its result is accepted, asks, hands over or refuses.

    Nodes and edges are coroutines without exception: LangGraph sends a plain function to a thread at every step.

    Args:
        name: Shown in traces.
        hands_off: Whether another role may be called in.
        refuses: Whether the assignment as a whole may be refused.
        consults: Whether colleagues may be asked.
    """
    graph = StateGraph(RunState, context_schema=RunContext)
    graph.add_node("work", reviewed_work)
    graph.add_node("nudge", thinking.nudge)
    graph.add_node("ask", closing.ask)
    graph.add_node("error", closing.error)
    ends: dict[Hashable, str] = {"nudge": "nudge", "error": "error", "ask": "ask", "end": END}
    for wanted, node, function in ((hands_off, "handoff", closing.handoff), (refuses, "refuse", closing.refuse)):
        # A role that has the tool has the node; without the node the call is just another result.
        ends[node] = node if wanted else "work"
        if wanted:
            graph.add_node(node, function)
            graph.add_edge(node, END)
    ends["consult"] = "consult" if consults else "work"
    if consults:
        graph.add_node("consult", consulting.consult)
        graph.add_conditional_edges("consult", consulting.after_consult, {"work": "work", "end": END})
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", after_reviewed_work, ends)
    graph.add_edge("nudge", "work")
    graph.add_conditional_edges("ask", closing.after_ask, {"work": "work", "end": END})
    graph.add_edge("error", END)
    return graph.compile(name=name)
