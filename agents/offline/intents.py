"""What a goal asks for, read from its words: repair, tidy, analyze, and the parts that no rule serves."""

from __future__ import annotations

import re
from dataclasses import dataclass

REPAIR, TIDY, ANALYZE = "repair", "tidy", "analyze"

CAN_DO = (
    "repair: turn failing tests green by trying small patches on suspect lines, with the test suite as oracle",
    "tidy: mend lint findings under the repository's own configuration (unused imports and variables, simplifications, "
    "modernisations), white space in repositories without Python",
    "analyze: report structure, size, tests, lint, risks and suggested tasks, without changing anything",
)
HOW_TO_SET_A_MODEL = (
    "For anything else give the team a language model: export a provider's key (such as ANTHROPIC_API_KEY) and name "
    'models in the brief (`models: {"default": ["provider/model"]}`) or in SYNDIC_MODELS.'
)

_SPLIT = re.compile(r"[,;:\n]|\.\s|\.$|\b(?:and(?: then)?|then|also|plus|but|as well as|while)\b")
_WORDS: dict[str, re.Pattern[str]] = {
    REPAIR: re.compile(
        r"\b(fix(e[sd]|ing)?|repair\w*|mend\w*|bugs?|bugfix\w*|debug\w*|fail(s|ed|ing|ures?)?|broken|red|green|regressions?"
        r"|crash\w*|defects?|faults?|faulty|solve[sd]?|resolve[sd]?|heal)\b"
    ),
    TIDY: re.compile(
        r"\b(tid(y|ies|ied|ying)|lint\w*|clean(s|ed|ing|up|-up)?|unused|simplif\w+|style|ruff|flake8|modernis\w+|moderniz\w+"
        r"|dead code|hygiene|white ?space|imports?|debt|neglected|housekeeping|warnings?|declutter\w*)\b"
    ),
    ANALYZE: re.compile(
        r"\b(analy[sz]\w+|reports?|review\w*|survey\w*|risks?|audit\w*|assess\w*|inspect\w*|overview|examine\w*|look at"
        r"|look over|investigate\w*|explain\w*|describe\w*|summar(y|ise|ize)\w*|inventory|health)\b"
    ),
}
_MAINTAIN = re.compile(r"\b(maintain\w*|maintenance|shape|healthy|health|look after|improve\w*|quality|order)\b")
_UNSERVED = re.compile(
    r"\b(add(s|ed|ing)?|implement\w*|writ(e|es|ing)|build\w*|creat\w+|develop\w*|design\w*|translat\w+|migrat\w+|port(s|ed|ing)?"
    r"|deploy\w*|releas\w+|publish\w*|rewrit\w+|document\w*|docstrings?|upgrad\w+|refactor\w*|renam\w+|optimi[sz]\w+|speed\w*"
    r"|faster|performance|feature\w*|support\w*|integrat\w+|convert\w*|introduc\w+|extend\w*|extract\w*|generat\w+|typ(e|es|ing)"
    r"|annotat\w+|secur\w+|endpoint\w*|api|ui|dependenc\w+|coverage)\b"
)
_GENERIC = re.compile(r"\b(fix(e[sd]|ing)?|mend\w*|repair\w*|solve[sd]?|resolve[sd]?|heal)\b")
_DEFECT = re.compile(r"\b(tests?|suite|bugs?|fail\w*|red|regressions?|crash\w*|defects?|faults?|broken|pytest)\b")
_REPORT = re.compile(
    r"\b(writ\w*|create|give|make|produce|deliver)\b.*\b(reports?|overview|summary|analysis|review|assessment)\b"
)
_TESTS_PASS = re.compile(r"\b(make|get|turn|bring|have)\b.*\b(pass(es|ing)?|green|work(s|ing)?)\b")


@dataclass(frozen=True)
class Intents:
    """`served` in the order of work; `unserved` are the clauses that no rule serves, in the person's words."""

    served: tuple[str, ...]
    unserved: tuple[str, ...] = ()


def read_goal(goal: str) -> Intents:
    """Sort the clauses of a goal. A clause without a verb of its own belongs to the one before it."""
    served: list[str] = []
    unserved: list[str] = []
    last: tuple[str, ...] | None = None
    for clause in (part.strip(" .!?") for part in _SPLIT.split(goal.lower())):
        if not clause:
            continue
        kinds = clause_intents(clause)
        if kinds is None:
            if last == () and unserved:
                unserved[-1] += f", {clause}"
            continue
        last = kinds
        served.extend(kinds)
        if not kinds:
            unserved.append(clause)
    order = [kind for kind in (REPAIR, ANALYZE, TIDY) if kind in served]
    return Intents(tuple(order), tuple(unserved))


def clause_intents(clause: str) -> tuple[str, ...] | None:
    """Intents of one clause, empty where it asks for something unserved, None where it asks for nothing."""
    if _TESTS_PASS.search(clause):
        return (REPAIR,)
    if _REPORT.search(clause):
        return (ANALYZE,)
    first = {kind: match.start() for kind, pattern in _WORDS.items() if (match := pattern.search(clause))}
    foreign = _UNSERVED.search(clause)
    if foreign is not None and all(foreign.start() < start for start in first.values()):
        return ()
    if not first:
        return (REPAIR, TIDY) if _MAINTAIN.search(clause) else None
    kind = min(first, key=lambda k: first[k])
    if kind == REPAIR and _GENERIC.search(clause) and not _DEFECT.search(clause):
        if TIDY in first:
            return (TIDY,)
        if foreign is not None:
            return ()
    return (kind,)
