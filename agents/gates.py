"""Gates: the target's own checks, run on a copy of a tree with the base commit's configuration, held against the baseline."""

from __future__ import annotations

import asyncio
import fnmatch
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp

from agents.environments import environment_variables
from agents.gate_parsers import (
    MAX_FAILURES,
    Parsed,
    parse_format,
    parse_lint,
    parse_tests,
    parse_types,
    per_file,
)
from agents.sandbox import Completed, Limits, Sandbox
from agents.target import Baseline, Environment, GateKind, GateResult, GateSpec, Regression
from agents.worktree import remove_tree

__all__ = ["regressions", "run_gate", "run_gates", "touched_configuration"]

CONFIGURATION = frozenset({
    "pyproject.toml", "setup.cfg", "tox.ini", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "ruff.toml",
    ".ruff.toml", "mypy.ini", ".mypy.ini", ".coveragerc", "pyrightconfig.json", ".flake8",
})  # fmt: skip
"""Files that steer gates, in any folder; they are taken from the base commit."""
_TEST_PATTERNS = ("test_*.py", "*_test.py", "conftest.py", "sitecustomize.py", "usercustomize.py", "*.pth")
_TEST_FOLDERS = frozenset({"tests", "test", "testing"})
_TAIL = 4_000
_MAX_REPORT = 100_000_000
_USAGE_ERROR = 4
_PLUGIN = Path(__file__).with_name("pytest_report.py")


