"""The task as a LangGraph graph of two nodes; what the rows with LangGraph share."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph

from bench.rows.task import MODEL, TURNS, Message, turns


class State(TypedDict):
    messages: Annotated[list[Message], operator.add]


async def think(state: State) -> dict[str, Any]:
    """One model turn."""
    return {"messages": [await MODEL.answer(turns(state["messages"]))]}


async def act(state: State) -> dict[str, Any]:
    """One tool step."""
    return {"messages": [await MODEL.look()]}


async def after_think(state: State) -> str:
    """On to the tool, or out."""
    return END if turns(state["messages"]) == TURNS else "act"


def build(metadata: dict[str, Any] | None = None) -> StateGraph[State]:
    """The graph, not yet compiled."""
    graph = StateGraph(State)
    graph.add_node("think", think, metadata=metadata)
    graph.add_node("act", act, metadata=metadata)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", after_think, ["act", END])
    graph.add_edge("act", "think")
    return graph
