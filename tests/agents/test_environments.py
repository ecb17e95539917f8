"""A real package that needs what its build generates, built once; and what detection reads from project files."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from agents.detection import project_digest, read_needs, static_roots
from agents.environments import build_environment, detect_gates, environment_variables, find_uv
from agents.errors import SandboxMissingError, SetupFailedError
from agents.gates import regressions, run_gate, run_gates
from agents.sandbox import Refusing, Sandbox, Unconfined, find_sandbox
from agents.target import Baseline, Environment, EnvironmentKind, GateKind

SETUP = """
from pathlib import Path
from setuptools import setup
from setuptools.command.build_py import build_py

class Build(build_py):
    def run(self):
        super().run()
        Path(self.build_lib, "odd", "_version.py").write_text("version = '1.2.3'\\n")

setup(cmdclass={"build_py": Build})
"""
PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "odd-package"
version = "1.2.3"
[tool.setuptools.packages.find]
where = ["lib"]
[dependency-groups]
lint = ["no-such-distribution-of-linters"]
test = ["iniconfig"]
[tool.pytest.ini_options]
addopts = "--cov=odd --cov-fail-under=100 --strict-markers"
"""
TESTS = """
import importlib.metadata, iniconfig, odd, pathlib

def test_it_is_the_worktree_that_is_imported():
    assert pathlib.Path(odd.__file__).is_relative_to(pathlib.Path(__file__).parents[1])

def test_metadata_and_generated_modules_are_there():
    assert importlib.metadata.version("odd-package") == odd.version == "1.2.3"

def test_a_value():
    assert odd.VALUE == 1
"""


