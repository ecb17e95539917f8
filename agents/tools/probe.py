"""Runs the target's pytest with our plugin: chosen tests, outcomes by test, and which lines failing and passing tests ran."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from agents.environments import environment_variables
from agents.errors import AgentError
from agents.gate_parsers import stable_id
from agents.sandbox import Completed, Limits
from agents.target import Environment, GateKind
from agents.tools.answers import cut
from agents.tools.base import ToolContext
from agents.tools.copies import scratch_folder
from agents.tools.programs import folders_of, program_of
from ledger.vocabulary import Record

TEST_S = 30.0
"""Seconds that one test may take."""
_GRACE_S = 45.0
"""Seconds for interpreter, collection and the report, besides the tests' own."""
_OUR_OPTIONS = (
    "-p", "syndic_probe", "-p", "no:cacheprovider", "--maxfail=0", "--continue-on-collection-errors", "-q",
    "--no-header", "--color=no", "--tb=short",
)  # fmt: skip
_WHERE_PRESENT = {
    "pytest_cov": ("--no-cov",),
    "xdist": ("-n0",),
    "pytest_randomly": ("-p", "no:randomly"),
}
"""Plugins of the target that would measure, spread or shuffle what we measure in order."""
_USAGE_ERROR = 4
_PLUGIN = Path(__file__).with_name("probe_plugin.py")
_PROGRAMS = ("pytest", "py.test")
_OPTIONS_AT = 3
"""Where options begin, after `python -m pytest`."""


class ProbeRequest(Record):
    """What the plugin is asked. Empty `only` means every test."""

    only: tuple[str, ...] = ()
    """Test ids, or the beginnings of some: a file, a class, a test without its parameters."""
    without: tuple[str, ...] = ()
    max_tests: int = 0
    """0: all; else a sample of so many."""
    seconds: float = 0
    """After so long no further test starts; 0: no such limit."""
    test_seconds: float = TEST_S
    lines: bool = False
    """Record which lines ran."""


class ProbeReport(Record):
    """What one run of pytest gave. Paths are relative to the tree."""

    outcomes: dict[str, str] = {}
    """Test id -> passed, failed, error or skipped; a file that could not be collected counts as one test in error."""
    frames: tuple[tuple[str, int], ...] = ()
    """Lines in the tracebacks, innermost first."""
    lines: dict[str, dict[int, tuple[int, int]]] = {}
    """Path -> line -> (failing tests, passing tests) that ran it."""
    complete: bool = True
    """False where only a sample was run."""

    def of(self, *outcomes: str) -> frozenset[str]:
        """Ids of the tests that ended so."""
        return frozenset(name for name, outcome in self.outcomes.items() if outcome in outcomes)


class ProbeError(AgentError):
    """The tests could not be run."""


class ProbeTimeoutError(ProbeError):
    """The tests took too long and were stopped."""


async def run_probe(
    context: ToolContext,
    tree: Path,
    request: ProbeRequest,
    *,
    timeout_s: float | None = None,
    first_failure: bool = False,
) -> ProbeReport:
    """Run tests of `tree`, which the tests may write to, in the sandbox and the target's environment.

    Args:
        context: Sandbox, environment, gates and scratch folder.
        tree: A copy of the worktree.
        request: Which tests, and what to record.
        timeout_s: Seconds for all of it; by default what the request allows and some for collection.
        first_failure: Stop at the first test that fails.

    Raises:
        ProbeTimeoutError: It was stopped for time.
        ProbeError: Pytest ended without a report, such as for a broken configuration.
    """
    tree = tree.resolve()
    async with scratch_folder(context, "probe") as folder:
        coverage = await asyncio.to_thread(_prepare, folder, tree, request)
        command = _command(context, tree, request, first_failure)
        run = partial(
            context.sandbox.run,
            cwd=tree,
            writable=[tree, folder],
            readable=[*folders_of(context.environment), *coverage],
            env=_variables(context, tree, folder),
            limits=Limits(timeout_s=timeout_s or (request.seconds or TEST_S * 10) + _GRACE_S),
        )
        done = await run(command)
        if done.exit_code == _USAGE_ERROR:
            # The repository's own `addopts` ask for a plugin that is not there; its tests gate goes on without them too.
            done = await run([*command[:_OPTIONS_AT], "-o", "addopts=", *command[_OPTIONS_AT:]])
        return _report(folder / "report.json", done)


