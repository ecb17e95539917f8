"""What kind of project a tree is and what its tests need, read from its files; nothing of it is executed."""

from __future__ import annotations

import configparser
import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.target import EnvironmentKind

Table = Mapping[str, Any]
TEST_NAMES = ("test", "tests", "testing")
DEV_NAMES = ("dev", "develop", "development")
_PROJECT_FILES = (
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "tox.ini",
    "uv.lock",
    "poetry.lock",
    "Pipfile.lock",
    "PKG-INFO",
)
_REQUIREMENTS = ("*requirements*.txt", "requirements/*.txt", "tests/requirements*.txt", "test/requirements*.txt")
_MAX_FILE = 2_000_000
_PLUGINS = {
    r"--(no-)?cov\b": "pytest-cov",
    r"\basyncio_mode|asyncio_default_": "pytest-asyncio",
    r"--timeout\b|^\s*timeout\s*=": "pytest-timeout",
    r"(^|[\s\"'])(-n[\s\"',=]*(auto|\d)|--numprocesses|--dist\b)": "pytest-xdist",
    r"--benchmark-": "pytest-benchmark",
    r"--mypy\b": "pytest-mypy",
    r"--doctest-glob-plus|doctest_plus": "pytest-doctestplus",
    r"--randomly-|-p no:randomly": "pytest-randomly",
    r"DJANGO_SETTINGS_MODULE": "pytest-django",
}
"""Options in a pytest configuration that a plugin must bring, or pytest refuses to start."""


_SCM = re.compile(r"setuptools[-_]scm|hatch-vcs|versioningit|\bpbr\b|dynamic-versioning|pdm-backend")


@dataclass(frozen=True)
class Needs:
    """What to install besides the package itself."""

    kind: EnvironmentKind
    package: bool
    """The tree is a package that can be installed."""
    name: str | None = None
    requirements: tuple[str, ...] = ()
    """For the tests, as PEP 508 strings, or `-r file`."""
    files: tuple[str, ...] = ()
    """Requirement files the program itself needs, relative to the tree."""
    extras: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    scm_version: bool = False
    """The package asks git for its version, which is not there."""


