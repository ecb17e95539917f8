"""What a person's feedback wishes, as far as rules can follow it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from agents.assignments import Feedback
from agents.offline.intents import ANALYZE, REPAIR, TIDY

_KINDS = {
    REPAIR: r"(?:repairs?|fix(?:es|ing)?|bug ?fix(?:es)?|(?:red|failing) tests?|bugs?)",
    TIDY: r"(?:tidy(?:ing)?|lint(?:ing)?|clean(?:ing)?[ -]?up|style)",
    ANALYZE: r"(?:analy[sz]e|analysis|analyses|reports?|review)",
}
_NOT = r"(?:no|not|without|skip|drop|leave out|omit|except|don'?t|do not)(?: the| any| do)*"
_LEAVE = re.compile(
    r"(?:don'?t (?:touch|change)|do not (?:touch|change)|leave|keep|not) (?:out )?[`'\"]?([\w./*-]+[./][\w./*-]+)"
)
_SKIP = re.compile(
    r"\b(?:skip|drop|remove|omit|leave out|without)\b(?: the)?(?: tasks?)?\s+[`'\"]?([a-z0-9][a-z0-9-]*)"
)
_RULE = re.compile(rf"\b{_NOT}\s+(?:rules? )?`?([A-Z]{{1,4}}\d{{1,4}})\b")
_SERIAL = re.compile(r"\b(one (?:at a time|after (?:the other|another))|sequential\w*|serial\w*|not in parallel)\b")


@dataclass
class Wishes:
    """`unheard` holds what no rule understands, in the person's words."""

    only: set[str] = field(default_factory=set[str])
    never: set[str] = field(default_factory=set[str])
    tasks: set[str] = field(default_factory=set[str])
    paths: set[str] = field(default_factory=set[str])
    rules: set[str] = field(default_factory=set[str])
    serial: bool = False
    unheard: list[str] = field(default_factory=list[str])

    def allows(self, intent: str) -> bool:
        return intent not in self.never and (not self.only or intent in self.only)


def read_wishes(feedback: Iterable[Feedback]) -> Wishes:
    """Read the feedback of people; what gates and judges say is no wish."""
    wishes = Wishes()
    for note in feedback:
        if note.source.startswith(("person", "message")):
            for sentence in re.split(r"[;\n]|\.\s|\.$", note.text):
                if sentence.strip() and not _heard(wishes, sentence.strip()):
                    wishes.unheard.append(sentence.strip()[:300])
    return wishes


def _heard(wishes: Wishes, sentence: str) -> bool:
    text = sentence.lower()
    before = (len(wishes.only), len(wishes.never), len(wishes.tasks), len(wishes.paths), len(wishes.rules))
    serial = bool(_SERIAL.search(text))
    wishes.serial = wishes.serial or serial
    for kind, words in _KINDS.items():
        if re.search(rf"\b{_NOT}\s+{words}\b", text):
            wishes.never.add(kind)
        elif re.search(rf"\b(?:only|just)\b.*\b{words}\b|\b{words} only\b", text):
            wishes.only.add(kind)
    wishes.paths.update(path.rstrip(".") for path in _LEAVE.findall(sentence))
    wishes.rules.update(_RULE.findall(sentence))
    wishes.tasks.update(name for name in _SKIP.findall(text) if name not in {"lint", "tidy", "the", "any"})
    after = (len(wishes.only), len(wishes.never), len(wishes.tasks), len(wishes.paths), len(wishes.rules))
    return serial or after != before
