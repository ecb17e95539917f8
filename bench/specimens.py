"""The packages that Syndic is tried on, and one hand-made bug for each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """`right` occurs once in the file and becomes `wrong`."""

    kind: str
    path: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Specimen:
    name: str
    version: str
    bug: Bug
    tests_need: tuple[str, ...] = ("pytest",)
    """What its tests need, as a person would install it."""


_ALL = (
    Specimen(
        "humanize",
        "4.17.0",
        Bug("comparison", "src/humanize/filesize.py", "    if abs_bytes < base:\n", "    if abs_bytes <= base:\n"),
        ("pytest", "freezegun", "pytest-benchmark", "pytest-codspeed", "pytest-cov"),
    ),
    Specimen(
        "itsdangerous",
        "2.2.0",
        Bug(
            "negated None check",
            "src/itsdangerous/timed.py",
            "        if max_age is not None:\n            age",
            "        if max_age is None:\n            age",
        ),
        ("pytest", "freezegun"),
    ),
    Specimen(
        "parse",
        "1.22.4",
        Bug("arithmetic operator", "parse/__init__.py", "int(tzm) + int(tzh) * 60", "int(tzm) - int(tzh) * 60"),
        ("pytest", "pytest-cov"),
    ),
    Specimen(
        "structlog",
        "24.1.0",
        Bug(
            "boolean operator",
            "src/structlog/processors.py",
            "if self.bool_as_flag and value:",
            "if self.bool_as_flag or value:",
        ),
        ("pytest", "freezegun", "pretend", "pytest-asyncio", "simplejson"),
    ),
    Specimen(
        "tabulate",
        "0.10.0",
        Bug(
            "swapped arguments",
            "tabulate/__init__.py",
            "return rowfmt(padded_cells, colwidths, colaligns)",
            "return rowfmt(padded_cells, colaligns, colwidths)",
        ),
    ),
    Specimen(
        "tomlkit",
        "0.15.2",
        Bug(
            "wrong attribute",
            "tomlkit/items.py",
            'if self._trivia.indent.startswith("\\n")',
            'if self._trivia.trail.startswith("\\n")',
        ),
        ("pytest", "PyYAML"),
    ),
    Specimen(
        "wcwidth",
        "0.9.4",
        Bug("off by one", "wcwidth/bisearch.py", "ubound = len(table) - 1", "ubound = len(table) - 2"),
    ),
)
SPECIMENS = {specimen.name: specimen for specimen in _ALL}
