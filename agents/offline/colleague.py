"""Answering colleagues and looking after a team, by rules: what the documents say, and who best goes on without."""

from __future__ import annotations

import re

from agents.assignments import Evidence, Handover, Reply, Ruling, Supervision
from agents.offline.script import Desk, Script, finish
from agents.situations import OpenQuestion, Situation, Trouble

MAX_LINES = 8
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{3,}")
_COMMON = frozenset(
    ("about", "could", "does", "from", "have", "shall", "should", "that", "them", "there", "this", "what", "when", "where",
     "which", "with", "would")
)  # fmt: skip

ASSUME = (
    "Nobody can answer this now. Decide yourself within your scope, take the smallest change that serves your task, and "
    "name the assumption in your result."
)


def answer_colleague(desk: Desk) -> Script:
    """Answer with what the documents and the code say about the words of the question."""
    words = _words(desk.assignment.instructions)
    found = [
        (document.name, line.strip())
        for document in desk.assignment.documents
        for line in document.text.splitlines()
        if words & _words(line)
    ][:MAX_LINES]
    matches: list[tuple[str, str]] = []
    for word in sorted(words, key=lambda name: (-len(name), name))[:2]:
        result = yield from desk.use("I look for what you name.", "search", pattern=re.escape(word), limit=MAX_LINES)
        matches += [(f"{hit['path']}:{hit['line']}", str(hit["text"]).strip()) for hit in result.get("matches", [])]
    lines = [f"- {where}: {text[:300]}" for where, text in (*found, *matches[:MAX_LINES])]
    if not lines:
        return finish(
            "I know nothing about this.", Reply(answer=f"I find nothing about this. {ASSUME}", confidence=0.1)
        )
    answer = "By rules, without a language model. What documents and code say about your words:\n" + "\n".join(lines)
    evidence = tuple(Evidence(claim=text[:200], source=where) for where, text in (*found, *matches[:MAX_LINES]))
    return finish("This is what I find.", Reply(answer=answer, confidence=0.4, evidence=evidence))


def supervise(desk: Desk) -> Script:
    """Break a circle where it is cheapest, answer for who does not, give a task to the first role that can do it."""
    yield from ()
    situation = Situation.model_validate(desk.assignment.params["situation"])
    if situation.trouble is Trouble.HANDOVER:
        role = situation.candidates[0]
        handover = Handover(task=situation.task, role=role, reason="the first role that can do it")
        return finish("I pass the task on.", Supervision(summary=f"{role.value} takes it", handovers=(handover,)))
    question = min(situation.questions, key=_cheapest)
    advice = next((note.text for note in desk.feedback if note.source.startswith("person")), ASSUME)
    summary = f"{question.asker} goes on without {question.to}"
    return finish("I let one of them go on.", Supervision(summary=summary, rulings=(_ruling(question, advice),)))


def _cheapest(question: OpenQuestion) -> tuple[int, str]:
    """The one that asks least: a short question is most likely to be settled by an assumption."""
    return len(question.text), question.id


def _ruling(question: OpenQuestion, answer: str) -> Ruling:
    return Ruling(question=question.id, answer=answer)


def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(text)) - _COMMON
