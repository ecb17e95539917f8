"""Where things lie under the state folder."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from tempfile import mkdtemp


class Layout:
    """Paths of one state folder; nothing is created before it is asked for."""

    def __init__(self, state: Path) -> None:
        self.state = state.resolve()

    def repository(self, project: str) -> Path:
        """The project's bare store."""
        return self.state / "projects" / project / "repo.git"

    def tree(self, project: str, name: str) -> Path:
        """A worktree's folder; `name` is a branch, or a branch and a lineage."""
        readable = name.removeprefix("syndic/").replace("/", "-")[:60]
        return self.state / "projects" / project / "trees" / f"{readable}-{_short(name)}"

    def environments(self) -> Path:
        return self.state / "environments"

    @contextmanager
    def scratch(self, project: str, purpose: str) -> Iterator[Path]:
        """A fresh folder outside every worktree, gone after the block."""
        parent = self.state / "projects" / project / "scratch"
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=f"{purpose}-", dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def later(self, project: str, purpose: str) -> Iterator[Path]:
        """The path of such a folder, for whoever needs one to make it: most runs need none."""
        folder = self.state / "projects" / project / "scratch" / f"{purpose}-{token_hex(8)}"
        try:
            yield folder
        finally:
            if folder.exists():
                shutil.rmtree(folder, ignore_errors=True)

    def forget_caches(self, project: str) -> None:
        """Remove what any worker can rebuild: worktrees and scratch folders."""
        for name in ("trees", "scratch"):
            shutil.rmtree(self.state / "projects" / project / name, ignore_errors=True)


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]
