"""Messages of every sort: what people and workflows send, nearly that, and garbage of any name, arity and encoding."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from agents.assignments import Work
from agents.runs import AgentRun
from ledger.vocabulary import ApprovalKind, Autonomy, Mode, Role
from workflows.messages import SIGNALS, UPDATES

APPROVAL, LATER, DIGEST, PROJECT, LONG = "$approval", "$later", "$digest", "$project", "$long"
"""Stand for an open request of whatever workflow gets the message, the one of its kind that may come after it, for its digest, for
the project, and for too many words."""

TASKS = st.sampled_from(["one", "two", "nobody", "a-b"])
NAMES = st.sampled_from(["pat", "kim", "p\u00e4t", "$project.engineer.ada"]) | st.text(min_size=1, max_size=8)
AGENTS = st.sampled_from(["ada", "engineer.ada", "$project.engineer.ada", "$project.judge.ada", "x", "."])
WORDS = st.sampled_from(["go on", "smaller", "\u0000", "\ud800", LONG, "\u202e" * 3]) | st.text(max_size=20)
IDS = st.sampled_from(["a", "b"])

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def some(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


def _run(work: str) -> dict[str, Any]:
    run = AgentRun(
        project="p", sprint=1, task="one", lineage="engineer-1.1", role=Role.ENGINEER, agent="p.engineer.ada",
        work=Work(work), goal="g", chain=("m",), budget_scope="p",
    )  # fmt: skip
    return {
        **run.model_dump(mode="json"),
        "project": PROJECT,
        "agent": f"{PROJECT}.engineer.ada",
        "budget_scope": PROJECT,
    }


ANSWERS = st.sampled_from(["approve", "reject", "revise"])
MORE = {"comment": WORDS, "id": IDS, "budget_usd": st.sampled_from(["50", 7]), "budget_tokens": st.integers(1, 2**65)}
NOTED = {"by": NAMES, "id": IDS}
TASK = some(
    {"id": TASKS | st.just("three"), "instructions": st.just("do it")},
    kind=st.sampled_from(["change", "analysis"]), depends_on=st.lists(TASKS, max_size=2), scope=st.just(["src/**"]),
)  # fmt: skip
EDITS = st.one_of(
    some({"do": st.just("reassign"), "task": TASKS}, role=st.sampled_from(list(Role)).map(str), agent=AGENTS, **NOTED),
    some({"do": st.just("skip"), "task": TASKS}, dependents=st.sampled_from(["skip", "run"]), **NOTED),
    some({"do": st.sampled_from(["retry", "drop", "cancel"]), "task": TASKS}, **NOTED),
    some({"do": st.just("add"), "task": TASK}, sprint=st.integers(1, 2), **NOTED),
    some({"do": st.just("rewind"), "task": TASKS, "step": st.integers(1, 12)}, attempt=st.integers(1, 2), **NOTED),
)
DECISIONS = st.one_of(
    some({"approval": st.just(APPROVAL), "decision": ANSWERS, "by": NAMES}, digest=st.just(DIGEST), **MORE),
    some({"approval": WORDS, "decision": ANSWERS, "by": NAMES}, digest=WORDS, signature=WORDS, **MORE),
    some({"all_of": st.sampled_from(list(ApprovalKind)).map(str), "decision": ANSWERS, "by": NAMES}, **MORE),
)
FEEDBACK = some({"text": WORDS}, by=NAMES, task=TASKS, agent=AGENTS)
QUESTIONS = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["q/1", "q", ""]),
        "to": AGENTS,
        "text": WORDS,
        "run": st.sampled_from(["change", "plan"]).map(_run),
    }
)
CONTENT: dict[str, st.SearchStrategy[Any]] = {
    # A signal may come before its request, and waits a while.
    "decide": DECISIONS
    | some({"approval": st.just(LATER), "decision": ANSWERS, "by": NAMES, "digest": st.just("0" * 64)}, **MORE),
    "decide_now": DECISIONS,
    "feedback": FEEDBACK,
    "feedback_now": FEEDBACK,
    "edit": EDITS,
    "edit_now": EDITS,
    "pause": some({}, by=NAMES, reason=WORDS),
    "resume": some({}, by=NAMES, reason=WORDS),
    "set_autonomy": some(
        {}, autonomy=st.sampled_from(list(Autonomy)).map(str), mode=st.sampled_from(list(Mode)).map(str), by=NAMES
    ),
    "escalate": some({"reason": WORDS}, by=NAMES, task=TASKS),
    "ask": QUESTIONS,
    "wanted": some({"question": IDS, "agent": AGENTS}),
    "free": some({"question": IDS, "task": TASKS}),
    "answered": some({"question": IDS}),
}
"""Name -> what belongs into it; every signal and update has some."""

ODD_NAMES = st.sampled_from(["decyde", "decide ", "__temporal_odd", "__stack_trace", "\u043d\u0435\u0442", "d" * 900])


@dataclass(frozen=True)
class Stray:
    """One message: to `project`, `sprint` or `task`."""

    to: str
    name: str
    arguments: tuple[bytes, ...]
    encodings: tuple[bytes | None, ...]
    is_update: bool

    def payloads(self, filled: Callable[[str], str]) -> list[Payload]:
        """The arguments as they are sent. `filled` puts what is known by then in the place of what stands for it."""
        pairs = zip(self.arguments, self.encodings, strict=True)
        return [
            Payload(metadata={} if encoding is None else {"encoding": encoding}, data=_filled(data, filled))
            for data, encoding in pairs
        ]


def _filled(data: bytes, filled: Callable[[str], str]) -> bytes:
    return filled(data.decode()).encode() if data.isascii() else data


def _near(content: Any, junk: Any, key: str) -> Any:
    """The same with one part gone, added or of another type."""
    if not isinstance(content, dict) or not content:
        return junk
    keys = sorted(content)
    chosen = keys[len(key) % len(keys)]
    changed = {name: value for name, value in content.items() if name != chosen}
    return changed if junk is None else {**changed, (key or chosen): junk}


@st.composite
def strays(draw: st.DrawFn) -> Stray:
    """A message that is right (half of them), nearly right, or nothing at all."""
    known = draw(st.sampled_from(sorted(CONTENT)))
    content = draw(CONTENT[known])
    sort = draw(st.sampled_from(["right", "right", "right", "near", "junk", "bytes", "arity", "encoding", "name"]))
    if sort == "near":
        content = _near(content, draw(JUNK), draw(st.sampled_from(["", "x", "by", "task"])))
    elif sort == "junk":
        content = draw(JUNK)
    data = draw(st.binary(max_size=30)) if sort == "bytes" else json.dumps(content).encode()
    count = draw(st.sampled_from([0, 2, 3])) if sort == "arity" else 1
    encodings = st.sampled_from([None, b"", b"json/protobuf", b"binary/null", b"binary/encrypted", b"\xff"])
    encoding = draw(encodings) if sort == "encoding" else b"json/plain"
    name = draw(ODD_NAMES | st.sampled_from(sorted(CONTENT))) if sort == "name" else known
    to = draw(st.sampled_from(["project", "sprint", "task"]))
    return Stray(
        to, name, (data,) * count, (encoding,) * count, name in UPDATES or (known in UPDATES and name not in SIGNALS)
    )
