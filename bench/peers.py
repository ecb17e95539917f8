"""The rows of the benchmark, and the environments in which peers live: never Syndic's own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

LANGGRAPH = (
    "langgraph==1.2.22",
    "langgraph-checkpoint-postgres==3.2.0",
    "psycopg[binary]==3.3.9",
    "psycopg-pool==3.3.3",
)
TEMPORAL = (*LANGGRAPH, "temporalio==1.35.0", "temporalio-langgraph==0.1.0")
DBOS = ("dbos==3.4.0", "psycopg[binary]==3.3.9")


@dataclass(frozen=True)
class Row:
    """One way of doing the task; `kept` is how many durable records one task must leave at least."""

    name: str
    title: str
    module: str
    argument: str = ""
    requires: tuple[str, ...] = ()
    """Distributions of its environment; none means Syndic's own."""
    kept: int = 1
    share: float = 1.0
    """Of the tasks of a group under load: a row that no target names there, or that does far more for a task, does fewer."""
    judged: bool = False
    """Whether judges ask the model too."""


ROWS = (
    Row("langgraph", "LangGraph, Postgres saver (no Temporal)", "langgraph_saver", requires=LANGGRAPH, kept=10, share=0.5),
    Row("temporalio-langgraph", "temporalio-langgraph, a node an activity", "temporal_peers", "nodes", TEMPORAL, kept=50),
    Row("dbos", "DBOS on Postgres, a step an operation", "dbos_steps", requires=DBOS, kept=9),
    Row("raw", "raw Temporal: one activity, nothing kept", "temporal_peers", "raw", TEMPORAL, kept=10),
    Row("saver-activity", "the LangGraph graph in one activity, Postgres saver", "temporal_peers", "saver", TEMPORAL, kept=10,
        share=0.5),
    Row("syndic-run", "Syndic agent run as one workflow", "syndic", "run", kept=11),
    Row("syndic-gateway", "Syndic agent run, model through LiteLLM", "syndic", "gateway", kept=11, share=0.5),
    Row("syndic-task", "Syndic AgentTask: workspace, gate, 4 judges", "syndic", "task", kept=19, share=0.08, judged=True),
)  # fmt: skip


def interpreter(requires: tuple[str, ...]) -> Path:
    """The Python of an environment, made and filled on first use; Syndic's own for rows that require nothing."""
    if not requires:
        return Path(sys.executable)
    digest = hashlib.sha256(" ".join((sys.version, *requires)).encode()).hexdigest()[:12]
    folder = user_cache_path("syndic") / "bench" / digest
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"installing {', '.join(requires)} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requires]
        subprocess.run(install, check=True)
        (folder / "complete").touch()
    return python
