"""Gates on a commit, held against the baseline; shared by the gate run before review and the one before a merge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.assignments import Feedback
from agents.environments import build_environment, detect_gates
from agents.extensions import load_gates
from agents.gates import regressions, run_gates
from agents.git import GitStore
from agents.runner import AgentDeps
from agents.scope import refusal_to_write
from agents.target import Baseline, Environment, GateResult, GateSpec
from ledger.vocabulary import ArtifactRef

NOT_RUN = frozenset({126, 127})
"""Exit codes for a program that is not there or cannot be started."""

Feedbacks = tuple[Feedback, ...]


@dataclass(frozen=True)
class Measured:
    """What the gates said about one commit."""

    results: tuple[GateResult, ...]
    feedback: Feedbacks

    @property
    def passed(self) -> bool:
        return not self.feedback


class Gatekeeper:
    """Runs the gates of one project."""

    def __init__(self, deps: AgentDeps, project: str) -> None:
        self._deps = deps
        self._project = project
        self._git = GitStore(deps.layout.repository(project))

    async def baseline(
        self, commit: str, setup: tuple[str, ...] | None, gates: tuple[GateSpec, ...] | None
    ) -> Baseline:
        """Build the environment, find the gates and run them on the base commit."""
        with self._deps.layout.scratch(self._project, "baseline") as scratch:
            tree = scratch / "tree"
            await self._git.export(commit, tree)
            environment = await self._build(tree, setup)
            specs = gates if gates is not None else _found_gates(tree, environment)
            results = await run_gates(
                specs,
                tree=tree,
                environment=environment,
                sandbox=self._deps.sandbox,
                scratch=_folder(scratch / "work"),
                configuration_from=None,
            )
        return Baseline(commit=commit, environment=environment, gates=results)

    async def measure(self, commit: str, base_commit: str, reference: ArtifactRef) -> Measured:
        """Run the baseline's gates on a commit, with the gates' configuration of `base_commit`."""
        baseline = await load_baseline(self._deps, reference)
        with self._deps.layout.scratch(self._project, "gates") as scratch:
            tree, base = scratch / "tree", scratch / "base"
            await self._git.export(commit, tree)
            await self._git.export(base_commit, base)
            results = await run_gates(
                tuple(result.gate for result in baseline.gates),
                tree=tree,
                environment=await self.environment(baseline, base),
                sandbox=self._deps.sandbox,
                scratch=_folder(scratch / "work"),
                configuration_from=base,
            )
        return Measured(
            results, tuple(_gate_feedback(r.gate, r.text, r.failures) for r in regressions(baseline, results))
        )

    async def environment(self, baseline: Baseline, tree: Path) -> Environment:
        """The baseline's environment, built again where this worker does not have it."""
        environment = baseline.environment
        if environment.path is None or Path(environment.path).is_dir():
            return environment
        return await self._build(tree, environment.setup)

    async def _build(self, tree: Path, setup: tuple[str, ...] | None) -> Environment:
        environment = await build_environment(
            tree, setup=setup, cache=self._deps.layout.environments(), sandbox=self._deps.sandbox, uv=None
        )
        return environment.model_copy(update={"setup": setup})


def can_judge(result: GateResult) -> bool:
    """Whether a gate came to an end before any change; one that never does lets everything pass."""
    return result.exit_code is not None and result.exit_code not in NOT_RUN


def cautions(baseline: Baseline) -> tuple[str, ...]:
    """What a person should know of the target before the work."""
    idle = (result for result in baseline.gates if not can_judge(result))
    return (*baseline.environment.warnings, *(_caution(result) for result in idle))


def _caution(result: GateResult) -> str:
    gate, said = result.gate, " ".join(result.tail.split())[-300:]
    if result.exit_code is None:
        why = (
            f"did not end within its {gate.timeout_s} s or other limits; give it a larger `timeout_s`, or leave it out"
        )
    else:
        why = f"cannot be run here (exit code {result.exit_code}: {said}); correct its `run`"
    return f"gate {gate.name} judges nothing: before any change it {why}, under `gates:` in the brief"


async def load_baseline(deps: AgentDeps, reference: ArtifactRef) -> Baseline:
    return Baseline.model_validate_json(await deps.store.get_artifact(reference.digest))


def scope_feedback(paths: tuple[str, ...], scope: tuple[str, ...]) -> Feedbacks:
    """What the task's scope says about changed paths; policy has said it before, and this reads the commit itself."""
    refused = {path: reason for path in paths if (reason := refusal_to_write(scope, path))}
    if not refused:
        return ()
    return (_gate_feedback("scope", "; ".join(refused.values()), tuple(refused)),)


def _gate_feedback(gate: str, text: str, failures: tuple[str, ...]) -> Feedback:
    return Feedback(source=f"gate:{gate}", text=text[:4_000], data={"failures": list(failures[:50])})


def _found_gates(tree: Path, environment: Environment) -> tuple[GateSpec, ...]:
    found = list(detect_gates(tree, environment))
    for load in load_gates():
        found.extend(load(tree, environment))
    return tuple(found)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