def _report(path: Path, done: Completed) -> ProbeReport:
    if done.timed_out:
        raise ProbeTimeoutError(f"the tests were stopped after {done.duration_s:.0f} s")
    if path.is_symlink() or not path.is_file():
        said = cut((done.stderr + done.stdout).strip(), 1_500)
        raise ProbeError(f"pytest ended with exit code {done.exit_code} and without a report: {said}")
    try:
        report = ProbeReport.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ProbeError("the tests wrote over their own report") from error
    return report.model_copy(update={"outcomes": {stable_id(name): kind for name, kind in report.outcomes.items()}})


def _prepare(folder: Path, tree: Path, request: ProbeRequest) -> list[Path]:
    """Lay plugin and request into the folder; returns what else must be visible."""
    shutil.copyfile(_PLUGIN, folder / "syndic_probe.py")
    spec = importlib.util.find_spec("coverage") if request.lines else None
    package = Path(spec.origin).parent if spec and spec.origin else None
    if package:
        (folder / "packages").mkdir()
        (folder / "packages" / "coverage").symlink_to(package)
    content = {
        **request.model_dump(mode="json"),
        "only": [_selector(name) for name in request.only],
        "without": [_selector(name) for name in request.without],
        "root": str(tree),
        "out": str(folder / "report.json"),
        "coverage_path": str(folder / "packages") if package else None,
    }
    (folder / "request.json").write_text(json.dumps(content))
    return [package] if package else []


def _variables(context: ToolContext, tree: Path, folder: Path) -> dict[str, str]:
    own = environment_variables(context.environment, tree)
    path = ":".join(part for part in (own.get("PYTHONPATH"), str(folder)) if part)
    # The C tracer can switch contexts on every Python; `sys.monitoring` cannot.
    return own | {"PYTHONPATH": path, "SYNDIC_PROBE": str(folder / "request.json"), "COVERAGE_CORE": "ctrace"}


def _command(context: ToolContext, tree: Path, request: ProbeRequest, first_failure: bool) -> list[str]:
    files = dict.fromkeys(name.split("::", 1)[0] for name in request.only)
    existing = [name for name in files if (tree / name).exists()]
    options = _gate_options(context, tree, drop_paths=bool(existing))
    stop = ["-x"] if first_failure else []
    present = [
        part for name, parts in _WHERE_PRESENT.items() if _has_module(context.environment, name) for part in parts
    ]
    start = [program_of(context.environment, "python"), "-m", "pytest"]
    return [*start, *options, *_OUR_OPTIONS, *present, *stop, f"--rootdir={tree}", "--", *existing]


def _selector(name: str) -> str:
    """What the plugin selects by: an id in which something was made stable stands for all parameters of its test."""
    return name.partition("[")[0] if "<time>" in name or "<address>" in name else name


def _has_module(environment: Environment, name: str) -> bool:
    return any(Path(environment.path or "/nowhere").glob(f"lib/python3*/site-packages/{name}*"))


def _gate_options(context: ToolContext, tree: Path, *, drop_paths: bool) -> Sequence[str]:
    """Arguments of the repository's own tests gate, when that is a pytest."""
    for gate in context.gates:
        if gate.kind is not GateKind.TESTS:
            continue
        for index, part in enumerate(gate.argv):
            if Path(part).name in _PROGRAMS:
                rest = [option for option in gate.argv[index + 1 :] if option != "--"]
                return [option for option in rest if not (drop_paths and (tree / option).exists())]
    return ()
