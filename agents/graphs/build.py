"""Putting nodes together: every kind of agent thinks, acts and is reviewed; they differ in how else a run may end."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from agents.graphs import closing, consulting, thinking
from agents.graphs.acting import act, after_act
from agents.state import RunContext, RunState

Graph = CompiledStateGraph[Any, Any, Any, Any]


def build(name: str, *, hands_off: bool, refuses: bool, consults: bool = True) -> Graph:
    """Compile the graph of one kind of agent.

    Nodes and edges are coroutines without exception: LangGraph sends a plain function to a thread at every step.

    Args:
        name: Shown in traces.
        hands_off: Whether another role may be called in.
        refuses: Whether the assignment as a whole may be refused.
        consults: Whether colleagues may be asked.
    """
    graph = StateGraph(RunState, context_schema=RunContext)
    graph.add_node("think", thinking.think)
    graph.add_node("nudge", thinking.nudge)
    graph.add_node("act", act)
    graph.add_node("review", closing.review)
    graph.add_node("ask", closing.ask)
    graph.add_node("error", closing.error)
    ends: dict[Hashable, str] = {"think": "think", "review": "review", "ask": "ask"}
    for wanted, node, function in ((hands_off, "handoff", closing.handoff), (refuses, "refuse", closing.refuse)):
        # A role that has the tool has the node; without the node the call is just another result.
        ends[node] = node if wanted else "think"
        if wanted:
            graph.add_node(node, function)
            graph.add_edge(node, END)
    ends["consult"] = "consult" if consults else "think"
    if consults:
        graph.add_node("consult", consulting.consult)
        graph.add_conditional_edges("consult", consulting.after_consult, {"think": "think", "end": END})
    graph.add_edge(START, "think")
    graph.add_conditional_edges(
        "think", thinking.after_think, {"act": "act", "nudge": "nudge", "ask": "ask", "error": "error"}
    )
    graph.add_edge("nudge", "think")
    graph.add_conditional_edges("act", after_act, ends)
    graph.add_conditional_edges(
        "review", closing.after_review, {"think": "think", "ask": "ask", "error": "error", "end": END}
    )
    graph.add_conditional_edges("ask", closing.after_ask, {"think": "think", "end": END})
    graph.add_edge("error", END)
    return graph.compile(name=name)
