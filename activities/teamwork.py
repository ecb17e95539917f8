"""The team's board, agents and profiles, as workflows reach them."""

from __future__ import annotations

from temporalio import activity

from activities.failures import translated
from activities.team_contracts import (
    AskQuestions,
    CloseQuestion,
    OpenQuestions,
    ProfilesRead,
    QuestionClosed,
    ReadProfiles,
    SurveyTeam,
    TeamActivities,
    TeamFacts,
)
from agents.git import GitStore
from agents.layout import Layout
from agents.profiles import FOLDER, MAX_PROFILE_BYTES, Profile, ProfileError, read_profile
from ledger.store import Store

MAX_REASONING = 1_000
"""Characters of one vote's reasoning that go into a history; the board holds the whole."""


class Teamwork(TeamActivities):
    """Quick activities; reading twice reads again, and a verdict is written once."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    @activity.defn(name="read_questions")
    async def read_questions(self, request: AskQuestions) -> OpenQuestions:
        """Questions without a verdict, with votes short enough for a history."""
        with translated():
            board = await self._store.board(request.project)
            wanted = [
                question.model_copy(
                    update={
                        "votes": tuple(
                            vote.model_copy(update={"reasoning": vote.reasoning[:MAX_REASONING]})
                            for vote in question.votes
                        )
                    }
                )
                for question in board.questions
                if question.verdict is None and (not request.names or question.entry.name in request.names)
            ]
            facts = await self._store.team_facts(request.project) if wanted else []
        return OpenQuestions(questions=tuple(wanted), facts=tuple(facts))

    @activity.defn(name="close_question")
    async def close_question(self, request: CloseQuestion) -> QuestionClosed:
        with translated():
            closed = await self._store.close_question(request.project, request.verdict, request.seen)
        return QuestionClosed(status=closed.status)

    @activity.defn(name="survey_team")
    async def survey_team(self, request: SurveyTeam) -> TeamFacts:
        with translated():
            return TeamFacts(agents=tuple(await self._store.team_facts(request.project)))

    @activity.defn(name="read_profiles")
    async def read_profiles(self, request: ReadProfiles) -> ProfilesRead:
        """Profiles of the repository; a missing or broken one is the brief's fault and fails the project at once."""
        with translated():
            git = GitStore(self._layout.repository(request.project))
            found = [await _read(git, request.commit, name) for name in request.names]
        return ProfilesRead(profiles=tuple(found))


async def _read(git: GitStore, commit: str, name: str) -> Profile:
    path = f"{FOLDER}/{name}.yaml"
    content = await git.read(commit, path, max_bytes=MAX_PROFILE_BYTES + 1)
    if content is None:
        raise ProfileError(
            f"{path}: the brief names this profile, and the repository has no such file at {commit[:12]}"
        )
    return read_profile(name, content)
