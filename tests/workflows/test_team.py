"""Topologies, votes, mediators and profiles, as workflows live them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from agents.assignments import Bid, Mediation, Work, WorkResult
from agents.profiles import Profile
from agents.runs import AgentOutcome, AgentRun
from ledger.teamwork import AgentFacts, BoardEntry, Question, Section, Vote
from ledger.vocabulary import Phase, Role
from tests.workflows.script import change, done, plan
from tests.workflows.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


def vote(agent: str, choice: str, confidence: int = 80) -> Vote:
    return Vote(
        question="which", task="", version=1, agent=agent, choice=choice, reasoning="so", confidence=confidence,
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def question(*votes: Vote) -> Question:
    entry = BoardEntry(
        project="p", task="", section=Section.CONSENSUS, name="which", version=1, text="which way?",
        options=("left", "right"), author="p.engineer.ada", at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return Question(entry=entry, votes=votes)


def voting(world: World, *votes: Vote) -> None:
    """The sprint's only task asks the team to vote, and that is how they vote."""
    world.script.plan = plan(change("one"))
    world.script.questions = [question(*votes)]

    def ask(run: AgentRun) -> AgentOutcome:
        result = WorkResult(summary="changed", outcome="changed")
        return done(run, result, commit="commit-one", questions=("which",))

    world.script.agents[(Work.CHANGE, "one")] = ask


def verdicts(world: World) -> list[Any]:
    return [request.verdict for request in world.script.asked("close_question")]


async def test_a_vote_that_decides_needs_nobody(world: World) -> None:
    voting(world, vote("a", "left"), vote("b", "left"), vote("c", "right"))
    report = await world.run()
    assert report.state is Phase.DONE
    [verdict] = verdicts(world)
    assert (verdict.choice, verdict.how, verdict.decided_by) == ("left", "majority", "vote")
    assert world.script.runs(Work.MEDIATION) == []
    [told] = world.script.entries("question_decided")
    assert told["votes"] == {"a": "left", "b": "left", "c": "right"}


@pytest.mark.parametrize(
    "votes",
    [(vote("a", "left"), vote("b", "right")), (vote("a", "left", 10), vote("b", "left", 20))],
    ids=["tied", "unsure"],
)
async def test_a_mediator_is_called_where_votes_tie_or_are_not_sure(world: World, votes: tuple[Vote, ...]) -> None:
    voting(world, *votes)
    world.script.agents[(Work.MEDIATION, "*")] = lambda run: done(
        run, Mediation(choice="right", reasoning="a test shows it", confidence=0.9)
    )
    await world.run()
    [run] = world.script.runs(Work.MEDIATION)
    assert run.role is Role.PROJECT_MANAGER
    assert {told["reasoning"] for told in run.params["votes"]} == {"so"}
    [verdict] = verdicts(world)
    assert (verdict.choice, verdict.how, verdict.decided_by) == ("right", "mediator", run.agent)
    assert [told["how"] for told in world.script.entries("question_decided")] == ["mediator"]


async def test_a_question_with_too_few_votes_stays_open_and_costs_no_run(world: World) -> None:
    voting(world, vote("a", "left"))
    report = await world.run()
    assert report.state is Phase.DONE
    assert verdicts(world) == []
    assert world.script.runs(Work.MEDIATION) == []


async def test_a_mediator_that_names_no_option_decides_nothing(world: World) -> None:
    voting(world, vote("a", "left"), vote("b", "right"))
    world.script.agents[(Work.MEDIATION, "*")] = lambda run: done(
        run, Mediation(choice="both", reasoning="why not", confidence=1)
    )
    assert (await world.run()).state is Phase.DONE
    assert verdicts(world) == []


async def test_without_questions_and_topology_nothing_is_asked_of_the_team(world: World) -> None:
    await world.run()
    names = {name for name, _ in world.script.calls}
    assert not names & {"read_questions", "close_question", "survey_team", "read_profiles"}
    assert [run.agent.rsplit(".")[-1] for run in world.script.runs(Work.CHANGE)] == ["ada", "grace"]


