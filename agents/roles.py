"""Agent types: what each role is for, what it works on, how far it may go and which models it asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.assignments import Work
from agents.policy import TIER_CEILING, TOOLSETS
from agents.prompts import v2
from ledger.vocabulary import Role, Tier

OFFLINE_MODEL = "offline/maintainer"
DEFAULT_CHAIN = (OFFLINE_MODEL,)
"""What a role asks where neither the brief nor the settings name a model."""

MODEL_CLASSES = ("reasoning", "fast", "cheap", "local")
"""Names for chains that roles can share; in the chain of a role one stands for its models."""


@dataclass(frozen=True)
class AgentType:
    """One kind of agent. `work` are the assignments it takes, `capabilities` what its card says."""

    role: Role
    title: str
    work: tuple[Work, ...]
    capabilities: tuple[str, ...]

    @property
    def tier_ceiling(self) -> Tier:
        return TIER_CEILING[self.role]

    @property
    def tools(self) -> frozenset[str]:
        return TOOLSETS[self.role]

    @property
    def prompt(self) -> str:
        """What new runs of the role are told to do, beside what all are told."""
        return v2.ROLES[self.role]

    def chain(self, models: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        """The models it asks, first choice first."""
        return chain_for(self.role, models)

    @property
    def shares(self) -> bool:
        """Whether it has the team's board."""
        return "read_board" in self.tools


AGENT_TYPES: dict[Role, AgentType] = {
    kind.role: kind
    for kind in (
        AgentType(
            Role.PRODUCT_OWNER,
            "product owner",
            (Work.REQUIREMENTS, Work.ANSWER),
            ("requirements", "acceptance criteria"),
        ),
        AgentType(
            Role.ANALYST,
            "business analyst",
            (Work.SURVEY, Work.ANALYSIS, Work.ANSWER),
            ("survey", "reports", "findings"),
        ),
        AgentType(Role.ARCHITECT, "architect", (Work.PLAN, Work.ANALYSIS, Work.ANSWER), ("planning", "task breakdown")),
        AgentType(
            Role.PROJECT_MANAGER,
            "project manager",
            (Work.PLAN, Work.MEDIATION, Work.SUPERVISE, Work.ANSWER),
            ("replanning", "scheduling", "mediation"),
        ),
        AgentType(
            Role.ENGINEER,
            "engineer",
            (Work.CHANGE, Work.ANALYSIS, Work.BID, Work.ANSWER),
            ("repair", "tidy", "features", "tests"),
        ),
        AgentType(
            Role.QA, "QA engineer", (Work.QA, Work.ANALYSIS, Work.ANSWER), ("verification", "regression hunting")
        ),
        AgentType(
            Role.DEVOPS, "devops engineer", (Work.CHANGE, Work.ANALYSIS, Work.ANSWER), ("build", "packaging", "CI")
        ),
        AgentType(Role.JUDGE, "judge", (Work.JUDGE,), ("review", "evidence")),
    )
}


def chain_for(role: Role | str, models: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The models a role asks, first choice first: its own chain, else `default`, else the offline maintainer."""
    chain = models.get(str(role)) or models.get("default") or DEFAULT_CHAIN
    return tuple(chain)


def without_classes(chains: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The chains of roles, with the models of a class where they name one.

    Raises:
        ValueError: A chain names a class that has no chain, or a class names a class.
    """
    classes = {name: tuple(chains[name]) for name in MODEL_CLASSES if name in chains}
    expanded: dict[str, tuple[str, ...]] = {}
    for role, chain in chains.items():
        named = [name for name in chain if name in MODEL_CLASSES]
        if role in classes and named:
            raise ValueError(f"the class {role!r} must name models, not {named[0]!r}")
        if missing := [name for name in named if name not in classes]:
            raise ValueError(f"the chain of {role!r} names the class {missing[0]!r}, which has no chain")
        if role not in classes:
            expanded[role] = tuple(model for name in chain for model in classes.get(name, (name,)))
    return expanded
