"""Runs inside the target's environment, in the sandbox, once after the package was installed. Standard library alone.

The package is installed without links to its source, and the worktree's folders stand before it on `PYTHONPATH`. What the
build generated (version modules, compiled extensions) then lies only in the installed copy; a finder that is asked last
serves exactly those modules. A module that a change deletes stays deleted.
"""

import importlib.metadata
import json
import sys
import sysconfig
from pathlib import Path, PurePath
from urllib.parse import unquote, urlparse

FINDER = """
import importlib.machinery, importlib.util, os, sys
MODULES = {modules!r}
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        file = MODULES.get(name)
        return importlib.util.spec_from_file_location(name, os.path.join(os.path.dirname(__file__), file)) if file else None
sys.meta_path.append(Finder)
"""
SKIPPED = {"build", "dist", "docs", "doc", "node_modules", "examples", "tests", "test"}


def installed_from(source: Path) -> importlib.metadata.Distribution | None:
    """The distribution that was installed from the folder `source`."""
    for distribution in importlib.metadata.distributions():
        origin = json.loads(distribution.read_text("direct_url.json") or "{}").get("url", "")
        if origin.startswith("file:") and Path(unquote(urlparse(origin).path)).resolve() == source.resolve():
            return distribution
    return None


def folders(tree: Path) -> list[Path]:
    """Where top-level modules may lie: the tree, `src`, then other folders down to the second level."""
    first = [path for path in sorted(tree.iterdir()) if searched(path)]
    second = [path for folder in first for path in sorted(folder.iterdir()) if searched(path)]
    return [tree, *(path for path in first if path.name == "src"), *first, *second]


def searched(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".") and path.name not in SKIPPED


def root_of(top: str, tree: Path) -> Path | None:
    """The folder of the tree that holds the top-level module or package `top`."""
    ranked = folders(tree)
    exact = (folder for folder in ranked if (folder / top / "__init__.py").exists() or (folder / f"{top}.py").exists())
    loose = (folder for folder in ranked if any((folder / top).glob("**/*.py")))
    return next(exact, None) or next(loose, None)


def module_name(file: PurePath) -> str:
    parts = [*file.parts[:-1], file.name.split(".")[0]]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def main(source: Path, tree: Path) -> dict[str, object]:
    distribution = installed_from(source)
    if distribution is None:
        return {"roots": [], "extras": [], "generated": 0}
    code = [f for f in distribution.files or () if f.suffix in {".py", ".so"} and ".." not in f.parts]
    tops = sorted({file.parts[0] if len(file.parts) > 1 else file.name.split(".")[0] for file in code})
    roots = {top: root for top in tops if (root := root_of(top, tree))}
    generated: dict[str, str] = {}
    for file in code:
        root = roots.get(file.parts[0] if len(file.parts) > 1 else file.name.split(".")[0])
        if root is not None and not (root / file).exists():
            generated[module_name(file)] = str(file)
    if generated:
        site = Path(sysconfig.get_path("purelib"))
        (site / "_syndic_generated.py").write_text(FINDER.format(modules=generated))
        (site / "_syndic_generated.pth").write_text("import _syndic_generated\n")
    found = list(dict.fromkeys(str(root.relative_to(tree)) for root in roots.values()))
    extras = distribution.metadata.get_all("Provides-Extra") or []
    return {"roots": found, "extras": extras, "generated": len(generated)}


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1]), Path(sys.argv[2])), sys.stdout)
