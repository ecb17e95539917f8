"""What a dry run leaves behind: one page with every diff, and each diff as a patch, where people find them."""

from __future__ import annotations

import re
from pathlib import Path

from activities.contracts import CloseProject, TaskDiff
from agents.runner import AgentDeps
from ledger.vocabulary import ArtifactRef

FOLDER = "dry-run"
PAGE = "report.md"


async def write_report(deps: AgentDeps, request: CloseProject) -> tuple[ArtifactRef, Path] | None:
    """Write the page and keep it as a document; None where the project left no diffs. Safe to run again."""
    if not request.diffs:
        return None
    folder = deps.layout.repository(request.project).parent / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    parts = [_head(request, deps.layout.repository(request.project))]
    for task in request.diffs:
        diff = (await deps.store.get_artifact(task.diff.digest)).decode("utf-8", "replace") if task.diff else ""
        if diff:
            (folder / f"s{task.sprint}.{task.task}.patch").write_text(diff)
        parts.append(_section(task, diff))
    page = "\n\n".join(parts) + "\n"
    (folder / PAGE).write_text(page)
    digest = await deps.store.put_artifact(page.encode(), "text/markdown")
    reference = ArtifactRef(name="dry-run", digest=digest, media_type="text/markdown", size=len(page.encode()))
    return reference, folder / PAGE


def _head(request: CloseProject, store: Path) -> str:
    return (
        f"# Dry run of {request.project}\n\n{request.summary}\n\n"
        "Nothing was merged. Each accepted change lies on a branch of the project's store; beside this page each diff lies "
        f"as a patch for `git apply`.\n\n```sh\ngit fetch {store} BRANCH\n```"
    )


def _section(task: TaskDiff, diff: str) -> str:
    lines = [
        f"## {task.task}: {task.title}",
        f"{task.summary}",
        f"sprint {task.sprint} · {task.state.value} · {task.agent or 'nobody'}"
        + (f" · branch `{task.branch}` at `{task.commit[:12]}`" if task.branch and task.commit else ""),
    ]
    if diff:
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", diff)), default=0))
        lines.append(f"{fence}diff\n{diff.rstrip()}\n{fence}")
    return "\n\n".join(line for line in lines if line.strip())
