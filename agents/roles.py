"""Agent types: what each role is for, what it works on, how far it may go and which models it asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.assignments import Work
from agents.policy import TIER_CEILING, TOOLSETS
from ledger.vocabulary import Role, Tier

OFFLINE_MODEL = "offline/maintainer"
DEFAULT_CHAIN = (OFFLINE_MODEL,)
"""What a role asks where neither the brief nor the settings name a model."""


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


AGENT_TYPES: dict[Role, AgentType] = {
    kind.role: kind
    for kind in (
        AgentType(Role.PRODUCT_OWNER, "product owner", (Work.REQUIREMENTS,), ("requirements", "acceptance criteria")),
        AgentType(Role.ANALYST, "analyst", (Work.SURVEY, Work.ANALYSIS), ("survey", "reports", "findings")),
        AgentType(Role.ARCHITECT, "architect", (Work.PLAN, Work.ANALYSIS), ("planning", "task breakdown")),
        AgentType(Role.PROJECT_MANAGER, "project manager", (Work.PLAN,), ("replanning", "scheduling")),
        AgentType(Role.ENGINEER, "engineer", (Work.CHANGE, Work.ANALYSIS), ("repair", "tidy", "features", "tests")),
        AgentType(Role.QA, "QA engineer", (Work.QA, Work.ANALYSIS), ("verification", "regression hunting")),
        AgentType(Role.DEVOPS, "devops engineer", (Work.CHANGE, Work.ANALYSIS), ("build", "packaging", "CI")),
        AgentType(Role.JUDGE, "judge", (Work.JUDGE,), ("review", "evidence")),
    )
}


def chain_for(role: Role | str, models: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The models a role asks, first choice first: its own chain, else `default`, else the offline maintainer."""
    chain = models.get(str(role)) or models.get("default") or DEFAULT_CHAIN
    return tuple(chain)
