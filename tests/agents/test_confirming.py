"""Tool calls that wait for a person: the run ends with the call and goes on once there is a ruling for this very one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import BaseModel

from agents.assignments import Work
from agents.confirming import INLINE_BYTES
from agents.runs import AgentOutcome, PendingCall, ToolRuling
from agents.tools.base import Tool, ToolContext, ToolResult
from ledger.chain import digest
from ledger.vocabulary import OutcomeKind, Role, Seat, StepKind, Tier
from tests.agents.scripted import Says, by_turn
from tests.agents.test_runner import (  # noqa: F401 - fixtures
    DONE,
    READ,
    WRITE,
    Bench,
    bench,
    server,
    source,
    tool_messages,
)


class Wanted(BaseModel):
    to: str


class Deployments:
    """A tool of an extension that no agent may use on its own."""

    def __init__(self) -> None:
        self.made: list[str] = []

    async def run(self, context: ToolContext, wanted: BaseModel) -> ToolResult:
        assert isinstance(wanted, Wanted)
        self.made.append(wanted.to)
        return ToolResult(ok=True, content='{"deployed": true}')

    @property
    def tool(self) -> Tool:
        return Tool("deploy", "Deploy it", Wanted, Tier.MERGE, self.run, roles=frozenset({Role.ENGINEER}))


DEPLOY = Says("deploy", (("deploy", {"to": "production"}),))


@pytest.fixture
def deployments(bench: Bench) -> Deployments:  # noqa: F811
    made = Deployments()
    bench.deps = replace(bench.deps, tools=(made.tool,))
    return made


def waiting(outcome: AgentOutcome) -> PendingCall:
    assert outcome.kind is OutcomeKind.NEEDS_HUMAN, outcome
    assert outcome.call is not None
    return outcome.call


def ruling(call: PendingCall, *, allowed: bool = True, reason: str = "approved by pat (claimed)") -> ToolRuling:
    return ToolRuling(place=call.place, digest=call.digest, allowed=allowed, reason=reason)


async def test_a_call_above_the_tier_is_refused_where_nobody_is_asked(
    bench: Bench,  # noqa: F811
    deployments: Deployments,
) -> None:
    bench.server.script = by_turn(DEPLOY, DONE)
    assert (await bench.run()).kind is OutcomeKind.FINISHED
    assert deployments.made == []
    assert tool_messages(bench.server)[0]["refused"] is True
    offered = [tool["function"]["name"] for tool in bench.server.requests[0]["tools"]]
    assert "deploy" not in offered


async def test_the_very_call_is_made_once_when_it_is_approved_and_nothing_is_asked_twice(
    bench: Bench,  # noqa: F811
    deployments: Deployments,
) -> None:
    bench.server.script = by_turn(READ, DEPLOY, DONE)
    call = waiting(await bench.run(asks_above_tier=True))
    assert (call.tool, call.tier, call.arguments) == ("deploy", "MERGE", {"to": "production"})
    assert call.digest == digest({"tool": "deploy", "arguments": {"to": "production"}})
    assert call.place == "p/s1/t/engineer-1/4/0"
    assert "needs tier MERGE" in call.why
    assert "deploy" in [tool["function"]["name"] for tool in bench.server.requests[0]["tools"]]
    assert (deployments.made, bench.server.calls) == ([], 2)

    assert waiting(await bench.run(asks_above_tier=True)) == call  # asked again without an answer, it says the same
    assert bench.server.calls == 2
    approved = {"asks_above_tier": True, "rulings": (ruling(call),)}
    outcome = await bench.run(**approved)
    assert (outcome.kind, outcome.call, deployments.made) == (OutcomeKind.FINISHED, None, ["production"])
    assert bench.server.calls == 3
    again = await bench.run(**approved)
    assert (again.kind, deployments.made, bench.server.calls) == (OutcomeKind.FINISHED, ["production"], 3)
    [step] = [step for step in await bench.store.steps("p/s1/t/engineer-1") if step.name == "deploy"]
    assert (step.kind, step.request_digest) == (StepKind.TOOL, call.digest)
    entries = [entry.body for entry in await bench.store.entries("p") if entry.body.get("name") == "deploy"]
    assert [(body["allowed"], body["reason"]) for body in entries] == [(True, "approved by pat (claimed)")]


async def test_a_rejection_reaches_the_agent_as_the_answer_of_the_tool(
    bench: Bench,  # noqa: F811
    deployments: Deployments,
) -> None:
    bench.server.script = by_turn(DEPLOY, DONE)
    call = waiting(await bench.run(asks_above_tier=True))
    no = ruling(call, allowed=False, reason="rejected by pat (claimed): not on a Friday")
    outcome = await bench.run(asks_above_tier=True, rulings=(no,))
    assert (outcome.kind, deployments.made) == (OutcomeKind.FINISHED, [])
    assert tool_messages(bench.server)[0] == {"refused": True, "reason": no.reason}


@pytest.mark.parametrize("change", [{"digest": "another"}, {"place": "p/s1/t/engineer-1/9/0"}])
async def test_a_ruling_about_another_call_or_place_counts_for_nothing(
    bench: Bench,  # noqa: F811
    deployments: Deployments,
    change: dict[str, str],
) -> None:
    bench.server.script = by_turn(DEPLOY, DONE)
    call = waiting(await bench.run(asks_above_tier=True))
    other = ruling(call).model_copy(update=change)
    assert waiting(await bench.run(asks_above_tier=True, rulings=(other,))) == call
    assert deployments.made == []


async def test_listed_tools_are_confirmed_one_call_at_a_time_while_others_of_the_message_are_made(
    bench: Bench,  # noqa: F811
) -> None:
    both = Says("both", (*READ.calls, *WRITE.calls, ("write_file", {"path": "b.py", "text": "Y = 1\n"})))
    bench.server.script = by_turn(both, DONE)
    rulings: tuple[ToolRuling, ...] = ()
    for expected in ("a.py", "b.py"):
        call = waiting(await bench.run(confirm=("write_file",), rulings=rulings))
        assert call.arguments is not None
        assert (call.arguments["path"], call.why) == (expected, "a person is asked before each write_file")
        rulings = (*rulings, ruling(call))
    outcome = await bench.run(confirm=("write_file",), rulings=rulings)
    assert (outcome.kind, bench.server.calls, await bench.commits()) == (OutcomeKind.FINISHED, 2, 2)
    assert outcome.commit is not None
    assert await bench.show(outcome.commit, "a.py") == "X = 2\n"


async def test_nobody_is_asked_about_calls_that_could_not_be_made_anyway(
    bench: Bench,  # noqa: F811
    deployments: Deployments,
) -> None:
    wrong = Says("wrong", (("deploy", {"where": 1}), ("write_file", {"path": "../a.py", "text": ""}), ("nothing", {})))
    bench.server.script = by_turn(wrong, DONE)
    outcome = await bench.run(asks_above_tier=True, confirm=("write_file", "nothing"))
    assert outcome.kind is OutcomeKind.FINISHED
    assert [("refused" in told) or ("error" in told) for told in tool_messages(bench.server)] == [True] * 3
    assert deployments.made == []


async def test_a_person_lifts_the_tier_and_no_other_rule(bench: Bench) -> None:  # noqa: F811
    outside = Says("outside", (("write_file", {"path": "../a.py", "text": ""}),))
    inside = Says("inside", (("write_file", {"path": "a.py", "text": "X = 3\n"}),))
    report = Says("done", (("finish", {"summary": "looked", "markdown": "# looked"}),))
    bench.server.script = by_turn(outside, inside, report)
    survey = {"role": Role.ANALYST, "work": Work.SURVEY, "lineage": "analyst-1", "asks_above_tier": True}
    call = waiting(await bench.run(**survey))
    assert call.arguments == {"path": "a.py", "text": "X = 3\n"}
    assert "refused" in tool_messages(bench.server)[0]
    outcome = await bench.run(**survey, rulings=(ruling(call),))
    assert outcome.kind is OutcomeKind.FINISHED
    assert await bench.commits() == 0  # it reads on a branch of its own


async def test_judges_are_never_lent_a_hand(bench: Bench) -> None:  # noqa: F811
    verdict = {"verdict": "approve", "confidence": 0.9, "reasons": ["fine"]}
    bench.server.script = by_turn(WRITE, Says("done", (("finish", verdict),)))
    judge = {"role": Role.JUDGE, "seat": Seat.QUALITY, "work": Work.JUDGE, "lineage": "judge-1"}
    outcome = await bench.run(**judge, asks_above_tier=True)
    assert outcome.kind is OutcomeKind.FINISHED
    assert tool_messages(bench.server)[0]["refused"] is True


async def test_long_arguments_lie_in_a_document(bench: Bench) -> None:  # noqa: F811
    text = "X = 1\n" * INLINE_BYTES
    bench.server.script = by_turn(Says("long", (("write_file", {"path": "a.py", "text": text}),)), DONE)
    call = waiting(await bench.run(confirm=("write_file",)))
    assert call.arguments is None
    assert call.document is not None
    kept = json.loads(await bench.store.get_artifact(call.document.digest))
    assert kept == {"path": "a.py", "text": text}
    assert call.digest == digest({"tool": "write_file", "arguments": kept})
    outcome = await bench.run(confirm=("write_file",), rulings=(ruling(call),))
    assert (outcome.kind, await bench.commits()) == (OutcomeKind.FINISHED, 1)