def write(tree: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    return tree


@pytest.fixture
async def sandbox() -> Sandbox:
    found = await find_sandbox()
    if isinstance(found, Refusing):
        pytest.skip(found.reason)
    return found


@pytest.mark.timeout(180)
async def test_a_package_is_built_once_and_its_tests_import_the_worktree(tmp_path: Path, sandbox: Sandbox) -> None:
    code = "from odd._version import version\nVALUE = 1\n"
    tree = write(tmp_path / "base", {
        "pyproject.toml": PYPROJECT, "setup.py": SETUP, "lib/odd/__init__.py": code, "lib/odd/old.py": "",
        "tests/test_odd.py": TESTS,
    })  # fmt: skip
    cache = tmp_path / "state" / "environments"
    first, second = await asyncio.gather(
        *(build_environment(tree, cache=cache, sandbox=sandbox, uv=None) for _ in range(2))
    )
    assert first == second
    assert (first.kind, first.source_roots[0], first.warnings) == (EnvironmentKind.PIP, "lib", ())
    assert first.path is not None
    built = Path(first.path).stat().st_ctime_ns
    assert {path.name for path in tree.rglob("*")} & {"build", "odd_package.egg-info"} == set(), "the tree is only read"

    gates = detect_gates(tree, first)
    assert [gate.name for gate in gates] == ["tests", "lint"]
    place = {"environment": first, "sandbox": sandbox, "scratch": tmp_path / "scratch"}
    results = await run_gates(gates, tree=tree, **place)
    assert results[0].passed, results[0].tail
    assert results[0].counts == {"passed": 3, "failed": 0, "errors": 0, "skipped": 0}
    baseline = Baseline(commit="0" * 40, environment=first, gates=results)

    changed = tmp_path / "changed"
    shutil.copytree(tree, changed)
    write(changed, {"lib/odd/__init__.py": f"import odd.old\n{code}".replace("VALUE = 1", "VALUE = 2")})
    worse = await run_gate(gates[0], tree=changed, configuration_from=tree, **place)
    assert worse.failures == ("tests/test_odd.py::test_a_value",)
    assert regressions(baseline, [worse])[0].failures == worse.failures
    (changed / "lib/odd/old.py").unlink()
    gone = await run_gate(gates[0], tree=changed, configuration_from=tree, **place)
    assert gone.counts["errors"] == 1, "a module that the change deletes is not served from the installed copy"
    assert not list((tmp_path / "scratch").iterdir())

    again = await build_environment(changed, cache=cache, sandbox=sandbox, uv=None)
    assert again == first
    assert Path(first.path).stat().st_ctime_ns == built
    assert "/nowhere" not in str(environment_variables(first, changed))


async def test_a_failing_setup_shows_command_output_and_remedy(tmp_path: Path, sandbox: Sandbox) -> None:
    tree = write(tmp_path / "base", {"a.py": ""})
    build = build_environment(
        tree, setup=("echo one; echo the reason >&2; exit 3",), cache=tmp_path / "c", sandbox=sandbox, uv=find_uv()
    )
    with pytest.raises(
        SetupFailedError, match=r"(?s)exit 3` ended with exit code 3.*`setup:` in the brief.*the reason"
    ) as caught:
        await build
    assert caught.value.exit_code == 3
    left = [path.name for path in (tmp_path / "c").rglob("environment.json")]
    assert left == []


async def test_setup_that_hangs_is_stopped(tmp_path: Path, sandbox: Sandbox) -> None:
    tree = write(tmp_path / "base", {"a.py": ""})
    build = build_environment(tree, setup=("sleep 600",), cache=tmp_path / "c", sandbox=sandbox, timeout_s=3)
    with pytest.raises(SetupFailedError, match="was stopped at a limit of time"):
        await build


async def test_without_a_sandbox_nothing_is_built(tmp_path: Path) -> None:
    tree = write(tmp_path / "base", {"a.py": ""})
    with pytest.raises(SandboxMissingError):
        await build_environment(tree, cache=tmp_path / "c", sandbox=Refusing("a reason"))


async def test_a_repository_without_python_needs_no_environment_and_has_no_gate(tmp_path: Path) -> None:
    tree = write(tmp_path / "base", {"README.md": "# it", "main.go": "package main"})
    environment = await build_environment(tree, cache=tmp_path / "c", sandbox=Unconfined())
    assert (environment.kind, environment.path) == (EnvironmentKind.NONE, None)
    assert detect_gates(tree, environment) == ()
    assert not (tmp_path / "c").exists()


EXTRAS = "[project]\nname='x'\n[project.optional-dependencies]\n"
GROUPS = "[dependency-groups]\ntest=['a', {include-group='more'}]\nmore=['b', {include-group='test'}]\n"
POETRY = "[tool.poetry]\nname='x'\n[tool.poetry.group.test.dependencies]\npython='3'\na='^1'\nb={extras=['c']}\n"
TOX = "[testenv]\ndeps =\n  a>1 # why\n  {x}\n  py38: b\n  -rr.txt\n"
PLUGINS = ("pytest-cov", "pytest-asyncio", "pytest-timeout", "pytest-xdist")
PYTEST = "[pytest]\naddopts = --cov -n auto\nasyncio_mode = auto\ntimeout = 3\n"
LOCK = "[[package]]\nname='a'\nversion='1'\n"


@pytest.mark.parametrize(
    ("files", "kind", "package", "requirements", "extras"),
    [
        ({"a.py": ""}, "plain", False, (), ()),
        ({"requirements.txt": "x", "requirements-dev.txt": "y"}, "pip", False, ("-r requirements-dev.txt",), ()),
        ({"requirements-dev.txt": "", "tests/requirements.txt": ""}, "pip", False, ("-r tests/requirements.txt",), ()),
        ({"setup.py": "", "tox.ini": TOX}, "pip", True, ("a>1", "-r r.txt"), ()),
        ({"pyproject.toml": f"{EXTRAS}dev=['a']\ntests=['b']\n"}, "pip", True, (), ("tests",)),
        ({"pyproject.toml": f"{EXTRAS}dev=['a']\ndocs=['b']\n"}, "pip", True, (), ("dev",)),
        ({"pyproject.toml": GROUPS}, "pip", False, ("a", "b"), ()),
        ({"pyproject.toml": "[project]\nname='x'\n", "uv.lock": LOCK}, "uv", True, (), ()),
        ({"pyproject.toml": POETRY}, "poetry", True, ("a", "b[c]"), ()),
        ({"setup.cfg": "[metadata]\nname=x\n[options.extras_require]\ntesting=\n  a\n"}, "pip", True, (), ("testing",)),
        ({"a.py": "", "pyproject.toml": "[tool.ruff]\nline-length = 99\n"}, "plain", False, (), ()),
        ({"a.py": "", "pyproject.toml": "this is = = no toml"}, "plain", False, (), ()),
        ({"a.py": "", "pytest.ini": PYTEST}, "plain", False, PLUGINS, ()),
    ],
)
def test_detection_reads_what_tests_need(
    tmp_path: Path,
    files: dict[str, str],
    kind: str,
    package: bool,
    requirements: tuple[str, ...],
    extras: tuple[str, ...],
) -> None:
    needs = read_needs(write(tmp_path, files))
    assert (needs.kind, needs.package, needs.requirements, needs.extras) == (kind, package, requirements, extras)


def test_locked_versions_are_constraints_and_own_packages_are_not(tmp_path: Path) -> None:
    lock = (
        "[[package]]\nname='a'\nversion='1'\nsource={registry='https://x'}\n[[package]]\nname='me'\nversion='0'\nsource={editable='.'}\n"
        "[[package]]\nname='two'\nversion='1'\n[[package]]\nname='two'\nversion='2'\n"
    )
    assert read_needs(write(tmp_path, {"uv.lock": lock, "pyproject.toml": ""})).constraints == ("a==1",)


def test_the_digest_follows_project_files_and_not_the_code(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": "[project]\n", "a.py": "A = 1"})
    before = project_digest(tmp_path, "3.11")
    write(tmp_path, {"a.py": "A = 2"})
    assert project_digest(tmp_path, "3.11") == before
    assert project_digest(tmp_path, "3.12") != before
    write(tmp_path, {"requirements/test.txt": "x"})
    assert project_digest(tmp_path, "3.11") != before


def test_source_roots_follow_the_layout(tmp_path: Path) -> None:
    assert static_roots(write(tmp_path / "flat", {"pkg/__init__.py": ""})) == (".",)
    assert static_roots(write(tmp_path / "src", {"src/pkg/__init__.py": ""})) == ("src", ".")
    assert static_roots(write(tmp_path / "named", {"src/__init__.py": ""})) == (".",)


def test_gates_are_only_what_the_repository_configures(tmp_path: Path) -> None:
    venv = write(tmp_path / "venv", {"bin/mypy": "", "bin/black": ""})
    environment = Environment(kind=EnvironmentKind.PLAIN, path=str(venv), digest="0")

    def gates(name: str, files: dict[str, str]) -> list[tuple[str, ...]]:
        return [gate.argv for gate in detect_gates(write(tmp_path / name, {"a.py": "", **files}), environment)]

    assert gates("bare", {}) == [("ruff", "check", "--isolated")]
    assert gates("flake8", {".flake8": "[flake8]\n"}) == [("ruff", "check", "--isolated")]
    assert gates("ruff", {"ruff.toml": "[format]\n", "b_test.py": ""}) == [
        ("python", "-m", "pytest"), ("ruff", "check"), ("ruff", "format", "--check"),
    ]  # fmt: skip
    assert gates("black", {"pyproject.toml": "[tool.black]\n[tool.mypy]\nfiles = ['a.py']\n"}) == [
        ("ruff", "check", "--isolated"), ("python", "-m", "black", "--check", "."), ("python", "-m", "mypy"),
    ]  # fmt: skip
    assert detect_gates(tmp_path / "bare", environment)[0].kind is GateKind.LINT
