"""`syndic demo`: the main job, on a package that needs it, before the viewer's eyes."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.vocabulary import Autonomy, Json, Mode, Phase, project_workflow_id
from workers.console import FAILED, run_work, say, show

if TYPE_CHECKING:
    from workers.demo.machinery import Machinery
    from workers.demo.outage import Outage
    from workers.demo.proof import Claim
    from workers.demo.story import Story
    from workers.demo.target import Target
    from workers.session import Session
    from workflows.reports import ProjectReport

GOAL = "Make the tests pass and clean up the lint findings; write an analysis first"
PROJECT = "demo"


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave stack and repository up, for a look around.")] = False,
    outage: Annotated[
        bool,
        typer.Option("--outage", help="Models over HTTP at synthetic prices: a provider fails, a budget is reached."),
    ] = False,
) -> None:
    """Watch a team mend a neglected package: real Temporal, Postgres, Redis and git, no key, no network model.

    The last line on stdout is one JSON object. Exits with 1 when anything that should be seen was not.
    """
    folder = Path(tempfile.mkdtemp(prefix="syndic-demo-"))
    try:
        code = 0 if run_work(_Demo(folder, keep, outage).play()) else FAILED
    except typer.Exit as end:
        code = end.exit_code
    if code == FAILED:
        say(f"what is left to look at: {folder / 'state' / 'logs'}")
    elif code or not keep:
        shutil.rmtree(folder, ignore_errors=True)
    if code:
        raise typer.Exit(code)


class _Demo:
    def __init__(self, folder: Path, keep: bool, outage: bool) -> None:
        from rich.console import Console

        self._folder = folder
        self._keep = keep
        self._wants_outage = outage
        self._outage: Outage | None = None
        self._more: dict[str, Json] = {}
        """What the last line holds besides the report."""
        self._console = Console()
        self._began = time.monotonic()

    async def play(self) -> bool:
        """The whole demo; whether everything was seen."""
        from workers.demo.machinery import Machinery, sandbox_name, stay_up
        from workers.demo.target import make_target

        for number in (signal.SIGTERM, signal.SIGHUP):  # end in the same good order as after Ctrl-C
            asyncio.get_running_loop().add_signal_handler(number, signal.raise_signal, signal.SIGINT)
        sandbox, reason = await sandbox_name()
        with self._models() as environment:
            machinery = Machinery(self._folder / "state", bool(reason), self._tell, environment)
            try:
                target = await make_target(self._folder / "tally")
                self._introduce(target, sandbox, reason)
                session = await machinery.start()
                await machinery.start_worker(session.addresses)
                self._tell(f"Temporal {session.addresses.temporal}, Web UI {session.addresses.web_ui}")
                report, claims = await self._work(session, machinery, target)
            finally:
                await machinery.stop()
        left = await machinery.leftovers()
        if self._keep:
            await stay_up(machinery.state_dir)
        self._conclude(report, claims, left)
        return report.state is Phase.DONE and all(claim.holds for claim in claims) and not left

    @contextmanager
    def _models(self) -> Iterator[Mapping[str, str]]:
        """What leads the worker to its models; the maintainer inside the worker needs nothing."""
        if not self._wants_outage:
            yield {}
            return
        from workers.demo.outage import Outage

        self._outage = Outage()
        with self._outage.serving() as environment:
            yield environment

    def _tell(self, text: str) -> None:
        self._console.print(f"== {text}", style="bold magenta", markup=False, highlight=False, soft_wrap=True)

    def _introduce(self, target: Target, sandbox: str, reason: str) -> None:
        self._tell(f"A neglected package, in a git repository of its own: {target.repository}")
        self._tell(f"The goal: {GOAL}")
        if self._outage is None:
            self._tell("The model is offline/maintainer: rules and real tools, no language model, no key, no cost.")
        else:
            self._tell(self._outage.introduction)
        if not reason:
            self._tell(f"Programs of the repository run in a sandbox: {sandbox}, without network.")
            return
        self._tell(f"NO SANDBOX: {reason}.")
        self._tell("For this example alone the demo sets SYNDIC_UNSAFE_COMMANDS=1: its programs run with your rights.")

    async def _work(self, session: Session, machinery: Machinery, target: Target) -> tuple[ProjectReport, list[Claim]]:
        from workers import operations
        from workers.board import Watcher, open_view
        from workers.database import open_store
        from workers.demo.evidence import gather
        from workers.demo.proof import prove
        from workers.demo.story import Story
        from workers.session import open_feed
        from workflows.specs import ProjectSpec

        spec = ProjectSpec(
            goal=GOAL,
            repository=str(target.repository),
            project_id=PROJECT,
            mode=Mode.AUTO,
            autonomy=Autonomy.MILESTONE,
        )
        if self._outage is not None:
            spec = self._outage.fill(spec)
        await operations.start_project(session.client, spec, PROJECT)
        where = operations.temporal_command(
            session.addresses, "workflow", "query", "--workflow-id", project_workflow_id(PROJECT), "--type", "status"
        )
        self._tell(f"Anybody can ask how it stands: {operations.quoted(where)}")
        async with open_feed(session.addresses) as feed:
            with open_view(session, self._console) as view:
                interactive = self._console.is_terminal and sys.stdin.isatty()
                story = Story(session, machinery, view, PROJECT, interactive)
                async with self._directed(session, story):
                    report = await story.run(Watcher(session, feed, PROJECT))
        async with open_store(session.addresses.database_url) as store:
            seen = await gather(store, PROJECT, report.branch, target, story.before_kill, story.interrupted)
        if self._outage is None:
            return report, prove(seen)
        self._more = self._outage.summary(seen)
        return report, [*prove(seen), *self._outage.prove(seen)]

    def _directed(self, session: Session, story: Story) -> AbstractAsyncContextManager[None]:
        if self._outage is None:
            return nullcontext()
        return self._outage.directed(session.addresses.redis_url, story.narrate)

    def _conclude(self, report: ProjectReport, claims: list[Claim], left: list[int]) -> None:
        from workers.board import closing_lines

        show("")
        show("\n".join(closing_lines(report)))
        show("")
        for claim in claims:
            show(f"  {'seen' if claim.holds else 'MISSING':<8}{claim.title}: {claim.evidence}")
        gone = "no process of the demo is left" if not left else f"processes {left} are still there"
        show(f"  {'seen' if not left else 'MISSING':<8}it cleans up: {gone}")
        show("")
        self._say_what_next(report)
        show(json.dumps({**summary(report), **self._more}))

    def _say_what_next(self, report: ProjectReport) -> None:
        show(f"It took {time.monotonic() - self._began:.0f} s. On a repository of your own:")
        show("  syndic up --detach")
        show('  syndic run "Make the tests pass and clean up the lint findings" --repo /path/to/repository --watch')
        if self._keep:
            state = f"SYNDIC_STATE_DIR={self._folder / 'state'}"
            show(f"The demo's stack is up: {state} syndic status {report.project_id}; {state} syndic down")
            show(f"The work: git -C {self._folder / 'tally'} log --graph --oneline {report.branch}")


def summary(report: ProjectReport) -> dict[str, Json]:
    """The last line."""
    fields = (
        "project_id", "state", "tasks_merged", "tasks_total", "approvals", "repairs", "model_calls", "cost_usd",
        "ledger_entries", "ledger_verified", "branch",
    )  # fmt: skip
    document = report.model_dump(mode="json") | {"cost_usd": float(report.cost_usd)}
    return {name: document[name] for name in fields}
