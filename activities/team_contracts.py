"""What workflows may ask about a team: its board, its agents, its profiles. As `activities.contracts`, and as light."""

from __future__ import annotations

from temporalio import activity

from agents.profiles import Profile
from ledger.teamwork import AgentFacts, BoardStatus, Question, Verdict
from ledger.vocabulary import Record


class AskQuestions(Record):
    """The questions of a project's board that nobody has decided yet."""

    project: str
    names: tuple[str, ...] = ()
    """Only these; none means all."""


class OpenQuestions(Record):
    """Questions with their votes, and the results of those who voted."""

    questions: tuple[Question, ...] = ()
    facts: tuple[AgentFacts, ...] = ()


class CloseQuestion(Record):
    """Write a verdict that counted all the votes there were."""

    project: str
    verdict: Verdict
    seen: int


class QuestionClosed(Record):
    status: BoardStatus
    """`ok`, `closed` (somebody was faster) or `conflict` (votes came in meanwhile)."""


class SurveyTeam(Record):
    """Load and results of agents."""

    project: str


class TeamFacts(Record):
    agents: tuple[AgentFacts, ...] = ()


class ReadProfiles(Record):
    """Profiles that the brief names, out of the repository at its base commit."""

    project: str
    commit: str
    names: tuple[str, ...]


class ProfilesRead(Record):
    profiles: tuple[Profile, ...] = ()


class TeamActivities:
    """The team on the record; quick, served on `syndic`."""

    @activity.defn(name="read_questions")
    async def read_questions(self, request: AskQuestions) -> OpenQuestions:
        raise NotImplementedError

    @activity.defn(name="close_question")
    async def close_question(self, request: CloseQuestion) -> QuestionClosed:
        raise NotImplementedError

    @activity.defn(name="survey_team")
    async def survey_team(self, request: SurveyTeam) -> TeamFacts:
        raise NotImplementedError

    @activity.defn(name="read_profiles")
    async def read_profiles(self, request: ReadProfiles) -> ProfilesRead:
        raise NotImplementedError
