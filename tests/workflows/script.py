"""Scripted activities: they speak the real contracts over a real server, and decide nothing on their own."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.contracts import (
    AgentActivities,
    BudgetView,
    ChangeStanding,
    CloseProject,
    Deliver,
    Delivered,
    GateReport,
    Integrate,
    Integration,
    KeepDocument,
    OpenBudget,
    OpenProject,
    OpenWorkspace,
    Prepared,
    PrepareTarget,
    ProjectClosed,
    ProjectOpened,
    RecordActivities,
    Recorded,
    RecordEntries,
    RunGates,
    TargetReport,
    Workspace,
    WorkspaceActivities,
)
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
from agents.assignments import (
    Bid,
    Feedback,
    GateState,
    Mediation,
    Plan,
    PlannedSprint,
    PlannedTask,
    Report,
    Requirements,
    Verdict,
    Work,
    WorkResult,
)
from agents.profiles import Profile
from agents.runs import AgentOutcome, AgentRun
from ledger.chain import digest
from ledger.teamwork import AgentFacts, BoardStatus, Question
from ledger.vocabulary import Answer, ArtifactRef, OutcomeKind, TaskKind, thread_id

Say = Callable[[AgentRun], AgentOutcome | Awaitable[AgentOutcome]]


def artifact(name: str) -> ArtifactRef:
    return ArtifactRef(name=name, digest=digest(name), size=len(name))


def done(run: AgentRun, result: Any, **more: Any) -> AgentOutcome:
    """An outcome `finished` with a result model."""
    return AgentOutcome(
        kind=OutcomeKind.FINISHED,
        thread=thread_id(run.project, run.sprint, run.task, run.lineage),
        summary=getattr(result, "summary", "done"),
        result=result.model_dump(mode="json"),
        artifact=artifact(f"{run.work.value}-{run.task}-{run.lineage}"),
        steps=3,
        model_calls=2,
        cost_usd=Decimal("0.01"),
        **more,
    )


def ended(run: AgentRun, kind: OutcomeKind, summary: str, **more: Any) -> AgentOutcome:
    """An outcome without a result."""
    thread = thread_id(run.project, run.sprint, run.task, run.lineage)
    return AgentOutcome(kind=kind, thread=thread, summary=summary, **more)


def change(name: str, **more: Any) -> PlannedTask:
    """A planned task, a change by an engineer unless told otherwise."""
    usual = {"title": f"Change {name}", "kind": TaskKind.CHANGE, "instructions": f"do {name}", "scope": ("src/**",)}
    return PlannedTask(id=name, **{**usual, **more})


def plan(*tasks: PlannedTask, summary: str = "the plan") -> Plan:
    return Plan(summary=summary, sprints=(PlannedSprint(goal="first sprint", tasks=tasks),) if tasks else ())


class Script:
    """What the scripted world does, and what was asked of it. Tests replace single answers."""

    def __init__(self) -> None:
        self.plan = plan(change("one"), change("two", depends_on=("one",)))
        self.replan = plan()
        self.agents: dict[tuple[Work, str], Say] = {}
        """(work, task) -> answer; the task `*` stands for all."""
        self.gates: dict[str, list[GateReport]] = defaultdict(list)
        self.merges: dict[str, list[Integration]] = defaultdict(list)
        self.target_gates: tuple[GateState, ...] = (GateState(name="tests", kind="tests", passed=False),)
        self.open_error: ApplicationError | None = None
        self.may_close = asyncio.Event()
        self.may_close.set()
        self.questions: list[Question] = []
        self.facts: tuple[AgentFacts, ...] = ()
        self.profiles: dict[str, Profile] = {}
        self.before_merge: dict[str, tuple[asyncio.Event, asyncio.Event]] = {}
        """Task -> told when its merge is tried, and waited for."""
        self.steps = 9
        """Of every run so far, as the journal has it."""
        self.rewind_refusal: str | None = None
        self.hooks: dict[str, list[str]] = defaultdict(list)
        """Name of a hook -> the words with which it fails, one run after the other."""
        self.holds: dict[str, asyncio.Event] = {}
        """Kind of entry -> what writing it down waits for."""
        self.calls: list[tuple[str, Any]] = []
        self.at_work: set[str] = set()
        self.most_at_work = 0

    def asked(self, name: str) -> list[Any]:
        return [request for call, request in self.calls if call == name]

    def runs(self, work: Work, task: str | None = None) -> list[AgentRun]:
        return [run for run in self.asked("agent_run") if run.work is work and task in (None, run.task)]

    def kinds(self) -> list[str]:
        """Kinds of all entries that were recorded, in order."""
        return [entry.kind for batch in self.asked("record") for entry in batch.entries]

    def entries(self, kind: str) -> list[dict[str, Any]]:
        return [entry.body for batch in self.asked("record") for entry in batch.entries if entry.kind == kind]

    def answer(self, run: AgentRun) -> AgentOutcome | Awaitable[AgentOutcome]:
        say = self.agents.get((run.work, run.task)) or self.agents.get((run.work, "*"))
        return say(run) if say is not None else self.usual(run)

    def usual(self, run: AgentRun) -> AgentOutcome:
        if run.work is Work.REQUIREMENTS:
            return done(run, Requirements(summary="required", requirements=("r",)))
        if run.work is Work.PLAN:
            return done(run, self.plan if run.role.value == "architect" else self.replan)
        if run.work is Work.CHANGE:
            result = WorkResult(summary=f"changed {run.task}", outcome="changed")
            return done(run, result, commit=f"commit-{run.task}-{run.lineage}")
        if run.work is Work.BID:
            return done(run, Bid(estimate_steps=10, confidence=0.5))
        if run.work is Work.MEDIATION:
            return done(run, Mediation(choice=run.params["options"][0], reasoning="weighed", confidence=0.8))
        if run.work is Work.JUDGE:
            return done(run, Verdict(verdict=Answer.APPROVE, confidence=0.9, reasons=("fine",)))
        return done(run, Report(summary="looked", markdown="# looked"))


def passing() -> GateReport:
    return GateReport(
        passed=True, changed_paths=("src/a.py",), insertions=1, documents=(artifact("diff"), artifact("gates"))
    )


def failing(text: str) -> GateReport:
    return GateReport(passed=False, feedback=(Feedback(source="gate:tests", text=text),), documents=(artifact("diff"),))


def prepared(source: str, tree: str = "tree") -> Prepared:
    """A merge of `source` that passed its gates and waits."""
    return Prepared(
        commit=f"merge-{source}-{tree}", tree=f"{tree}-{source}", parent="head", diff=artifact("diff"),
        paths=("src/a.py",), insertions=2, deletions=1,
    )  # fmt: skip


class Agents(AgentActivities):
    def __init__(self, script: Script) -> None:
        self._script = script

    @activity.defn(name="agent_run")
    async def agent_run(self, request: AgentRun) -> AgentOutcome:
        script = self._script
        script.calls.append(("agent_run", request))
        if request.work is Work.CHANGE:
            script.at_work.add(request.task)
            script.most_at_work = max(script.most_at_work, len(script.at_work))
        beating = asyncio.create_task(_beat())
        try:
            answer = script.answer(request)
            return answer if isinstance(answer, AgentOutcome) else await answer
        finally:
            beating.cancel()
            script.at_work.discard(request.task)


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.2)


class Workspaces(WorkspaceActivities):
    def __init__(self, script: Script) -> None:
        self._script = script

    def _note(self, name: str, request: Any) -> None:
        self._script.calls.append((name, request))

    @activity.defn(name="open_project")
    async def open_project(self, request: OpenProject) -> ProjectOpened:
        self._note("open_project", request)
        if self._script.open_error is not None:
            raise self._script.open_error
        return ProjectOpened(commit="base", base="main")

    @activity.defn(name="prepare_target")
    async def prepare_target(self, request: PrepareTarget) -> TargetReport:
        self._note("prepare_target", request)
        return TargetReport(
            baseline=artifact("baseline"), environment="plain", gates=self._script.target_gates, sandbox="bubblewrap"
        )

    @activity.defn(name="open_workspace")
    async def open_workspace(self, request: OpenWorkspace) -> Workspace:
        self._note("open_workspace", request)
        return Workspace(branch=request.branch, commit=request.base, base_commit=request.base)

    @activity.defn(name="run_gates")
    async def run_gates(self, request: RunGates) -> GateReport:
        self._note("run_gates", request)
        planned = self._script.gates[request.task]
        return planned.pop(0) if planned else passing()

    @activity.defn(name="integrate")
    async def integrate(self, request: Integrate) -> Integration:
        self._note("integrate", request)
        if request.task in self._script.before_merge:
            tried, may_go_on = self._script.before_merge[request.task]
            tried.set()
            await asyncio.wait_for(may_go_on.wait(), 30)
        planned = self._script.merges[request.task or "sprint"]
        if planned:
            return planned.pop(0)
        if request.prepare:
            return Integration(merged=False, prepared=prepared(request.source))
        return Integration(merged=True, commit=request.prepared or f"merge-{request.source}")

    @activity.defn(name="deliver")
    async def deliver(self, request: Deliver) -> Delivered:
        self._note("deliver", request)
        return Delivered(branch=request.branch, commit="delivered", pushed=True)

    @activity.defn(name="close_project")
    async def close_project(self, request: CloseProject) -> ProjectClosed:
        self._note("close_project", request)
        await self._script.may_close.wait()
        return ProjectClosed(
            ledger_entries=9, ledger_verified=True, model_calls=7, in_doubt=0, cost_usd=Decimal("0.07")
        )


class Team(TeamActivities):
    """The board holds the script's questions until they are closed."""

    def __init__(self, script: Script) -> None:
        self._script = script

    @activity.defn(name="read_questions")
    async def read_questions(self, request: AskQuestions) -> OpenQuestions:
        self._script.calls.append(("read_questions", request))
        asked = [q for q in self._script.questions if q.entry.name in request.names and q.verdict is None]
        return OpenQuestions(questions=tuple(asked), facts=self._script.facts)

    @activity.defn(name="close_question")
    async def close_question(self, request: CloseQuestion) -> QuestionClosed:
        self._script.calls.append(("close_question", request))
        [place] = [n for n, q in enumerate(self._script.questions) if q.entry.name == request.verdict.question]
        question = self._script.questions[place]
        if question.seen != request.seen:
            return QuestionClosed(status=BoardStatus.CONFLICT)
        self._script.questions[place] = question.model_copy(update={"verdict": request.verdict})
        return QuestionClosed(status=BoardStatus.OK)

    @activity.defn(name="survey_team")
    async def survey_team(self, request: SurveyTeam) -> TeamFacts:
        self._script.calls.append(("survey_team", request))
        return TeamFacts(agents=self._script.facts)

    @activity.defn(name="read_profiles")
    async def read_profiles(self, request: ReadProfiles) -> ProfilesRead:
        self._script.calls.append(("read_profiles", request))
        if missing := [name for name in request.names if name not in self._script.profiles]:
            raise ApplicationError(f"no profile {missing[0]}", type="InvalidBrief", non_retryable=True)
        return ProfilesRead(profiles=tuple(self._script.profiles[name] for name in request.names))


class Records(RecordActivities):
    def __init__(self, script: Script) -> None:
        self._script = script

    @activity.defn(name="record")
    async def record(self, request: RecordEntries) -> Recorded:
        self._script.calls.append(("record", request))
        for kind in self._script.holds.keys() & {entry.kind for entry in request.entries}:
            await self._script.holds[kind].wait()
        return Recorded(seq=1, hash="h")

    @activity.defn(name="keep_document")
    async def keep_document(self, request: KeepDocument) -> ArtifactRef:
        self._script.calls.append(("keep_document", request))
        return artifact(request.name)

    @activity.defn(name="open_budget")
    async def open_budget(self, request: OpenBudget) -> BudgetView:
        self._script.calls.append(("open_budget", request))
        zero = Decimal(0)
        return BudgetView(scope=request.scope, limit_usd=request.limit_usd, reserved_usd=zero, spent_usd=zero)

    @activity.defn(name="change_standing")
    async def change_standing(self, request: ChangeStanding) -> Recorded:
        self._script.calls.append(("change_standing", request))
        return Recorded(seq=1, hash="h")
