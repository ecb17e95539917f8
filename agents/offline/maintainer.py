"""`offline/maintainer`: a provider without a language model that does real maintenance by rules.

It speaks the chat protocol of any model: it reads the conversation and answers with tool calls. It keeps no state, does no
I/O and gives the same answer to the same conversation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agents.assignments import Assignment, Bid, Plan, Reply, Report, Requirements, Verdict, Work, WorkResult
from agents.offline.analyst import write_report
from agents.offline.architect import write_plan
from agents.offline.colleague import answer_colleague, supervise
from agents.offline.conversation import Call, Conversation, read_conversation
from agents.offline.intents import CAN_DO, HOW_TO_SET_A_MODEL, REPAIR, TIDY, read_goal
from agents.offline.judge import give_verdict
from agents.offline.mediator import bid, mediate
from agents.offline.product_owner import write_requirements
from agents.offline.quality import check_sprint
from agents.offline.repair import repair
from agents.offline.script import MAX_TURNS, Desk, End, Script, Turn, finish, replay
from agents.offline.tidy import tidy
from ledger.vocabulary import Answer

_ENDS = ("finish", "refuse", "escalate", "hand_off")


@dataclass(frozen=True)
class Draft:
    """What the provider answers. Each call has `id`, `name` and `arguments` (JSON text)."""

    text: str
    tool_calls: list[dict[str, str]] = field(default_factory=list[dict[str, str]])


def respond(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Draft:
    """The next turn of a conversation.

    Args:
        messages: The conversation in the OpenAI chat format, beginning with the assignment.
        tools: The tools on offer, as `Tool.schema` gives them.
    """
    conversation = read_conversation(messages)
    if conversation.assignment is None:
        return Draft(f"I am offline/maintainer: rules, no language model. I work on assignments. {HOW_TO_SET_A_MODEL}")
    position = len(conversation.turns)
    turn = _next(conversation, conversation.assignment, frozenset(_name(tool) for tool in tools))
    return Draft(turn.text, [_call(call, position, index) for index, call in enumerate(turn.calls)])


def _name(tool: dict[str, Any]) -> str:
    return str((tool.get("function") or tool).get("name", ""))


def _call(call: Call, position: int, index: int) -> dict[str, str]:
    """A call with an id that follows from its place in the conversation."""
    arguments = json.dumps(call.arguments, ensure_ascii=False, sort_keys=True)
    return {"id": f"call_{position:03d}_{index:02d}", "name": call.name, "arguments": arguments}


def _next(conversation: Conversation, assignment: Assignment, tools: frozenset[str]) -> Turn:
    rejected = _rejected_ends(conversation)
    if rejected:
        return _after_rejection(assignment, rejected)
    if len(conversation.turns) >= MAX_TURNS - 1:
        return fallback(assignment, f"no result within {MAX_TURNS} turns").turn
    try:
        desk = Desk(assignment, tools)
        said = replay(script_for(assignment)(desk), desk, conversation)
    except (
        Exception
    ) as error:  # whatever a hostile repository makes the rules trip over, the run must end with an answer
        return fallback(assignment, f"the rules failed with {type(error).__name__}: {error}"[:400]).turn
    return said.turn if isinstance(said, End) else said


def _rejected_ends(conversation: Conversation) -> list[str]:
    """Why former closing calls were not taken."""
    return [
        result.error or ""
        for turn in conversation.turns
        for call, result in zip(turn.calls, turn.results, strict=True)
        if call.name in _ENDS and not result.ok
    ]


def _after_rejection(assignment: Assignment, reasons: list[str]) -> Turn:
    if len(reasons) == 1:
        return fallback(assignment, f"the result was not accepted: {reasons[0]}"[:400]).turn
    question = f"My result was refused {len(reasons)} times ({reasons[-1][:300]}). How shall this go on?"
    return Turn("I need a person.", (Call("escalate", {"question": question}),))


def script_for(assignment: Assignment) -> Callable[[Desk], Script]:
    """The script of an assignment's work; a change is told apart by its intent."""
    if assignment.work is not Work.CHANGE:
        return {
            Work.REQUIREMENTS: write_requirements,
            Work.SURVEY: write_report,
            Work.ANALYSIS: write_report,
            Work.PLAN: write_plan,
            Work.QA: check_sprint,
            Work.JUDGE: give_verdict,
            Work.MEDIATION: mediate,
            Work.BID: bid,
            Work.ANSWER: answer_colleague,
            Work.SUPERVISE: supervise,
        }[assignment.work]
    intent = assignment.params.get("intent")
    if intent not in (REPAIR, TIDY):
        words = f"{assignment.title}. {assignment.instructions}"
        intent = next((i for i in read_goal(words).served if i in (REPAIR, TIDY)), None)
    return {REPAIR: repair, TIDY: tidy}.get(str(intent), _unable)


def _unable(desk: Desk) -> Script:
    """A change that no rule serves."""
    yield from ()
    what = desk.assignment.instructions or desk.assignment.title
    reason = f"offline/maintainer works by rules and no rule serves this task: {what[:600]}. {HOW_TO_SET_A_MODEL}"
    if "refuse" in desk.tools:
        return End("I cannot serve this task.", Call("refuse", {"reason": reason, "can_do": list(CAN_DO)}))
    return finish("I cannot serve this task.", WorkResult(summary=reason, outcome="gave_up"))


def fallback(assignment: Assignment, why: str) -> End:
    """The smallest honest result of each kind of work."""
    text = f"offline/maintainer could not work on this: {why}."
    match assignment.work:
        case Work.REQUIREMENTS:
            result: Any = Requirements(summary=text, requirements=(assignment.goal,))
        case Work.PLAN:
            result = Plan(summary=text, risks=(text,))
        case Work.CHANGE:
            result = WorkResult(summary=text, outcome="gave_up")
        case Work.ANSWER:
            result = Reply(answer=text, confidence=0.0)
        case Work.SUPERVISE:
            return End("I need a person.", Call("escalate", {"question": f"{text} How shall this go on?"}))
        case Work.BID:
            result = Bid(estimate_steps=1, confidence=0, reasons=(text,))
        case Work.MEDIATION:
            return End("I need a person.", Call("escalate", {"question": f"{text} Which option is it?"}))
        case Work.JUDGE:
            result = Verdict(verdict=Answer.REVISE, confidence=0.1, reasons=(text,))
        case _:
            result = Report(summary=text, markdown=text, passed=assignment.work is not Work.QA)
    return finish("I stop here.", result)
