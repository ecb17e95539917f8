"""Runs assignments of the offline model on the real tools and the real policy, in a folder of files.

Tests of the folder are run by the real tools in the sandbox, or quickly by `mini`.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from agents.assignments import RESULTS, Assignment, GateState, Work
from agents.gates import run_gate
from agents.offline.maintainer import Draft, respond
from agents.policy import DEFAULT_PROGRAMS, Policy
from agents.sandbox import Bubblewrap
from agents.target import Environment, EnvironmentKind, GateKind, GateSpec
from agents.tools.base import ToolContext
from agents.tools.registry import tools_for
from ledger.vocabulary import Role
from tests.agents.offline import mini

TESTS = GateSpec(name="tests", kind=GateKind.TESTS, argv=("pytest", "-q"))
LINT = GateSpec(name="lint", kind=GateKind.LINT, argv=("ruff", "check", "."))
FORMAT = GateSpec(name="format", kind=GateKind.FORMAT, argv=("ruff", "format", "--check"))
ENDS = {"finish", "refuse", "escalate", "hand_off"}
ROLES = {
    Work.REQUIREMENTS: Role.PRODUCT_OWNER,
    Work.SURVEY: Role.ANALYST,
    Work.PLAN: Role.ARCHITECT,
    Work.CHANGE: Role.ENGINEER,
    Work.ANALYSIS: Role.ANALYST,
    Work.QA: Role.QA,
    Work.JUDGE: Role.JUDGE,
    Work.ANSWER: Role.ARCHITECT,
    Work.SUPERVISE: Role.PROJECT_MANAGER,
    Work.MEDIATION: Role.PROJECT_MANAGER,
    Work.BID: Role.ENGINEER,
}


@dataclass
class Run:
    """A finished conversation."""

    ending: str
    arguments: dict[str, Any]
    messages: list[dict[str, Any]]
    calls: list[tuple[str, dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    @property
    def turns(self) -> int:
        return sum(message["role"] == "assistant" for message in self.messages)

    def used(self, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        return [(arguments, answer) for tool, arguments, answer in self.calls if tool == name]


def opening(assignment: Assignment) -> list[dict[str, Any]]:
    text = json.dumps(assignment.model_dump(mode="json"))
    return [
        {"role": "system", "content": "You are an agent."},
        {"role": "user", "content": f"Assignment:\n```json\n{text}\n```"},
    ]


def said(draft: Draft) -> dict[str, Any]:
    calls = [
        {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
        for c in draft.tool_calls
    ]
    return {"role": "assistant", "content": draft.text, "tool_calls": calls}


class House:
    """A repository in a folder and everything an agent needs to work on it."""

    def __init__(
        self,
        root: Path,
        gates: tuple[GateSpec, ...] = (TESTS, LINT),
        environment: Environment | None = None,
        quick: bool = False,
    ) -> None:
        self.quick = quick
        self.tree = root / "tree"
        self.scratch = root / "scratch"
        self.tree.mkdir(parents=True, exist_ok=True)
        self.gates = gates
        self.environment = environment or Environment(
            kind=EnvironmentKind.PLAIN, path=sys.prefix, digest="0" * 64, source_roots=(".", "src")
        )
        self.states: tuple[GateState, ...] = ()

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / name).write_text(text)

    async def baseline(self) -> tuple[GateState, ...]:
        """Run the gates and commit, so that `diff` shows what changed since."""
        self.states = await self.check()
        for command in (["init", "-q"], ["add", "-A", "-f"], ["commit", "-q", "-m", "base"]):
            self._git(*command)
        return self.states

    async def check(self) -> tuple[GateState, ...]:
        if self.quick:
            return ((await mini.gate(self.tree))[0],) if self.gates else ()
        results = [
            await run_gate(g, tree=self.tree, environment=self.environment, sandbox=Bubblewrap(), scratch=self.scratch)
            for g in self.gates
        ]
        return tuple(result.state() for result in results)

    def diff(self) -> str:
        self._git("add", "-A")
        return self._git("diff", "--cached")

    def changed(self) -> list[str]:
        self._git("add", "-A")
        return self._git("diff", "--cached", "--name-only").split()

    def _git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "core.excludesFile="]
        done = subprocess.run(["git", *identity, *arguments], cwd=self.tree, capture_output=True, text=True, check=True)
        return done.stdout

    def assignment(self, work: Work, **fields: Any) -> Assignment:
        base: dict[str, Any] = {"project": "p", "task": "t", "agent": "a", "goal": "g", "role": ROLES[work]}
        return Assignment(work=work, **{**base, "gates": self.states, **fields})

    async def run(self, work: Work, **fields: Any) -> Run:
        return await self.perform(self.assignment(work, **fields))

    async def perform(self, assignment: Assignment) -> Run:
        offered = {tool.name: tool for tool in tools_for(assignment.role, assignment.work)}
        context = ToolContext(
            worktree=SimpleNamespace(path=self.tree),  # pyright: ignore[reportArgumentType]
            sandbox=Bubblewrap(),
            environment=self.environment,
            gates=self.gates,
            scope=assignment.scope,
            programs=DEFAULT_PROGRAMS,
            scratch=self.scratch,
        )
        policy = Policy.with_extensions(())
        run = Run("", {}, opening(assignment))
        schemas = [tool.schema() for tool in offered.values()]
        while not run.ending:
            assert run.turns < 45, "the run does not end"
            draft = await asyncio.to_thread(respond, run.messages, schemas)
            assert draft.tool_calls, draft.text
            run.messages.append(said(draft))
            for call in draft.tool_calls:
                arguments = json.loads(call["arguments"])
                if call["name"] in ENDS:
                    run.ending, run.arguments = call["name"], arguments
                    if call["name"] == "finish":
                        RESULTS[assignment.work].model_validate(arguments)
                    break
                tool = offered[call["name"]]
                decision = policy.decide(
                    role=assignment.role, tool=tool, arguments=arguments, scope=assignment.scope, root=self.tree
                )
                if decision.allowed and self.quick and tool.name in mini.TOOLS:
                    content = json.dumps(await mini.TOOLS[tool.name](self.tree, arguments))
                elif decision.allowed:
                    result = await tool.run(context, tool.arguments.model_validate(arguments))
                    content = result.content
                else:
                    content = json.dumps({"refused": True, "reason": decision.reason})
                run.calls.append((call["name"], arguments, json.loads(content)))
                run.messages.append(
                    {"role": "tool", "tool_call_id": call["id"], "name": call["name"], "content": content}
                )
        return run