@dataclass(frozen=True)
class _Bench:
    """Where one gate runs: `tree` is a copy that it may change, `report` a folder for what it finds."""

    tree: Path
    report: Path
    environment: Environment
    sandbox: Sandbox
    spec: GateSpec

    async def run(self, argv: Sequence[str], extra: dict[str, str] | None = None) -> Completed:
        env = environment_variables(self.environment, self.tree)
        if extra:
            env |= extra
            env["PYTHONPATH"] = os.pathsep.join(filter(None, (env.get("PYTHONPATH"), str(self.report / "plugin"))))
        readable = [Path(self.environment.path)] if self.environment.path else []
        return await self.sandbox.run(
            [self._program(argv[0]), *argv[1:]], cwd=self.tree, writable=[self.tree, self.report], readable=readable,
            env=env, limits=Limits(timeout_s=self.spec.timeout_s),
        )  # fmt: skip

    def read(self, name: str) -> str:
        """A report's text; empty where it is missing or no plain file (the target could have put a link there)."""
        try:
            descriptor = os.open(self.report / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return ""
        with open(descriptor, encoding="utf-8", errors="replace") as file:
            return file.read(_MAX_REPORT) if stat.S_ISREG(os.fstat(descriptor).st_mode) else ""

    def _program(self, name: str) -> str:
        own = Path(self.environment.path or "/nowhere") / "bin" / name
        if own.exists():
            return str(own)
        ours = Path(sys.executable).parent / name
        return str(ours) if name == "ruff" and ours.exists() else name


async def run_gate(
    spec: GateSpec, *, tree: Path, environment: Environment, sandbox: Sandbox, scratch: Path,
    configuration_from: Path | None = None,
) -> GateResult:  # fmt: skip
    """Run one gate on a copy of a tree; the tree itself is only read.

    Args:
        spec: The gate.
        tree: Files of the commit in question.
        environment: The target's environment.
        sandbox: Where it runs.
        scratch: A folder for the copy and the report, which are removed again.
        configuration_from: Tree of the base commit, whose gate configuration is used instead of the change's own.

    Raises:
        SandboxMissingError: Programs cannot be confined.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    place = Path(mkdtemp(prefix=f"gate-{spec.kind}-", dir=scratch.absolute()))
    bench = _Bench(place / "tree", place / "report", environment, sandbox, spec)
    started = time.monotonic()
    try:
        await asyncio.to_thread(_prepare, bench, tree, configuration_from)
        done, parsed = await _check(bench)
    finally:
        await asyncio.to_thread(remove_tree, place)
    return GateResult(
        gate=spec,
        passed=done.exit_code == 0 and parsed.complete and not parsed.failures,
        exit_code=done.exit_code,
        duration_s=round(time.monotonic() - started, 3),
        failures=parsed.failures,
        counts=parsed.counts,
        tail=(done.stdout + done.stderr + _stopped(done)).replace(str(bench.tree), ".")[-_TAIL:],
    )


async def run_gates(
    specs: Iterable[GateSpec], *, tree: Path, environment: Environment, sandbox: Sandbox, scratch: Path,
    configuration_from: Path | None = None,
) -> tuple[GateResult, ...]:  # fmt: skip
    """Run gates one after the other, each on its own copy; see `run_gate`."""
    place = {"tree": tree, "scratch": scratch, "configuration_from": configuration_from}
    return tuple([await run_gate(spec, environment=environment, sandbox=sandbox, **place) for spec in specs])


def regressions(baseline: Baseline, results: Iterable[GateResult]) -> tuple[Regression, ...]:
    """What is worse than at the baseline; what failed there and still fails is not."""
    before = {result.gate.name: result for result in baseline.gates}
    found = [_regression(before.get(result.gate.name), result) for result in results]
    return tuple(regression for regression in found if regression)


def touched_configuration(paths: Iterable[str]) -> tuple[str, ...]:
    """The changed paths that decide what gates say: their configuration, and tests."""
    return tuple(path for path in paths if _steers(PurePosixPath(path)))


def _stopped(done: Completed) -> str:
    reason = "time is over" if done.timed_out else f"too much {done.exceeded}"
    return f"\n[stopped: {reason}]" if done.exit_code is None else ""


def _steers(path: PurePosixPath) -> bool:
    named = path.name in CONFIGURATION or any(fnmatch.fnmatch(path.name, pattern) for pattern in _TEST_PATTERNS)
    return named or not _TEST_FOLDERS.isdisjoint(path.parts[:-1])


def _prepare(bench: _Bench, tree: Path, base: Path | None) -> None:
    shutil.copytree(tree, bench.tree, symlinks=True, ignore=_special_files)
    (bench.report / "plugin").mkdir(parents=True)
    shutil.copy(_PLUGIN, bench.report / "plugin" / "syndic_gate_report.py")
    if base is not None:
        for path in _configuration(bench.tree):
            (bench.tree / path).unlink()
        for path in _configuration(base):
            if (bench.tree / path).parent.is_dir():
                shutil.copy2(base / path, bench.tree / path, follow_symlinks=False)


def _configuration(tree: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, names in os.walk(tree):
        linked = [name for name in folders if (Path(folder) / name).is_symlink()]
        found += [(Path(folder) / name).relative_to(tree) for name in (*names, *linked) if name in CONFIGURATION]
    return found


def _special_files(folder: str, names: list[str]) -> list[str]:
    """Pipes, sockets and devices, which a copy would hang on or refuse."""
    modes = {name: (Path(folder) / name).lstat().st_mode for name in names}
    return [
        name for name, mode in modes.items() if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))
    ]


async def _check(bench: _Bench) -> tuple[Completed, Parsed]:
    argv = list(bench.spec.argv)
    match bench.spec.kind:
        case GateKind.TESTS if "pytest" in argv:
            return await _tests(bench, argv)
        case GateKind.LINT if argv[0] == "ruff":
            report = ["--no-fix", "--no-cache", "--output-format=json", f"--output-file={bench.report / 'lint.json'}"]
            done = await bench.run([*argv, *report])
            return done, parse_lint(bench.read("lint.json"), bench.tree)
        case GateKind.FORMAT:
            done = await bench.run([*argv, *(["--no-cache"] if argv[0] == "ruff" else [])])
            return done, parse_format(done.stdout + done.stderr, bench.tree)
        case GateKind.TYPES:
            done = await bench.run([*argv, *(["--cache-dir=/dev/null"] if "mypy" in argv else [])])
            return done, parse_types(done.stdout)
        case _:
            return await bench.run(argv), Parsed()


async def _tests(bench: _Bench, argv: list[str]) -> tuple[Completed, Parsed]:
    """Run pytest with our report; where the repository's own `addopts` do not work here, once more without them."""
    options = ["-p", "no:cacheprovider", "-p", "syndic_gate_report", f"--rootdir={bench.tree}", "--color=no"]
    options += ["--tb=short", "--continue-on-collection-errors"]  # one broken file must not hide all other tests
    options += ["--no-cov"] if _has_module(bench.environment, "pytest_cov") else []
    options += ["-p", "no:randomly"] if _has_module(bench.environment, "pytest_randomly") else []
    extra = {"SYNDIC_GATE_REPORT": str(bench.report / "tests.jsonl")}
    done = await bench.run([*argv, *options], extra)
    if done.exit_code == _USAGE_ERROR:
        (bench.report / "tests.jsonl").unlink(missing_ok=True)
        done = await bench.run([*argv, *options, "-o", "addopts="], extra)
    return done, parse_tests(bench.read("tests.jsonl"))


def _has_module(environment: Environment, name: str) -> bool:
    return any(Path(environment.path or "/nowhere").glob(f"lib/python3*/site-packages/{name}*"))


def _regression(before: GateResult | None, after: GateResult) -> Regression | None:
    name = after.gate.name
    if after.exit_code is None and (before is None or before.exit_code is not None):
        return Regression(gate=name, text=f"{name} did not finish within {after.gate.timeout_s} s or its limits")
    texts, failures = _worse(before, after)
    if not texts and before is not None and before.passed and not after.passed:
        texts = [f"{name} passed at the baseline and fails now (exit code {after.exit_code}): {after.tail[-1_000:]}"]
    return Regression(gate=name, text="; ".join(texts), failures=tuple(failures)) if texts else None


def _worse(before: GateResult | None, after: GateResult) -> tuple[list[str], list[str]]:
    if before is None:
        return ([] if after.passed else [f"{after.gate.name} fails and was not part of the baseline"]), []
    match after.gate.kind:
        case GateKind.TESTS:
            return _worse_tests(before, after)
        case GateKind.LINT | GateKind.TYPES:
            return _worse_findings(before, after)
        case GateKind.FORMAT:
            new = sorted(set(after.failures) - set(before.failures))
            return ([f"{len(new)} more files are not formatted: {_some(new)}"] if new else []), new
        case GateKind.COMMAND:
            return [], []


def _worse_tests(before: GateResult, after: GateResult) -> tuple[list[str], list[str]]:
    new = sorted(set(after.failures) - set(before.failures))
    texts = [f"{len(new)} tests fail that did not fail at the baseline: {_some(new)}"] if new else []
    missing = before.counts.get("passed", 0) - after.counts.get("passed", 0) - len(new)
    fewer = sum(before.counts.values()) - sum(after.counts.values())
    if missing > 0:
        texts.append(f"{missing} tests that passed at the baseline are gone or skipped")
    elif fewer > 0:
        texts.append(f"{fewer} tests of the baseline are gone")
    return texts, new


def _worse_findings(before: GateResult, after: GateResult) -> tuple[list[str], list[str]]:
    """By file and rule, since lines move; by rule alone where lists were cut, since counts are complete."""
    if len(before.failures) >= MAX_FAILURES or len(after.failures) >= MAX_FAILURES:
        more = {
            code: n - before.counts.get(code, 0) for code, n in after.counts.items() if n > before.counts.get(code, 0)
        }
        return [f"{n} more findings of {code}" for code, n in sorted(more.items())], []
    surplus = per_file(after.failures) - per_file(before.failures)
    texts = [f"{n} more findings of {code} in {path}" for (path, code), n in sorted(surplus.items())]
    new = [failure for failure in after.failures if (failure.rsplit(":", 2)[0], failure.rsplit(":", 1)[1]) in surplus]
    return texts, new


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
