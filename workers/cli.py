"""The command line `syndic`. Commands are imported when they are called: help must show in a moment."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Entry(NamedTuple):
    """One command: where its function or its `typer.Typer` lies, and what the listing says."""

    module: str
    attribute: str
    summary: str
    panel: str


WORK = "Work"
DECISIONS = "Decisions"
RECORD = "Record"
STACK = "Stack"
OPERATORS = "Operators"

COMMANDS: dict[str, Entry] = {
    "demo": Entry("demo", "demo", "Watch a team mend a neglected package, offline, in a minute.", WORK),
    "init": Entry("projects", "init", "Write a commented brief for this repository.", WORK),
    "run": Entry("projects", "run", "Give a goal or a brief to a team.", WORK),
    "status": Entry("projects", "status", "Show how a project stands, or all of them.", WORK),
    "watch": Entry("projects", "watch", "Follow a project on a live board until it ends.", WORK),
    "pause": Entry("control", "pause", "Start no new step; what is in flight finishes.", WORK),
    "resume": Entry("control", "resume", "Go on after a pause.", WORK),
    "escalate": Entry("control", "escalate", "Start no new step until a person has decided.", WORK),
    "autonomy": Entry("control", "autonomy", "Ask more or less from now on, or merge otherwise.", WORK),
    "cancel": Entry("control", "cancel", "Stop a project, or one task; what is merged stays.", WORK),
    "edit": Entry("steering", "app", "Add, drop, skip, retry, reassign or rewind tasks.", WORK),
    "feedback": Entry("steering", "feedback", "Say something to a project, a task or an agent.", WORK),
    "inbox": Entry("inbox", "inbox", "List what waits for a decision, in all projects.", DECISIONS),
    "approvals": Entry("inbox", "inbox", "The same as inbox.", DECISIONS),
    "show": Entry("show", "show", "Show a request in full: question, digest, plan or diff.", DECISIONS),
    "approve": Entry("approvals", "approve", "Say yes to a request.", DECISIONS),
    "reject": Entry("approvals", "reject", "Say no to a request.", DECISIONS),
    "revise": Entry("approvals", "revise", "Send a request back with what should change.", DECISIONS),
    "keys": Entry("keys", "app", "Make and show the keys with which persons sign decisions.", DECISIONS),
    "ledger": Entry("ledger", "app", "Verify or show the record.", RECORD),
    "board": Entry("blackboard", "board", "Show what a team has written down and voted on.", RECORD),
    "messages": Entry("messages", "messages", "Show what agents tell each other.", RECORD),
    "dlq": Entry("messages", "app", "List, replay or drop dead letters.", RECORD),
    "cost": Entry("ledger", "cost", "Show what a project has spent, and on what.", RECORD),
    "up": Entry("stack", "up", "Start the local stack: Temporal, Postgres, Redis, a worker.", STACK),
    "down": Entry("stack", "down", "Stop the local stack.", STACK),
    "env": Entry("stack", "env", "Print the exports that point other tools at the stack.", STACK),
    "models": Entry("models", "app", "Choose the models of a role while workers run.", STACK),
    "doctor": Entry("stack", "doctor", "Check what Syndic needs, and say what is missing.", STACK),
    "worker": Entry("worker", "worker", "Run one worker process.", OPERATORS),
    "migrate": Entry("worker", "migrate", "Bring schema and search attributes up to this build.", OPERATORS),
    "rollout": Entry("worker", "rollout", "Make a build the current one.", OPERATORS),
    "provider": Entry("provider", "provider", "Serve scripted answers over real HTTP, for rehearsals.", OPERATORS),
}


class LazyCommands(TyperGroup):
    """Lists commands from the table above and imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.summary, rich_help_panel=entry.panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and load(str(name)), rest


def load(name: str) -> Any:
    """The real command behind a name of the table."""
    entry = COMMANDS[name]
    target = getattr(import_module(f"workers.commands.{entry.module}"), entry.attribute)
    if isinstance(target, typer.Typer):
        command = typer.main.get_command(target)
    else:
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command(name)(target)
        command = typer.main.get_command(single)
    command.name = name
    return command


cli = typer.Typer(
    cls=LazyCommands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Durable, governed teams of AI agents: a goal and a git repository in, reviewed and merged changes out.",
)


@cli.callback()
def _root() -> None:  # pyright: ignore[reportUnusedFunction]  # typer wants a callback to make a group
    pass


def app() -> None:
    """Run the command line and end the process."""
    try:
        cli()
    except SystemExit as end:
        _leave(end.code)
    except KeyboardInterrupt:
        _leave(130)


def _leave(code: str | int | None) -> None:
    """A process that loaded Temporal's native core must not take the interpreter's own way out."""
    status = code if isinstance(code, int) else int(code is not None)
    if "temporalio.bridge.temporal_sdk_bridge" in sys.modules:
        from workers.client import exit_process

        exit_process(status)
    sys.exit(status)