def project_digest(tree: Path, *parts: str) -> str:
    """SHA-256 over the project's lock and configuration files and `parts`."""
    digest = hashlib.sha256("\0".join(parts).encode())
    for path in _project_files(tree):
        digest.update(f"\0{path.relative_to(tree)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def read_needs(tree: Path) -> Needs:
    """Detect the kind of project and what its tests need."""
    pyproject = read_toml(tree / "pyproject.toml")
    setup = read_ini(tree / "setup.cfg")
    project, poetry = _table(pyproject, "project"), _table(pyproject, "tool", "poetry")
    package = bool(
        project
        or poetry
        or "build-system" in pyproject
        or (tree / "setup.py").is_file()
        or setup.has_section("metadata")
    )
    if project and "name" not in project:
        package = False
    extras = _extras(project, poetry, setup)
    requirements = [*_groups(pyproject), *_poetry_groups(poetry)]
    files = _requirement_files(tree)
    if not extras and not requirements and not files:
        requirements = list(_tox(tree))
    base = ("requirements.txt",) if _regular(tree / "requirements.txt") else ()
    return Needs(
        kind=_kind(tree, poetry, package or bool(base) or bool(files) or bool(requirements)),
        package=package,
        name=project.get("name") or poetry.get("name") or setup.get("metadata", "name", fallback=None),
        requirements=tuple(dict.fromkeys([*requirements, *(f"-r {file}" for file in files), *pytest_plugins(tree)])),
        files=base,
        extras=extras,
        constraints=_locked(tree),
        scm_version=bool(_SCM.search(_text(tree, "pyproject.toml", "setup.cfg", "setup.py"))),
    )


def pytest_plugins(tree: Path) -> tuple[str, ...]:
    """Plugins without which pytest would refuse the repository's own options."""
    options = read_toml(tree / "pyproject.toml")
    ini = _table(options, "tool", "pytest", "ini_options") or _table(options, "tool", "pytest")
    text = "\n".join(f"{key} = {value}" for key, value in ini.items())
    for name, sections in (("pytest.ini", ("pytest",)), ("tox.ini", ("pytest",)), ("setup.cfg", ("tool:pytest",))):
        parser = read_ini(tree / name)
        text += "".join(
            f"\n{k} = {v}" for section in sections if parser.has_section(section) for k, v in parser.items(section)
        )
    return tuple(plugin for pattern, plugin in _PLUGINS.items() if re.search(pattern, text, re.MULTILINE))


def static_roots(tree: Path) -> tuple[str, ...]:
    """Folders that hold top-level modules, judged by layout alone."""
    src = tree / "src"
    packages = src.is_dir() and any(path.suffix == ".py" or (path / "__init__.py").exists() for path in src.iterdir())
    return ("src", ".") if packages and not (src / "__init__.py").exists() else (".",)


def read_toml(path: Path) -> Table:
    """A TOML file's content; empty where it is missing, odd or malformed (tools of the target will say so)."""
    try:
        return tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError:
        return {}


def read_ini(path: Path) -> configparser.RawConfigParser:
    """An INI file's content; empty where it is missing or malformed."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(_read(path))
    except configparser.Error:
        return configparser.RawConfigParser()
    return parser


def _read(path: Path) -> str:
    if not _regular(path) or path.stat().st_size > _MAX_FILE:
        return ""
    return path.read_text(encoding="utf-8", errors="replace")


def _regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _text(tree: Path, *names: str) -> str:
    return "\n".join(_read(tree / name) for name in names)


def _project_files(tree: Path) -> Iterator[Path]:
    found = {tree / name for name in _PROJECT_FILES}
    for pattern in _REQUIREMENTS:
        found |= set(tree.glob(pattern))
    return (path for path in sorted(found) if _regular(path))


def _table(document: Table, *keys: str) -> Table:
    for key in keys:
        document = document.get(key, {})
        if not isinstance(document, Mapping):
            return {}
    return document


def _is_package(tree: Path, pyproject: Table, setup: configparser.RawConfigParser) -> bool:
    project, poetry = _table(pyproject, "project"), _table(pyproject, "tool", "poetry")
    if (project and "name" not in project) or poetry.get("package-mode") is False:
        return False
    old_style = _regular(tree / "setup.py") or setup.has_section("metadata")
    return bool(project or poetry or "build-system" in pyproject or old_style)


def _kind(tree: Path, poetry: Table, installable: bool) -> EnvironmentKind:
    if _regular(tree / "uv.lock"):
        return EnvironmentKind.UV
    if _regular(tree / "poetry.lock") or poetry:
        return EnvironmentKind.POETRY
    if installable:
        return EnvironmentKind.PIP
    has_python = any(path for depth in ("*.py", "*/*.py", "*/*/*.py") for path in tree.glob(depth))
    return EnvironmentKind.PLAIN if has_python else EnvironmentKind.NONE


def _wanted(names: Iterator[str] | list[str]) -> tuple[str, ...]:
    """The names that are for tests; where there is none, those for development."""
    listed = list(names)
    tests = tuple(name for name in listed if name.lower() in TEST_NAMES)
    return tests or tuple(name for name in listed if name.lower() in DEV_NAMES)


def _extras(project: Table, poetry: Table, setup: configparser.RawConfigParser) -> tuple[str, ...]:
    names = [*_table(project, "optional-dependencies"), *_table(poetry, "extras")]
    section = "options.extras_require"
    return _wanted([*names, *(setup.options(section) if setup.has_section(section) else ())])


def _groups(pyproject: Table) -> list[str]:
    groups = _table(pyproject, "dependency-groups")
    return [item for name in _wanted(list(groups)) for item in _group(groups, name, ())]


def _group(groups: Table, name: str, seen: tuple[str, ...]) -> Iterator[str]:
    """Requirements of a dependency group, its included groups among them (PEP 735)."""
    for item in groups.get(name, ()) if name not in seen else ():
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping) and isinstance(item.get("include-group"), str):
            yield from _group(groups, item["include-group"], (*seen, name))


def _poetry_groups(poetry: Table) -> list[str]:
    groups = {name: _table(poetry, "group", name, "dependencies") for name in _table(poetry, "group")}
    groups.setdefault("dev", _table(poetry, "dev-dependencies"))
    return [
        _poetry_requirement(n, v) for group in _wanted(list(groups)) for n, v in groups[group].items() if n != "python"
    ]


def _poetry_requirement(name: str, value: object) -> str:
    """Name only: the lock's versions are constraints, and without a lock the newest will do."""
    extras = value.get("extras") if isinstance(value, Mapping) else None
    return f"{name}[{','.join(map(str, extras))}]" if isinstance(extras, list) else name


def _locked(tree: Path) -> tuple[str, ...]:
    """Versions of uv.lock or poetry.lock, where the lock has one version of a package; packages from the tree have none."""
    packages = read_toml(tree / "uv.lock").get("package") or read_toml(tree / "poetry.lock").get("package") or []
    versions: dict[str, set[str]] = {}
    for item in packages if isinstance(packages, list) else []:
        source = item.get("source", {})
        if {"editable", "virtual", "directory", "path", "git", "url"}.isdisjoint(source) and source.get("type") is None:
            versions.setdefault(str(item.get("name")), set()).add(str(item.get("version")))
    return tuple(f"{name}=={min(found)}" for name, found in versions.items() if len(found) == 1)


def _requirement_files(tree: Path) -> list[str]:
    names = [
        str(path.relative_to(tree))
        for pattern in _REQUIREMENTS
        for path in sorted(tree.glob(pattern))
        if _regular(path)
    ]
    tests = [name for name in names if "test" in name.lower()]
    return list(dict.fromkeys(tests or [name for name in names if "dev" in name.lower()]))


def _tox(tree: Path) -> Iterator[str]:
    for line in read_ini(tree / "tox.ini").get("testenv", "deps", fallback="").splitlines():
        text = line.split(" #")[0].strip()
        if not text or text.startswith("#") or "{" in text or re.match(r"^[\w,!-]+\s*:", text):
            continue  # a comment, a substitution, or for one factor of the matrix only
        yield f"-r {text[2:].strip()}" if text.startswith("-r") else text