async def test_the_market_gives_a_task_to_the_best_bid_and_says_so(world: World) -> None:
    world.script.plan = plan(change("one"))
    offers = {"ada": (20, 0.9), "grace": (5, 0.9), "barbara": (4, 0.2)}

    def bid(run: AgentRun) -> AgentOutcome:
        steps, sure = offers[run.agent.rsplit(".")[-1]]
        return done(run, Bid(estimate_steps=steps, confidence=sure))

    world.script.agents[(Work.BID, "*")] = bid
    report = await world.run(topology="market")
    assert len(world.script.runs(Work.BID)) == 3
    assert report.tasks[0].agent == f"{world.project}.engineer.grace"
    [told] = world.script.entries("task_awarded")
    assert (told["topology"], told["agent"], len(told["bids"])) == ("market", report.tasks[0].agent, 3)
    assert world.script.entries("task_finished")[0]["agent"] == report.tasks[0].agent


async def test_leads_give_tasks_to_who_fits_and_has_done_well(world: World) -> None:
    world.script.plan = plan(change("one"))
    world.script.facts = (
        AgentFacts(agent=f"{world.project}.engineer.ada", failed=2),
        AgentFacts(agent=f"{world.project}.engineer.barbara", succeeded=3),
    )
    report = await world.run(topology="hierarchical")
    assert report.tasks[0].agent.endswith(".barbara")
    assert world.script.entries("task_awarded")[0]["by"] == "architect"


async def test_peers_share_out_tasks_that_run_side_by_side(world: World) -> None:
    world.script.plan = plan(change("one"), change("two"), change("three"))
    report = await world.run(topology="peer")
    assert len({task.agent for task in report.tasks}) == 3
    assert {told["by"] for told in world.script.entries("task_awarded")} == {"engineer"}


async def test_profiles_of_brief_and_repository_shape_their_agents(world: World) -> None:
    world.script.profiles["keeper"] = Profile.model_validate(
        {
            "name": "keeper",
            "role": "engineer",
            "names": ["ada"],
            "high": "Keep it.",
            "skills": ["parsing"],
            "folder": "src/parser",
        }
    )
    world.script.plan = plan(change("one", scope=("**",)), change("two", scope=("docs/**",)))
    await world.run(
        profiles=["keeper", {"name": "rest", "role": "engineer", "low": "Be kind."}], prompts={"qa": "Look twice."}
    )
    one, two = world.script.runs(Work.CHANGE, "one")[0], world.script.runs(Work.CHANGE, "two")[0]
    assert (one.agent.rsplit(".")[-1], one.scope, one.skills) == ("ada", ("src/parser/**",), ("parsing",))
    assert "Keep it." in one.guidance
    assert (two.scope, two.guidance) == (("docs/**",), "Be kind.")
    assert not two.agent.endswith(".ada")
    assert [gates.scope for gates in world.script.asked("run_gates") if gates.task == "one"] == [("src/parser/**",)]
    assert world.script.runs(Work.QA)[0].guidance == "Look twice."
    assert {run.guidance for run in world.script.runs(Work.JUDGE)} == {""}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"profiles": ["missing"]}, "no profile missing"),
        ({"topology": "star"}, "topology"),
        ({"prompts": {"wizard": "x"}}, "'wizard' is no role"),
        ({"profiles": [{"name": "a", "role": "engineer", "hihg": "x"}]}, "hihg"),
        ({"profiles": ["a", "a"]}, "given twice"),
    ],
)
async def test_a_team_that_cannot_be_is_refused_at_once(world: World, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkflowFailureError) as error:
        await world.run(**changes)
    assert message in str(error.value.cause)


async def test_who_relieves_an_agent_is_somebody_else_and_not_called_out_of_a_folder(world: World) -> None:
    """Profiles name agents who would be the first two reliefs: one has the task already, one works elsewhere."""
    world.script.plan = plan(change("one", scope=("docs/**",)))
    profiles = [
        {"name": "first", "role": "engineer", "names": ["margaret"], "high": "x"},
        {"name": "elsewhere", "role": "engineer", "names": ["leslie"], "folder": "src"},
    ]

    def give_up(run: AgentRun) -> AgentOutcome:
        if run.agent.endswith(".margaret"):
            return done(run, WorkResult(summary="cannot", outcome="gave_up"))
        return world.script.usual(run)

    world.script.agents[(Work.CHANGE, "one")] = give_up
    await world.run(profiles=profiles)
    assert [run.agent.rsplit(".")[-1] for run in world.script.runs(Work.CHANGE)] == ["margaret", "karen"]
