"""The console script: checks that Syndic's packages are its own before any of them is imported.

Syndic is an application with top-level packages of common names. Other distributions install `agents` or `workflows`
too; with such a neighbour, imports would mix the two silently. Only the standard library is imported up here.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("workers", "workflows", "activities", "agents", "ledger")
ROOT = Path(__file__).resolve().parent.parent
CLASH_EXIT_CODE = 2
REMEDY = (
    "Install Syndic in an environment of its own: `uv tool install 'syndic[local]'`, or a virtual environment that holds "
    "nothing else. Where PYTHONPATH brings the other package in, unset it."
)


def main() -> None:
    """Run the command line, or exit with status 2 naming the package that is not ours."""
    _leave_working_folder()
    clashes = find_clashes()
    if clashes:
        sys.stderr.write("error: Syndic's packages are mixed with another distribution's:\n")
        sys.stderr.writelines(f"  {clash}\n" for clash in clashes)
        sys.stderr.write(f"{REMEDY}\n")
        sys.exit(CLASH_EXIT_CODE)
    _run()


def find_clashes() -> list[str]:
    """One line for each of our packages that Python would find elsewhere, or that another distribution wrote into."""
    elsewhere = [clash for name in PACKAGES if (clash := _found_elsewhere(name))]
    return elsewhere or _written_by_others()


def _run() -> None:
    from workers.cli import app
    from workers.errors import WorkersError

    try:
        app()
    except WorkersError as error:
        sys.stderr.write(f"error: {error}\n")
        if "workers.client" in sys.modules:
            from workers.client import exit_process

            exit_process(error.exit_code)
        sys.exit(error.exit_code)


def _leave_working_folder() -> None:
    """`python -m` puts the working folder first; a project that is worked on may well have an `agents` folder."""
    if sys.path and not sys.flags.safe_path and sys.path[0] in {"", os.getcwd()} and Path.cwd().resolve() != ROOT:
        del sys.path[0]


def _found_elsewhere(name: str) -> str | None:
    spec = importlib.util.find_spec(name)
    ours = ROOT / name
    if spec is None:
        return f"{name}: missing at {ours}; install Syndic again"
    if spec.origin is None or Path(spec.origin).resolve() != ours / "__init__.py":
        found = spec.origin or ", ".join(map(str, spec.submodule_search_locations or ["?"]))
        return f"{name}: Python finds {found} ({_owner(name, Path(found))}) instead of {ours}"
    return None


def _owner(name: str, found: Path) -> str:
    folder = found.parent if found.name == "__init__.py" else found
    owners = _claims([folder.parent], lambda path: path.startswith(f"{name}/"))
    return ", ".join(owners) or "no distribution: a folder on sys.path"


def _written_by_others() -> list[str]:
    """Two distributions in one site-packages merge into one folder; our own RECORD shows quickly whether any did."""
    record = next(ROOT.glob("syndic-*.dist-info/RECORD"), None)
    if record is None:
        return []  # a checkout: no installer writes there
    recorded = _recorded(record)
    present = {path.relative_to(ROOT).as_posix(): path for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    suspects = {name for name, path in present.items() if recorded.get(name) != path.stat().st_size}
    suspects |= {name for name in recorded if name.endswith(".py") and name not in present}
    if not suspects:
        return []
    owners = _claims([ROOT], lambda path: path.split("/", 1)[0] in PACKAGES and path.endswith(".py"))
    return [f"{', '.join(paths[:3])} in {ROOT}: also written by {owner}" for owner, paths in owners.items()]


def _recorded(record: Path) -> dict[str, int]:
    """Path -> size in bytes of our files, as the installer wrote them down."""
    rows = (line.rsplit(",", 2) for line in record.read_text(encoding="utf-8").splitlines())
    return {row[0]: int(row[2]) for row in rows if row[2] and row[0].split("/", 1)[0] in PACKAGES}


def _claims(folders: list[Path], matches: Callable[[str], bool]) -> dict[str, list[str]]:
    """Distributions in these folders, other than ours, whose files match: name and version -> paths."""
    from importlib.metadata import distributions  # 20 ms that only a clash has to pay

    found: dict[str, list[str]] = {}
    for distribution in distributions(path=[str(folder) for folder in folders]):
        if distribution.name == "syndic":
            continue
        paths = [path.as_posix() for path in distribution.files or () if matches(path.as_posix())]
        if paths:
            found[f"{distribution.name} {distribution.version}"] = paths
    return found


if __name__ == "__main__":
    main()
