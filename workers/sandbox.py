"""The workflow sandbox: the one place that says which modules workflows share with the rest of the process."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from workers.instances import LeanRunner
from workers.reimports import read_once

PURE: Final = (
    "answering",
    "approval_policy",
    "approvals",
    "briefs",
    "calls",
    "checkpoints",
    "controls",
    "council",
    "edits",
    "entitlement",
    "expiry",
    "descriptions",
    "details",
    "messages",
    "objections",
    "options",
    "plan_edits",
    "progress",
    "reassigning",
    "recorder",
    "repair",
    "rulings",
    "schedule",
    "tally",
    "team",
    "visibility",
    "waits",
)

PASSTHROUGH: Final[dict[str, str]] = {
    "ledger.vocabulary": "ids, enums and the base models; a second import would make `Role.QA != Role.QA`",
    "ledger.events": "bodies of ledger entries are validated by class",
    "ledger.errors": "errors are caught by class",
    "ledger.rows": "`NewEntry` is a field of activity inputs, and pydantic checks fields by class",
    "ledger.messages": "`NewMessage` is a field of activity inputs",
    "ledger.chain": "pure digests of approvals and plans",
    "ledger.signatures": "verifies signatures of decisions from its arguments alone; compiled code below",
    "joserfc": "JWS on the compiled code of cryptography, without state of its own",
    "cryptography": "a compiled extension, which cannot be imported twice",
    "ledger.teamwork": "questions of the board are fields of activity results",
    "agents.consensus": "pure rules over votes, and a field of specs",
    "agents.topology": "data and pure functions on it, and an enum of specs",
    "agents.profiles": "fields of specs and activity results",
    "agents.roles": "what roles can do, as data; reads prompts, which are text",
    "agents.team": "names of agents, pure",
    "activities.team_contracts": "the converter makes these classes, workflow code compares them",
    "agents.assignments": "fields of activity inputs and workflow specs",
    "agents.models": "fields of activity results",
    "agents.situations": "what a project manager is told; compared by class",
    "agents.runs": "input and result of `agent_run`",
    "agents.target": "gates and baselines in activity results",
    "activities.lineage_contracts": "as activities.contracts",
    "activities.hook_contracts": "as activities.contracts",
    "activities.contracts": "the converter makes these classes, workflow code compares them",
    "workflows.approval_models": "fields of query answers, and what the client sends",
    "workflows.specs": "the client builds them, the converter makes them, workflow code compares them",
    "workflows.reports": "as workflows.specs",
    "workflows.views": "as workflows.specs",
    "workflows.team_signals": "as workflows.specs",
    **dict.fromkeys(
        (f"workflows.{name}" for name in PURE),
        "pure logic without state of its own; executing it again for each workflow would double the time of a replay",
    ),
    "pydantic": "building validators again for each workflow would cost milliseconds a model",
    "pydantic_core": "a compiled extension, which cannot be imported twice",
    "annotated_types": "constraints of pydantic fields are recognised by class",
    "typing_inspection": "pydantic's reading of annotations",
    "typing_extensions": "annotations are recognised by identity",
    "opentelemetry": "spans that the tracing interceptor carries through workflow code",
}
"""Module (with its submodules) -> why it is safe and needed. All are deterministic where workflows use them."""


def new_workflow_runner() -> SandboxedWorkflowRunner:
    """The runner of every worker, replayer and test: sandboxed, with the modules above shared and loaded.

    Loaded, because compiled modules cannot begin within the sandbox, where workflow code would be the first to ask for them.
    """
    for module in PASSTHROUGH:
        import_module(module)
    read_once()
    return LeanRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSTHROUGH))
