"""The product owner: from a goal to requirements, or a refusal that says what can be served."""

from __future__ import annotations

from agents.assignments import Requirements
from agents.offline.conversation import Call
from agents.offline.intents import ANALYZE, CAN_DO, HOW_TO_SET_A_MODEL, REPAIR, TIDY, Intents, read_goal
from agents.offline.paths import is_python
from agents.offline.reading import list_files, read_files
from agents.offline.script import Desk, End, Script, finish

_REQUIREMENTS = {
    REPAIR: "Every test that fails at the base commit passes, and no test that passes there fails.",
    TIDY: "Lint findings under the repository's own configuration become fewer, without new suppressions.",
    ANALYZE: "A report names structure, size, tests, lint, risks and suggested tasks.",
}
_ACCEPTANCE = {
    REPAIR: "the gates of kind tests pass",
    TIDY: "fewer findings by rule than at the baseline; behaviour unchanged; no test file changed",
    ANALYZE: "a report with findings and suggested tasks; no diff",
}


def write_requirements(desk: Desk) -> Script:
    """Look at the repository, then say what of the goal can be served."""
    files = yield from list_files(desk, "I am offline/maintainer, rules and no language model. First I look around.")
    readme = [path for path in files if "/" not in path and path.lower().startswith("readme")][:1]
    if readme:
        yield from read_files(desk, readme, "I read what the README says the project is.")
    goal = "\n".join([desk.assignment.goal, *(f.text for f in desk.feedback if f.source.startswith("person"))])
    intents = read_goal(goal)
    if not intents.served:
        return _refusal(desk, intents)
    return _requirements(desk, intents, files)


def _requirements(desk: Desk, intents: Intents, files: list[str]) -> End:
    python = sum(is_python(path) for path in files)
    acceptance = list(desk.assignment.acceptance) + [_ACCEPTANCE[kind] for kind in intents.served]
    summary = (
        f"Understood as {', '.join(intents.served)}, read from the goal's words by rules (no language model). "
        f"The repository has {len(files)} files, {python} of them Python."
    )
    if intents.unserved:
        summary += f" {len(intents.unserved)} part(s) of the goal need a language model and are left out."
    result = Requirements(
        summary=summary,
        requirements=tuple(_REQUIREMENTS[kind] for kind in intents.served),
        out_of_scope=tuple(f"{part}: no rule serves this. {HOW_TO_SET_A_MODEL}" for part in intents.unserved),
        acceptance=tuple(acceptance),
        intents=intents.served,
    )
    return finish("These are the requirements that I can serve.", result)


def _refusal(desk: Desk, intents: Intents) -> End:
    wanted = "; ".join(intents.unserved) or desk.assignment.goal
    reason = (
        f"offline/maintainer works by rules, without a language model, and no rule serves: {wanted[:600]}. "
        f"{HOW_TO_SET_A_MODEL}"
    )
    return End("I cannot serve this goal.", Call("refuse", {"reason": reason, "can_do": list(CAN_DO)}))
